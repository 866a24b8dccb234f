"""Gradients of objectives with discrete latents, and vector quantisation."""
