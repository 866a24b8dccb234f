"""Experiments on energy-based models."""
