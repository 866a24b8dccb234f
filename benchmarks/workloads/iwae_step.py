"""IWAE 200-200-50 of Burda et al. 2016 with K = 50 samples, Bernoulli pixels, batches of 100.

Ours is the steady state of `fit`; torch is a plain loop over the same network and bound. Both sum
the cross-entropy over pixels of [50, 100, 784] logits. "products" is the floor: the matrix
products of the steps and nothing else.
"""

import itertools
from functools import partial

from benchmarks.workload import Operation, Prepared, Side, Target, Workload
from benchmarks.workloads.theirs import TORCH, Problem, side
from benchmarks.workloads.vae_epoch import BATCH, PIXELS, images

LATENT, HIDDEN, SAMPLES, RATE, STEPS = 50, 200, 50, 1e-3, 20


def rows(tiny: bool):
    """Twenty batches of binary images."""
    return images(tiny)[: (2 if tiny else STEPS) * BATCH]


def dgmjax_side(tiny: bool) -> Prepared:
    import optax

    from benchmarks.workloads.ours import epochs_of_fit, learner_and_count
    from dgmjax import models, objectives

    vae = models.DenseVAE((PIXELS,), LATENT, (HIDDEN, HIDDEN))
    loss = partial(objectives.iwae, num_samples=2 if tiny else SAMPLES)
    data = {"x": rows(tiny)}
    learner, parameters = learner_and_count(vae, loss, optax.adam(RATE), data, BATCH)
    operations = {
        "steps": epochs_of_fit(learner, data, BATCH),
        "products": products(data["x"], tiny),
    }
    return Prepared(operations, {"parameters": parameters})


def products(x, tiny: bool) -> Operation:
    """The matrix products of the same steps: the encoder's once, the decoder's for each sample."""
    import jax.numpy as jnp

    from benchmarks.workloads.ours import products_of, small_noise

    def network(weights, x):
        w1, w2, w3, w4, w5, w6 = weights
        z = (x @ w1 @ w2 @ w3)[:, :LATENT]
        return jnp.tile(z, (2 if tiny else SAMPLES, 1)) @ w4 @ w5 @ w6

    sizes = (PIXELS, HIDDEN, HIDDEN, 2 * LATENT), (LATENT, HIDDEN, HIDDEN, PIXELS)
    shapes = [pair for size in sizes for pair in itertools.pairwise(size)]
    return products_of(network, small_noise(*shapes), x[:BATCH], len(x) // BATCH)


def torch_problem(tiny: bool) -> Problem:
    import math

    import torch
    from torch import nn
    from torch.distributions import Normal
    from torch.nn import functional

    samples = 2 if tiny else SAMPLES
    sizes = (PIXELS, HIDDEN, HIDDEN, 2 * LATENT), (LATENT, HIDDEN, HIDDEN, PIXELS)

    def mlp(a, b, c, d):
        layers = (nn.Linear(a, b), nn.Tanh(), nn.Linear(b, c), nn.Tanh(), nn.Linear(c, d))
        return nn.Sequential(*layers)

    encoder, decoder = (mlp(*size) for size in sizes)
    prior = Normal(0.0, 1.0, validate_args=False)

    def loss(x):
        mean, log_scale = encoder(x).float().chunk(2, -1)
        q = Normal(mean, log_scale.exp(), validate_args=False)
        z = q.rsample((samples,))
        logits = decoder(z)
        cross_entropy = functional.binary_cross_entropy_with_logits(
            logits, x.expand_as(logits), reduction="none"
        ).sum(-1)
        log_w = (prior.log_prob(z) - q.log_prob(z)).sum(-1) - cross_entropy
        return -(torch.logsumexp(log_w, 0) - math.log(samples)).mean()

    data = torch.from_numpy(rows(tiny))
    return Problem(nn.ModuleList([encoder, decoder]), loss, data, BATCH, RATE)


WORKLOAD = Workload(
    name="iwae_step",
    title="IWAE 200-200-50, K = 50, Bernoulli, Adam, batch 100: 20 training steps",
    unit="20 steps",
    scale=STEPS,
    scale_name="steps",
    sides={
        "dgmjax": Side(dgmjax_side, {"steps": 1, "products": 1}),
        "torch": Side(partial(side, torch_problem, "steps", "float32"), {"steps": 1}, *TORCH),
        "torch bf16": Side(partial(side, torch_problem, "steps", "bfloat16"), {"steps": 1}, *TORCH),
    },
    targets=(Target("times a torch loop", ("torch", "steps"), ("dgmjax", "steps"), at_least=1.3),),
)
