"""Networks of the autoregressive protocol as pytrees, and their step-by-step execution."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from dgmjax.bijectors.carry import scan
from dgmjax.bijectors.conditioner import AutoregressiveNetwork, Conditioner
from dgmjax.types import Array

__all__ = ["AutoregressiveNetwork", "bind_network", "run_steps"]


def bind_network(network: nn.Module) -> Conditioner:
    """A bound submodule as a pytree: its variables are leaves, the module itself is static.

    The result goes in and out of `jit`, stacks under `vmap` and does not retrace; it serves as
    the network of `distributions.Autoregressive` and of the bijectors. The submodule must have
    its parameters: call it once while initialising.
    """
    keys = {"dropout": network.make_rng("dropout")} if network.has_rng("dropout") else None
    module, variables = network.unbind()
    return Conditioner(module, variables, keys)


def run_steps(
    network: Any,
    sites: Array,
    num_sites: int,
    context: Array | None = None,
    site_ndims: int = 0,
) -> Array:
    """All parameters `[*batch, D, num_params]` by D incremental steps over known values.

    `sites[*batch, D, *site]` are the values, with `site_ndims` axes in a site (1 for vectors of
    channels); equal to `network(x)` up to rounding, which is what the shared test of the protocol
    asserts.
    """
    values = jnp.moveaxis(sites, -1 - site_ndims, 0)
    batch = values.shape[1 : values.ndim - site_ndims]

    def body(state, site):
        carry, previous = state
        carry, params = network.step(carry, previous, site)
        return (carry, values[site]), params

    start = (network.init_carry(batch, context), jnp.zeros_like(values[0]))
    _, params = scan(body, start, jnp.arange(num_sites))
    return jnp.moveaxis(params, 0, -2)
