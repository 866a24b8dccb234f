"""Experiments on autoregressive models."""
