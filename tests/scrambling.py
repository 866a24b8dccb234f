"""Random parameters: at initialisation many layers are the identity, and a test is vacuous."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np


def scrambled(tree, seed: int = 0, scale: float = 1.0):
    """Every leaf (an array, or its shape) replaced by normal noise of standard deviation `scale`.

    NumPy's noise: JAX compiles a draw for each shape that it meets, in 20 ms each.
    """
    generator = np.random.default_rng(seed)
    draw = lambda leaf: (scale * generator.normal(size=leaf.shape)).astype(leaf.dtype)
    return jax.tree.map(lambda leaf: jnp.asarray(draw(leaf)), tree)


def _run(module, name, options, plain, *arrays):
    rest = iter(arrays)
    arguments = [next(rest) if given is None else given[0] for given in plain]
    return getattr(module, name)(*arguments, **dict(options))


_compiled = jax.jit(_run, static_argnums=(0, 1, 2, 3))


def _call(module, name, options, arguments):
    """The call as one program; what holds no array (a shape, a number) is part of it."""
    is_array = [
        any(hasattr(leaf, "dtype") for leaf in jax.tree.leaves(given)) for given in arguments
    ]
    plain = tuple(None if array else (given,) for array, given in zip(is_array, arguments))
    arrays = [given for array, given in zip(is_array, arguments) if array]
    try:  # the same call of an equal module is compiled once
        return _compiled(module, name, tuple(options.items()), plain, *arrays)
    except ValueError as problem:
        if "hash" not in str(problem):
            raise
        return jax.jit(partial(_run, module, name, options, plain))(*arrays)


def compiled_start(module, *arguments, **options):
    """`module.init`, compiled as a whole: operation by operation it takes three times as long."""
    return _call(module, "init", options, arguments)


def applied(module, *arguments, **options):
    """`module.apply`, compiled as a whole."""
    return _call(module, "apply", options, arguments)


def scrambled_start(module, *arguments, seed: int = 0, scale: float = 1.0, **options):
    """`scrambled` variables of `module.init(*arguments, **options)`, of which none is computed."""
    start = partial(module.init, **options)
    return scrambled(jax.eval_shape(start, *arguments), seed, scale)


def perturbed(variables, seed: int = 0, scale: float = 0.3):
    """Variables with noise added to their parameters; other collections stay."""
    noise = scrambled(variables["params"], seed, scale)

    def add(a, b):
        inside_jit = isinstance(a, jax.core.Tracer)
        return a + b if inside_jit else jnp.asarray(np.asarray(a) + np.asarray(b))

    return {**variables, "params": jax.tree.map(add, variables["params"], noise)}
