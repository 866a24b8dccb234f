"""Command line: `dgmjax`, `python -m dgmjax`."""
