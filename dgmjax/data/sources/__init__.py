"""Data sets: loaders, and the registry that names them."""
