"""Parameters: where they lie, how they are fetched, and how each published layout maps onto our names."""
