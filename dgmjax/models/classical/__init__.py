"""Shallow models with closed forms."""
