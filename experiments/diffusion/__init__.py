"""Experiments on models with a time axis."""
