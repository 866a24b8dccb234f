"""Objectives of models with an exact density."""
