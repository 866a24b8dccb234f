"""Steps of a DCGAN on images of 28x28, batches of 64: critic and generator, plain and WGAN-GP.

Ours is the steady state of `fit`; torch is a plain loop of the same networks and losses, in which
convolutions of 4x4 taps with stride 2 are written as such (ours are of 2x2 taps over blocks).
Parameters are counted without biases: a doubling of ours has one for each of the four pixels that
it makes, a transposed convolution one for all.
"""

from functools import partial

from benchmarks.workload import Operation, Prepared, Side, Target, Workload
from benchmarks.workloads.theirs import DEVICE, TORCH, ready, waited

SIZE, CHANNELS, LATENT, BATCH, STEPS = 28, 32, 64, 64, 8
RATE, BETAS, WEIGHT = 2e-4, (0.5, 0.99), 10.0
GAMES = {"steps": "non_saturating", "penalised_steps": "wasserstein"}
UNITS = {"steps": 1, "penalised_steps": 1}


def sizes(tiny: bool) -> tuple[int, int]:
    """Height of the images, and channels of the finest maps."""
    return (8, 4) if tiny else (SIZE, CHANNELS)


def images(size: int):
    """Numbers in the range of the generator, `[N, size, size, 1]`."""
    import numpy as np

    shape = (STEPS * BATCH, size, size, 1)
    return np.random.default_rng(0).uniform(-1.0, 1.0, shape).astype(np.float32)


def dgmjax_side(tiny: bool) -> Prepared:
    import flax.linen as linen
    import jax
    import optax

    from benchmarks.workloads.ours import configured, epochs_of_fit
    from dgmjax import models, nn, objectives, training

    configured()
    size, channels = sizes(tiny)
    data, operations, count = {"x": images(size)}, {}, 0
    for unit, game in GAMES.items():
        penalties = (objectives.on_lines(WEIGHT),) if game == "wasserstein" else ()
        module = models.GAN(
            LATENT,
            nn.DCGANGenerator((size, size, 1), channels, "none"),
            linen.Sequential([nn.DCGANFeatures(channels), nn.Dense(1)]),
        )
        adam = optax.adam(RATE, *BETAS)
        judge = partial(objectives.critic_loss, game=game, penalties=penalties)
        make = partial(objectives.generator_loss, game=game)
        players = {
            "critic": training.Player(judge, adam, params=("critic",)),
            "generator": training.Player(make, adam, params=("generator",)),
        }
        learner = training.gradient_learner(module, players)
        params = jax.eval_shape(learner.init, jax.random.key(0), {"x": data["x"][:BATCH]}).params
        count = sum(leaf.size for leaf in jax.tree.leaves(params) if leaf.ndim > 1)
        operations[unit] = epochs_of_fit(learner, data, BATCH)
    return Prepared(operations, {"parameters": count})


def torch_side(tiny: bool) -> Prepared:
    torch = ready()
    from torch import nn
    from torch.nn import functional

    size, channels = sizes(tiny)
    halvings = 2 if size == SIZE else 1
    start, widest = size // 2**halvings, channels * 2 ** (halvings - 1)
    data = torch.from_numpy(images(size)).permute(0, 3, 1, 2).contiguous().to(DEVICE)

    def networks():
        up: list[nn.Module] = [
            nn.Linear(LATENT, start * start * widest),
            nn.Unflatten(1, (widest, start, start)),
        ]
        down: list[nn.Module] = []
        for step in range(halvings):
            inner, outer = widest // 2**step, widest // 2 ** (step + 1)
            last = step == halvings - 1
            up += [nn.ReLU(), nn.ConvTranspose2d(inner, 1 if last else outer, 4, 2, 1)]
            inputs = channels * 2 ** (step - 1) if step else 1
            down += [nn.Conv2d(inputs, channels * 2**step, 4, 2, 1), nn.LeakyReLU(0.2)]
        critic = nn.Sequential(*down, nn.Flatten(), nn.Linear(start * start * widest, 1))
        return nn.Sequential(*up, nn.Tanh()).to(DEVICE), critic.to(DEVICE)

    def slope(critic, real, made):
        share = torch.rand(len(real), 1, 1, 1, device=DEVICE)
        between = (share * real + (1.0 - share) * made).requires_grad_()
        (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        return WEIGHT * (gradient.flatten(1).norm(dim=1) - 1.0).square().mean()

    def game(penalised: bool) -> tuple[Operation, int]:
        generator, critic = networks()
        adam = partial(torch.optim.Adam, lr=RATE, betas=BETAS, fused=True)
        judging, making = adam(critic.parameters()), adam(generator.parameters())

        def epochs(n: int) -> None:
            for _ in range(n):
                for rows in torch.randperm(len(data), device=DEVICE).split(BATCH):
                    real = data[rows]
                    with torch.no_grad():
                        made = generator(torch.randn(len(real), LATENT, device=DEVICE))
                    of_real, of_made = critic(real), critic(made)
                    if penalised:
                        loss = of_made.mean() - of_real.mean() + slope(critic, real, made)
                    else:
                        loss = (functional.softplus(-of_real) + functional.softplus(of_made)).mean()
                    judging.zero_grad()
                    loss.backward()
                    judging.step()
                    critic.requires_grad_(False)
                    value = critic(generator(torch.randn(len(real), LATENT, device=DEVICE)))
                    loss = (-value if penalised else functional.softplus(-value)).mean()
                    making.zero_grad()
                    loss.backward()
                    making.step()
                    critic.requires_grad_(True)
            waited()

        parameters = [*generator.parameters(), *critic.parameters()]
        return epochs, sum(p.numel() for p in parameters if p.ndim > 1)

    operations, count = {}, 0
    for unit in GAMES:
        operations[unit], count = game(unit == "penalised_steps")
    return Prepared(operations, {"parameters": count})


WORKLOAD = Workload(
    name="dcgan_step",
    title="DCGAN, 32 channels, 28x28, batch 64: 8 steps of critic and generator",
    unit="8 steps",
    scale=STEPS,
    scale_name="steps",
    sides={"dgmjax": Side(dgmjax_side, UNITS), "torch": Side(torch_side, UNITS, *TORCH)},
    targets=tuple(
        Target(label, ("torch", unit), ("dgmjax", unit), at_least=1.5)
        for unit, label in {
            "steps": "times a torch loop",
            "penalised_steps": "times a torch loop, with the penalty of WGAN-GP",
        }.items()
    ),
)
