"""Verdict on a record: whether it reaches the published number beside it."""

import re

from dgmjax.runs.record import Record

_LOWER = r"nll_.*|bits_per_.*|nats_per_.*|fid.*|mmd2?_.*|.*_mse|.*_rmse|.*reverse_kl|kernel_.*"
_HIGHER = r"modes_covered|samples_near_modes|recognised|.*accuracy.*|elbo|.*precision|.*recall"
ERRORS = 2.0
"""Standard errors by which a value may miss the published one and still count."""


def reached(record: Record) -> bool | None:
    """Whether a value is no worse than the published one by more than two standard errors.

    None without a published number, and for a metric that has no better side, such as the number of
    active units.
    """
    if record.published is None:
        return None
    worse = record.value - record.published.value
    if re.fullmatch(_HIGHER, record.metric):
        worse = -worse
    elif not re.fullmatch(_LOWER, record.metric):
        return None
    return worse <= ERRORS * (record.standard_error or 0.0) + 1e-9 * abs(record.value)


def is_reference(record: Record) -> bool:
    """Whether the record is of a baseline or a reference and not of the trained model."""
    return record.model.endswith(("(baseline)", "(reference)"))
