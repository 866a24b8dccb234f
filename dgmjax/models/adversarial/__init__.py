"""Adversarial models: a sampler and what judges its samples."""
