"""Experiments on normalizing flows."""
