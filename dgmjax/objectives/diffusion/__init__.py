"""Objectives of models with a time axis."""
