"""Bounds on the likelihood of latent-variable models."""
