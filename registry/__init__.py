"""The product: the Registry, its wrappers, and what serves them."""
