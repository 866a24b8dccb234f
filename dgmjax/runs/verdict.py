"""Verdict on a record: whether it reaches the published number beside it."""

import re

from dgmjax.runs.record import Record

_LOWER = (
    r"nll_.*|bits_per_.*|nats_per_.*|.*_error|.*_mse|.*_rmse"
    r"|fid.*|mmd2?_.*|kernel_.*|.*reverse_kl"
)
_HIGHER = (
    r"modes_covered|samples_near_modes|.*precision|.*recall"
    r"|recognised|.*accuracy.*|auroc_.*|elbo|mean_return"
)
ERRORS = 2.0
"""Standard errors by which a value may miss the published one and still count."""
CLOSE = 0.02
"""Share of the published value within which a miss is called close."""


def reached(record: Record) -> bool | None:
    """Whether a value is no worse than the published one by more than two standard errors.

    None without a published number, where that is of something else (`Published.differs`), and for
    a metric that has no better side, such as the number of active units.
    """
    worse = _worse(record)
    if worse is None:
        return None
    rounding = 1e-9 * abs(record.published.value) if record.published else 0.0
    return worse <= ERRORS * (record.standard_error or 0.0) + rounding


def verdict(record: Record) -> str:
    """The word for tables: "yes" (reached), "within 1.2%" (a miss of at most 2%), "no", or "-".

    The last where nothing is published or the metric has no better side. What differs is named
    instead where the published number is of something else: "differs: larger networks".
    """
    if record.published is not None and record.published.differs:
        return f"differs: {record.published.differs}"
    worse, got = _worse(record), reached(record)
    if record.published is None or worse is None or got:
        return "yes" if got else "-"
    share = worse / abs(record.published.value) if record.published.value else float("inf")
    return f"within {max(share, 0.001):.1%}" if share <= CLOSE else "no"


def _worse(record: Record) -> float | None:
    """By how much a value is worse than the published one; None if that cannot be said."""
    if record.published is None or record.published.differs:
        return None
    worse = record.value - record.published.value
    if re.fullmatch(_HIGHER, record.metric):
        return -worse
    return worse if re.fullmatch(_LOWER, record.metric) else None


def is_reference(record: Record) -> bool:
    """Whether the record is of a baseline or a reference and not of the trained model."""
    return record.model.endswith(("(baseline)", "(reference)"))
