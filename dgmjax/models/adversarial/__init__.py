"""Adversarial models: a sampler, and a discriminator of its samples."""
