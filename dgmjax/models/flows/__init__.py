"""Normalizing flows: a base, and layers that return bijectors."""
