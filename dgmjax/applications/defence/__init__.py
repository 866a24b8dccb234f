"""Attacks on classifiers, and what a density can say about inputs."""
