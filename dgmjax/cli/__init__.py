"""The command line: `python -m dgmjax`, `dgmjax`."""
