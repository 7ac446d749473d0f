"""A compiler pass that fits a module into a memory budget by itself."""
