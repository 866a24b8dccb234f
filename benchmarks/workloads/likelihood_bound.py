"""L_5000 of 10,000 binary images for the VAE 200-200-50, in batches of 100 as experiments do it.

One batch is timed and multiplied: all hundred cost the same. The peak of memory is the worker's,
imports and compiler included.
"""

from benchmarks.workload import Elapsed, FactTarget, Prepared, Side, Target, Workload
from benchmarks.workloads.iwae_step import HIDDEN, LATENT
from benchmarks.workloads.vae_epoch import BATCH, IMAGES, PIXELS, images

SAMPLES, CHUNK = 5000, 50


def prepare(tiny: bool) -> Prepared:
    from benchmarks.worker import since, stopwatch
    from benchmarks.workloads.ours import configured

    configured()
    from functools import partial

    import jax

    from dgmjax import models, objectives

    x = images(tiny)[:BATCH]
    vae = models.DenseVAE((PIXELS,), LATENT, (HIDDEN, HIDDEN))
    num, chunk = (4, 2) if tiny else (SAMPLES, CHUNK)
    objective = partial(objectives.importance_bound, num_samples=num, chunk=chunk)
    key = jax.random.key(0)
    variables = vae.init(key, {"x": x}, key, method=objectives.elbo)
    bound = jax.jit(lambda v, x, key: vae.apply(v, {"x": x}, key, method=objective)[0])

    def run(n: int) -> Elapsed:
        start = stopwatch()
        for i in range(n):
            jax.block_until_ready(bound(variables, x, jax.random.key(i)))
        took = since(start)
        return Elapsed(took.cpu * IMAGES / BATCH, took.wall * IMAGES / BATCH)

    return Prepared({"L_5000": run})


WORKLOAD = Workload(
    name="likelihood_bound",
    title=f"L_{SAMPLES} of 10,000 binary images of 28x28, VAE {HIDDEN}-{HIDDEN}-{LATENT}",
    unit="10,000 images",
    sides={"dgmjax": Side(prepare, {"L_5000": 1})},
    targets=(
        Target("CPU-s, of 1200 in ten minutes of 2 cores", ("dgmjax", "L_5000"), at_most=1200.0),
    ),
    fact_targets=(FactTarget("peak of memory, GB", "dgmjax", "gigabytes_resident", 1.0),),
    equal_facts=(),
    rounds=5,
)
