"""Experiments on latent-variable models."""
