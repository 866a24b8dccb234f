"""IWAE 200-200-50 of Burda et al. 2016 with K = 50 samples, Bernoulli pixels, batches of 100.

Ours is the steady state of `fit`; torch is a plain loop over the same network and bound. Both sum
the cross-entropy over pixels of [50, 100, 784] logits. "products" is the floor: the matrix
products of the steps and nothing else.
"""

import itertools

from benchmarks.workload import Operation, Prepared, Side, Target, Workload
from benchmarks.workloads.vae_epoch import BATCH, PIXELS, images

LATENT, HIDDEN, SAMPLES, RATE, STEPS = 50, 200, 50, 1e-3, 20


def rows(tiny: bool):
    """Twenty batches of binary images."""
    return images(tiny)[: (2 if tiny else STEPS) * BATCH]


def dgmjax_side(tiny: bool) -> Prepared:
    from functools import partial

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


def torch_side(tiny: bool) -> Prepared:
    import math

    import torch
    from torch import nn
    from torch.distributions import Normal
    from torch.nn import functional

    torch.set_num_threads(1)
    torch.manual_seed(0)
    samples = 2 if tiny else SAMPLES
    sizes = (PIXELS, HIDDEN, HIDDEN, 2 * LATENT), (LATENT, HIDDEN, HIDDEN, PIXELS)

    def mlp(a, b, c, d):
        layers = (nn.Linear(a, b), nn.Tanh(), nn.Linear(b, c), nn.Tanh(), nn.Linear(c, d))
        return nn.Sequential(*layers)

    encoder, decoder = (mlp(*size) for size in sizes)
    params = [*encoder.parameters(), *decoder.parameters()]
    optimiser = torch.optim.Adam(params, lr=RATE)
    data, prior = torch.from_numpy(rows(tiny)), Normal(0.0, 1.0)

    def steps(n: int) -> None:
        for _ in range(n):
            for index in torch.randperm(len(data)).split(BATCH):
                x = data[index]
                mean, log_scale = encoder(x).chunk(2, -1)
                q = Normal(mean, log_scale.exp())
                z = q.rsample((samples,))
                logits = decoder(z)
                target = x.expand_as(logits)
                cross_entropy = functional.binary_cross_entropy_with_logits(
                    logits, target, reduction="none"
                ).sum(-1)
                log_w = (prior.log_prob(z) - q.log_prob(z)).sum(-1) - cross_entropy
                loss = -(torch.logsumexp(log_w, 0) - math.log(samples)).mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()

    return Prepared({"steps": steps}, {"parameters": sum(p.numel() for p in params)})


WORKLOAD = Workload(
    name="iwae_step",
    title="IWAE 200-200-50, K = 50, Bernoulli, Adam, batch 100: 20 training steps",
    unit="20 steps",
    scale=STEPS,
    scale_name="steps",
    sides={
        "dgmjax": Side(dgmjax_side, {"steps": 1, "products": 1}),
        "torch": Side(torch_side, {"steps": 1}, "torch", ("torch", "numpy")),
    },
    targets=(Target("times a torch loop", ("torch", "steps"), ("dgmjax", "steps"), at_least=1.4),),
)
