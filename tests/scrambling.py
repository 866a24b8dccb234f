"""Random parameters: at initialisation many layers are the identity, and a test is vacuous."""

from functools import partial

import jax


def scrambled(tree, seed: int = 0, scale: float = 1.0):
    """Every leaf replaced by normal noise of standard deviation `scale`."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(jax.random.key(seed), max(len(leaves), 1))
    noise = [scale * jax.random.normal(k, a.shape, a.dtype) for k, a in zip(keys, leaves)]
    return jax.tree.unflatten(structure, noise)


def compiled_start(module, *arguments, **options):
    """`module.init`, compiled as a whole: operation by operation it takes three times as long."""
    return jax.jit(partial(module.init, **options))(*arguments)


def perturbed(variables, seed: int = 0, scale: float = 0.3):
    """Variables with noise added to their parameters; other collections stay."""
    noise = scrambled(variables["params"], seed, scale)
    return {**variables, "params": jax.tree.map(lambda a, b: a + b, variables["params"], noise)}
