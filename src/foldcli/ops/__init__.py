"""The hot operations: each body is plain PyTorch and is the definition."""
