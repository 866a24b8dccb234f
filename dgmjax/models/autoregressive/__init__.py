"""Autoregressive models: exact likelihood in one pass, sampling at the cost of about one pass."""
