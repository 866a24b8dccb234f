"""Experiments: one short file a published number. `dgmjax list` shows them."""
