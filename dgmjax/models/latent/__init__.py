"""Latent-variable models: prior, posterior and likelihood, each a distribution."""
