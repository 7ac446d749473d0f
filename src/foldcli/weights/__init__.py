"""Parameter files: their cache and download, and how each published layout maps onto our parameter names."""
