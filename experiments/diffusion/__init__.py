"""Experiments with a time axis: score matching, diffusion, flow matching."""
