"""Experiments on shallow models with closed forms."""
