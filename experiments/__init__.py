"""Experiments: one short file per published number. `dgmjax list` shows them."""
