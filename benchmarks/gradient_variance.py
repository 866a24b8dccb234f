"""Bias and variance of gradient estimators for discrete latents, on models of few latent values.

    python -m benchmarks.gradient_variance                 # about two minutes on two cores
    python -m benchmarks.gradient_variance --keys 2000 --figure variance.png

Two VAEs of four binary pixels with random weights: three binary latents, and two of three levels.
All their latents can be enumerated, so the gradient of the ELBO (of L_3 for VIMCO) is known. The
learned parts of an estimator (baselines, control variates) are trained first, with the model held
fixed. Then many gradients are drawn:
  variance   summed over the posterior's parameters
  relative   to REINFORCE with the same number of samples, of the same bound
  largest z  of the mean's difference from the exact gradient, over all parameters of the model; of
             an unbiased estimator above 4.5 in about one table in a hundred
"""

import argparse
import itertools
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dgmjax import models, nn, objectives
from dgmjax.files import write_atomically
from dgmjax.runs.versions import device_description, package_versions

RECORD = Path(__file__).parent / "records" / "gradient_variance" / "gradient_variance.json"
X = np.array([[0, 1, 1, 0], [1, 1, 0, 1], [0, 0, 0, 1]], np.float32)
BATCH = {"x": jnp.asarray(X)}
ADAPTATION = 200
K = 3


@dataclass(frozen=True)
class Row:
    """One estimator: its objective, the wrapper of the model, and the reference.

    `samples` is the number in the bound: 1 for the ELBO, K for L_K.
    """

    objective: Callable
    wrap: Callable[[Any], Any] = lambda model: model
    reference: str = "REINFORCE"
    samples: int = 1
    unbiased: bool = True


def _network():
    return nn.MLP((8,), (1,))


ESTIMATORS: dict[str, Row] = {
    "REINFORCE": Row(objectives.reinforce),
    "running baseline": Row(
        objectives.reinforce, lambda m: models.WithBaseline(m, normalise=False)
    ),
    "NVIL": Row(
        objectives.reinforce, lambda m: models.WithBaseline(m, _network(), normalise=False)
    ),
    "REBAR": Row(objectives.relax, models.WithControlVariate),
    "RELAX": Row(objectives.relax, lambda m: models.WithControlVariate(m, _network())),
    "REINFORCE, K": Row(partial(objectives.reinforce, num_samples=K), reference="REINFORCE, K"),
    "leave-one-out, K": Row(
        partial(objectives.reinforce, num_samples=K, leave_one_out=True), reference="REINFORCE, K"
    ),
    "REINFORCE of L_K": Row(
        partial(objectives.vimco, num_samples=K, baseline="none"),
        reference="REINFORCE of L_K",
        samples=K,
    ),
    "VIMCO": Row(partial(objectives.vimco, num_samples=K), reference="REINFORCE of L_K", samples=K),
    "Concrete": Row(objectives.concrete, unbiased=False),
    "straight-through": Row(objectives.straight_through, unbiased=False),
}


@cache
def toy(levels: int, seed: int = 0) -> tuple[Any, Any]:
    """(model, its parameters): random weights, three binary or two three-level latents."""
    model = models.DiscreteVAE((4,), 3 if levels == 2 else 2, levels, (4,))
    key = jax.random.key(seed)
    init = jax.jit(partial(model.init, method=objectives.reinforce))
    params = init(key, BATCH, key)["params"]
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    noise = [0.8 * jax.random.normal(k, a.shape) for k, a in zip(keys, leaves)]
    return model, jax.tree.unflatten(structure, noise)


def all_latents(levels: int) -> jax.Array:
    """Every value of the latents, `[number of values, ...]`."""
    if levels == 2:
        return jnp.asarray(list(itertools.product([0.0, 1.0], repeat=3)))
    indices = jnp.asarray(list(itertools.product(range(levels), repeat=2)))
    return jax.nn.one_hot(indices, levels)


def exact_loss(model: Any, levels: int, samples: int, params: Any) -> jax.Array:
    """-E[L_samples], the sum over all latents, a mean over the batch."""

    def terms(bound, x):
        z = all_latents(levels)[:, None]
        return bound.posterior(x).log_prob(z), bound.log_joint(x, z)

    log_q, log_joint = model.apply({"params": params}, BATCH["x"], method=terms)
    chosen = jnp.asarray(list(itertools.product(range(len(log_q)), repeat=samples)))
    log_w = (log_joint - log_q)[chosen]  # [combinations, samples, batch]
    bound = jax.nn.logsumexp(log_w, axis=1) - jnp.log(samples)
    return -(jnp.exp(log_q[chosen].sum(1)) * bound).sum(0).mean()


def gradients(row: Row, model: Any, params: Any, keys: jax.Array) -> np.ndarray:
    """The gradient of the model's parameters under each key, `[keys, parameters]`.

    The posterior's parameters come first.
    """
    wrapped = row.wrap(model)
    variables = jax.jit(partial(wrapped.init, method=row.objective))(keys[0], BATCH, keys[0])
    own = wrapped is not model
    rest = {name: tree for name, tree in variables.items() if name != "params"}

    def loss(all_params, rest, key):
        (loss, _), rest = wrapped.apply(
            {"params": all_params, **rest}, BATCH, key, method=row.objective, mutable=list(rest)
        )
        return loss.mean(), rest

    def assembled(extra):
        return {**extra, "model": params} if own else params

    optimiser = optax.adam(0.01)

    def adapt(carry, key):
        extra, rest, moments = carry
        slope, rest = jax.grad(loss, has_aux=True)(assembled(extra), rest, key)
        if extra:
            slope = {name: slope[name] for name in extra}
            updates, moments = optimiser.update(slope, moments)
            extra = optax.apply_updates(extra, updates)
        return (extra, rest, moments), None

    @jax.jit
    def run(extra, rest, keys):
        start = (extra, rest, optimiser.init(extra))
        training = jax.random.split(jax.random.fold_in(keys[0], 1), ADAPTATION if own else 0)
        (extra, rest, _), _ = jax.lax.scan(adapt, start, training)

        def one(key):
            slope, _ = jax.grad(loss, has_aux=True)(assembled(extra), rest, key)
            return _flat(slope["model"] if own else slope)

        return jax.lax.map(one, keys, batch_size=2000)

    extra = {k: v for k, v in variables["params"].items() if k != "model"} if own else {}
    return np.asarray(run(extra, rest, keys))


@cache
def _exact_gradient(levels: int, samples: int) -> np.ndarray:
    model, params = toy(levels)
    return np.asarray(_flat(jax.jit(jax.grad(partial(exact_loss, model, levels, samples)))(params)))


def _flat(tree: Any) -> jax.Array:
    """The posterior's parameters, then the others."""
    parts = [tree["encoder"], {name: part for name, part in tree.items() if name != "encoder"}]
    return jnp.concatenate([leaf.ravel() for part in parts for leaf in jax.tree.leaves(part)])


def measure(
    name: str, levels: int, num_keys: int, seed: int = 1, row: Row | None = None
) -> dict[str, Any]:
    """Variance and bias of an estimator on the model with this number of levels."""
    row = row or ESTIMATORS[name]
    model, params = toy(levels)
    keys = jax.random.split(jax.random.key(seed), num_keys)
    drawn = gradients(row, model, params, keys).astype(np.float64)
    exact = _exact_gradient(levels, row.samples)
    size = sum(leaf.size for leaf in jax.tree.leaves(params["encoder"]))
    deviation = drawn.std(0, ddof=1)
    # Where an estimator has (nearly) no noise, rounding remains.
    z = (drawn.mean(0) - exact) / (deviation / np.sqrt(num_keys) + 1e-6)
    return {
        "estimator": name,
        "levels": levels,
        "variance": float((deviation[:size] ** 2).sum()),
        "largest_z": float(np.abs(z).max()),
        "parameters": len(z),
        "unbiased": row.unbiased,
    }


def table(results: list[dict[str, Any]]) -> str:
    lines = ["| latents | estimator | variance | relative | largest z |", "|---|---|---|---|---|"]
    found = {(r["levels"], r["estimator"]): r["variance"] for r in results}
    for r in results:
        reference = found.get((r["levels"], ESTIMATORS[r["estimator"]].reference), float("nan"))
        kind = "binary" if r["levels"] == 2 else "three levels"
        numbers = f"{r['variance']:.4g} | {r['variance'] / reference:.3f} | {r['largest_z']:.1f}"
        biased = "" if r["unbiased"] else " (biased)"
        lines.append(f"| {kind} | {r['estimator']} | {numbers}{biased} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Bias and variance of gradient estimators.")
    parser.add_argument("--keys", type=int, default=20_000, help="gradients drawn")
    parser.add_argument("--figure", help="PNG of the variances, for binary latents")
    parser.add_argument("--record", action="store_true", help="write the record, and its figure")
    options = parser.parse_args(arguments)
    results = [measure(name, levels, options.keys) for levels in (2, 3) for name in ESTIMATORS]
    print(table(results))
    if options.record:
        RECORD.parent.mkdir(parents=True, exist_ok=True)
        record = {
            "results": results,
            "keys": options.keys,
            "device": device_description(),
            "versions": package_versions(),
        }
        write_atomically(RECORD, json.dumps(record, indent=1) + "\n")
    figure = options.figure or (RECORD.with_suffix(".png") if options.record else None)
    if figure is not None:
        from dgmjax.plotting import gradient_variances, save

        binary = {r["estimator"]: r["variance"] for r in results if r["levels"] == 2}
        save(gradient_variances(binary, "REINFORCE"), figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
