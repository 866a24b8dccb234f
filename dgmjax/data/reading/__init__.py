"""Readers of files, archives and folders that are not trusted."""
