"""Annealed importance sampling and HMC in the latents of a decoder 10-64-256-256-1024-784.

Twenty images, 16 chains each, 10 leapfrog steps a transition. The peer is the loop that users of
blackjax write: a `blackjax.hmc` of the density at each temperature inside of one compiled scan,
vmapped over chains and images. Both start at the same draws of the prior. "half" anneals over half
as many temperatures: the cost of one must not depend on their number.
"""

import itertools

from benchmarks.workload import Operation, Prepared, Side, Target, Workload

SIZES = (10, 64, 256, 256, 1024, 784)
IMAGES, CHAINS, TEMPERATURES, LEAPFROG, STEP_SIZE = 20, 16, 40, 10, 0.02
NOISE = 0.3


def densities(tiny: bool):
    """Starting positions `[chains, images, 10]`, images, and log p(z) and log p(x | z)."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    sizes = (10, 8, 12) if tiny else SIZES
    images, chains = (2, 2) if tiny else (IMAGES, CHAINS)
    random = np.random.default_rng(0)
    normal = lambda *shape: jnp.asarray(random.normal(size=shape), jnp.float32)
    weights = [normal(a, b) / np.sqrt(a) for a, b in itertools.pairwise(sizes)]

    def decoder(z):
        for w in weights[:-1]:
            z = jnp.tanh(z @ w)
        return jax.nn.sigmoid(z @ weights[-1])

    def log_prior(z):
        return -0.5 * (z**2 + jnp.log(2.0 * jnp.pi)).sum(-1)

    def log_likelihood(x, z):
        return -0.5 * (((x - decoder(z)) / NOISE) ** 2).sum(-1)

    x = decoder(normal(images, sizes[0])) + 0.1 * normal(images, sizes[-1])
    return normal(chains, images, sizes[0]), x, log_prior, log_likelihood


def each_time(annealed, count: int, stepped) -> dict[str, Operation]:
    """The operations of a side."""
    import jax

    from benchmarks.workloads.ours import repeated

    key = jax.random.key(0)
    compiled = jax.jit(annealed, static_argnums=1)
    return {
        "ais": repeated(lambda key: compiled(key, count), key),
        "half": repeated(lambda key: compiled(key, count // 2), key),
        "hmc": repeated(jax.jit(stepped), key),
    }


def dgmjax_side(tiny: bool) -> Prepared:
    from benchmarks.workloads.ours import configured

    configured()
    import jax

    from dgmjax import inference

    start, x, log_prior, log_likelihood = densities(tiny)
    ratio = lambda z: log_likelihood(x, z)
    count, leapfrog = (4, 2) if tiny else (TEMPERATURES, LEAPFROG)

    def annealed(key, count):
        betas = inference.sigmoid_temperatures(count)
        return inference.annealed_importance_sampling(
            key, log_prior, ratio, start, betas, STEP_SIZE, num_steps=leapfrog
        ).log_weight

    kernel = inference.hmc(
        lambda z: log_prior(z) + ratio(z), step_size=STEP_SIZE, num_steps=leapfrog
    )

    def stepped(key):
        state = kernel.init(start)
        keys = jax.random.split(key, count)
        return jax.lax.scan(lambda state, key: kernel.step(key, state), state, keys)[0].position

    return Prepared(each_time(annealed, count, stepped))


def blackjax_side(tiny: bool) -> Prepared:
    from benchmarks.workloads.ours import configured

    configured()
    import blackjax
    import jax
    import jax.numpy as jnp

    from dgmjax import inference

    start, x, log_prior, log_likelihood = densities(tiny)
    count, leapfrog = (4, 2) if tiny else (TEMPERATURES, LEAPFROG)
    keys_of = lambda key: jax.random.split(key, start.shape[:2])

    def kernel_at(beta, x):
        density = lambda z: log_prior(z) + beta * log_likelihood(x, z)
        unit = jnp.ones(start.shape[-1])
        return blackjax.hmc(density, STEP_SIZE, unit, num_integration_steps=leapfrog)

    def annealed(key, count):
        betas = jnp.asarray(inference.sigmoid_temperatures(count), jnp.float32)

        def one(key, z, x):
            def at(carry, given):
                z, log_weight = carry
                key, before, beta = given
                log_weight += (beta - before) * log_likelihood(x, z)
                kernel = kernel_at(beta, x)
                return (kernel.step(key, kernel.init(z))[0].position, log_weight), None

            keys = jax.random.split(key, count)
            return jax.lax.scan(at, (z, jnp.zeros(())), (keys, betas[:-1], betas[1:]))[0][1]

        return jax.vmap(jax.vmap(one), (0, 0, None))(keys_of(key), start, x)

    def stepped(key):
        def one(key, z, x):
            kernel = kernel_at(1.0, x)
            step = lambda state, key: (kernel.step(key, state)[0], None)
            return jax.lax.scan(step, kernel.init(z), jax.random.split(key, count))[0].position

        return jax.vmap(jax.vmap(one), (0, 0, None))(keys_of(key), start, x)

    return Prepared(each_time(annealed, count, stepped))


UNITS = {"ais": 1, "half": 1, "hmc": 1}
JAX = ("jax", "jaxlib")

WORKLOAD = Workload(
    name="annealing",
    title="AIS and HMC in the latents of a decoder 10-64-256-256-1024-784",
    unit=f"{TEMPERATURES} transitions of {IMAGES} x {CHAINS} chains",
    scale=TEMPERATURES * IMAGES * CHAINS,
    scale_name="chain-steps",
    sides={
        "dgmjax": Side(dgmjax_side, UNITS, packages=("dgmjax", *JAX)),
        "blackjax": Side(blackjax_side, UNITS, packages=("blackjax", *JAX)),
    },
    targets=(
        Target("AIS: times blackjax", ("blackjax", "ais"), ("dgmjax", "ais"), at_least=3.0),
        Target("HMC: times blackjax", ("blackjax", "hmc"), ("dgmjax", "hmc"), at_least=1.0),
        Target(
            "AIS: of twice the temperatures", ("dgmjax", "ais"), ("dgmjax", "half"), at_most=2.2
        ),
    ),
    equal_facts=(),
    rounds=5,
)
