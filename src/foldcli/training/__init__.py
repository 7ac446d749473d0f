"""Training: losses, optimiser, the loop, checkpoints and validation."""
