"""Models of an energy: densities known up to their normaliser."""
