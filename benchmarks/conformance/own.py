"""Every bijector of this package, from the rows of its own property tests."""

from benchmarks.conformance.row import Row
from tests.bijectors.table import ROWS

PACKAGES = ("dgmjax",)


def rows() -> dict[str, Row]:
    return {
        name: Row(
            lambda bijector: bijector,
            row.make,
            shape=row.shape,
            domain=row.data,
            extra=row.extra,
            data_shape=row.data_shape,
        )
        for name, row in ROWS.items()
    }
