"""Losses, loop, checkpoints and metrics."""
