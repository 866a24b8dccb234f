"""Experiments on generative adversarial networks."""
