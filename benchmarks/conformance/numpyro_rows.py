"""Transforms of numpyro, over vectors of four, with its autoregressive network of 16 units."""

import jax
import jax.numpy as jnp
import numpyro.distributions.transforms as nt
from numpyro.distributions.flows import InverseAutoregressiveTransform
from numpyro.nn.auto_reg_nn import AutoregressiveNN

from benchmarks.conformance.row import SIZE, Row, scrambled

PACKAGES = ("numpyro", "jax")


def row(make, example, fan_in=lambda _: 1, **where) -> Row:
    """`make(params)` gives a transform; `example` are parameters of the right shapes."""

    def maps(transform):
        def summed(log_det):
            return log_det.sum(range(1, log_det.ndim))

        def forward(z):
            x = transform(z)
            return x, summed(transform.log_abs_det_jacobian(z, x))

        def inverse(x):
            z = transform.inv(x)
            return z, -summed(transform.log_abs_det_jacobian(z, x))

        return forward, inverse

    return Row(make, lambda key, scale: scrambled(example, key, scale, fan_in), maps, **where)


def rows() -> dict[str, Row]:
    vector, matrix = jnp.zeros(SIZE), jnp.zeros((SIZE, SIZE))
    init, apply = AutoregressiveNN(SIZE, [16])
    _, network = init(jax.random.key(0), (SIZE,))

    def cholesky(params):
        loc, raw = params
        scale = jnp.tril(raw, -1) + jnp.diag(jnp.exp(jnp.diag(raw)))
        return nt.LowerCholeskyAffine(loc, scale)

    return {
        "affine": row(lambda p: nt.AffineTransform(p[0], jnp.exp(p[1])), (vector, vector)),
        "iaf": row(
            lambda p: InverseAutoregressiveTransform(jax.tree_util.Partial(apply, p)),
            network,
            lambda shape: shape[0] if len(shape) > 1 else 1,
        ),
        "triangular": row(cholesky, (vector, matrix)),
        "sigmoid": row(lambda p: nt.SigmoidTransform(), (), domain="unit"),
        "softplus": row(lambda p: nt.SoftplusTransform(), (), domain="positive"),
    }
