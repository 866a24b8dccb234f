"""Units: the one place that turns nats into bits."""

import math

from dgmjax.errors import require


def bits_per_dim(nll_nats, num_dims: int):
    """nll / (D log 2): bits per dimension of a negative log-likelihood in nats per example.

    The likelihood must be that of the data in their original units (integers, for images): with
    dequantised data, after adding `log_det` (see `dgmjax.types.Batch`).

    >>> round(bits_per_dim(math.log(256) * 784, 784), 6)
    8.0
    """
    require(num_dims >= 1, "num_dims", "must be at least 1", num_dims)
    return nll_nats / (num_dims * math.log(2.0))
