"""Every bijector of this package, from the rows of its own property tests."""

from benchmarks.conformance.row import Row
from tests.bijectors.table import ROWS

PACKAGES = ("dgmjax",)


def build(bijector):
    return bijector.forward_and_log_det, bijector.inverse_and_log_det


def rows() -> dict[str, Row]:
    return {
        name: Row(build, row.make, row.shape, row.data, row.extra, row.data_shape)
        for name, row in ROWS.items()
    }
