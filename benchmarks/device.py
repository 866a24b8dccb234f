"""Speed on the device that there is: training and sampling by model, and PyTorch on the same one.

    python -m benchmarks.device --out speed.jsonl
    python -m benchmarks.device --out speed.jsonl --only vae transformer --miniature

A line of JSON a row, written at once, with the name of the device: seconds to the first step and
steps a second, examples a second, operations and their share of the fastest matrix product's speed,
memory at most, samples a second and steps of incremental samplers a second. Unlike `benchmarks.run`
it goes by the clock, and sides do not take turns: nothing else must use the device. Rows of PyTorch
(eager, bfloat16, compiled) follow those of ours where it can be imported.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

STEPS, SAMPLING = 50, 4


class Row(NamedTuple):
    """A model to be trained on a batch, and how many samples of it are drawn at once."""

    learner: Any
    batch: dict[str, Any]
    samples: int
    sites: int = 0
    """Steps of its incremental sampler, or 0."""


def _row(module, objective, x, samples: int, sites: int = 0) -> Row:
    import optax

    from dgmjax import training

    player = training.Player(objective, optax.adam(1e-3))
    return Row(training.gradient_learner(module, {"model": player}), {"x": x}, samples, sites)


def _numbers(*shape: int):
    import numpy as np

    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _levels(count: int, *shape: int):
    import numpy as np

    return np.random.default_rng(0).integers(0, count, shape).astype(np.int32)


def vae(tiny: bool) -> Row:
    import flax.linen as nn

    from benchmarks.workloads import vae_epoch as sizes
    from dgmjax import models, objectives

    x = sizes.images(True)[: sizes.BATCH]
    model = models.DenseVAE((784,), sizes.LATENT, (sizes.HIDDEN,), activation=nn.relu)
    return _row(model, objectives.elbo, x, 64)


def iwae(tiny: bool) -> Row:
    from benchmarks.workloads import iwae_step as sizes
    from dgmjax import models, objectives

    loss = partial(objectives.iwae, num_samples=2 if tiny else sizes.SAMPLES)
    x = sizes.images(True)[: sizes.BATCH]
    model = models.DenseVAE((784,), sizes.LATENT, (sizes.HIDDEN, sizes.HIDDEN))
    return _row(model, loss, x, 64)


def maf(tiny: bool) -> Row:
    from dgmjax import models, objectives

    features, width, num = (6, 16, 8) if tiny else (63, 512, 512)
    model = models.MAF(features, 5, (width, width))
    x = _numbers(num, features)
    return _row(model, objectives.negative_log_likelihood, x, num, 5 * features)


def spline(tiny: bool) -> Row:
    from dgmjax import models, objectives

    features, width, num = (6, 16, 8) if tiny else (63, 256, 512)
    model = models.NeuralSplineFlow(features, 8, (width, width))
    return _row(model, objectives.negative_log_likelihood, _numbers(num, features), num)


def glow(tiny: bool) -> Row:
    from dgmjax import models, objectives

    side, steps, channels, num = (8, 1, 8, 2) if tiny else (32, 32, 512, 32)
    model = models.Glow((side, side, 3), 2 if tiny else 3, steps, channels=channels)
    return _row(model, objectives.negative_log_likelihood, _numbers(num, side, side, 3), num)


def pixelcnn_plus_plus(tiny: bool) -> Row:
    from dgmjax import models, objectives

    side, features, blocks, num = (6, 8, 2, 2) if tiny else (32, 160, 6, 16)
    model = models.PixelCNNPlusPlus((side, side, 3), features=features, blocks=blocks)
    x, sites = _levels(256, num, side, side, 3), side * side
    return _row(model, objectives.negative_log_likelihood, x, num, sites)


def gated_pixelcnn(tiny: bool) -> Row:
    from dgmjax import models, objectives

    side, features, blocks, num = (6, 8, 1, 2) if tiny else (28, 64, 7, 64)
    model = models.GatedPixelCNN((side, side, 1), features=features, blocks=blocks)
    x = _levels(2, num, side, side, 1)
    return _row(model, objectives.negative_log_likelihood, x, num, side * side)


def wavenet(tiny: bool) -> Row:
    from benchmarks.workloads import wavenet_generation as sizes
    from dgmjax import models, objectives

    channels, layers, length = sizes.sizes(tiny)
    model = models.WaveNet(
        (length,), channels=channels, skip_channels=channels, stacks=sizes.STACKS, layers=layers
    )
    x = _levels(sizes.LEVELS, sizes.BATCH, length)
    return _row(model, objectives.negative_log_likelihood, x, sizes.BATCH, length)


def transformer(tiny: bool) -> Row:
    from benchmarks.workloads import transformer_step as sizes
    from dgmjax import models, objectives
    from dgmjax.distributions import families

    width, layers, length = sizes.sizes(tiny)
    model = models.Transformer(
        (length,),
        families.Categorical(sizes.LEVELS),
        features=width,
        layers=layers,
        heads=sizes.HEADS,
    )
    x = sizes.characters(tiny)[: sizes.BATCH]
    return _row(model, objectives.negative_log_likelihood, x, sizes.BATCH, length)


def dcgan(tiny: bool) -> Row:
    import optax

    from dgmjax import models, nn, objectives, training

    shape, channels, num = ((8, 8, 1), 4, 4) if tiny else ((28, 28, 1), 64, 64)
    module = models.GAN(
        64, nn.DCGANGenerator(shape, channels, "none"), nn.Critic(nn.DCGANFeatures(channels))
    )
    game = objectives.game_of("non_saturating")
    players = {
        "critic": training.Player(
            partial(objectives.critic_loss, game=game), optax.adam(2e-4), ("critic",)
        ),
        "generator": training.Player(
            partial(objectives.generator_loss, game=game), optax.adam(2e-4), ("generator",)
        ),
    }
    return Row(training.gradient_learner(module, players), {"x": _numbers(num, *shape)}, num)


def unet(tiny: bool) -> Row:
    from benchmarks.workloads import flow_matching_step as sizes
    from dgmjax import inference, models, nn, objectives

    channels, size = sizes.sizes(tiny)
    sampler = inference.Sampler("euler", sizes.CALLS)
    model = models.Denoiser((size, size, 1), nn.UNet(channels), sampler=sampler)
    return _row(model, objectives.flow_matching, sizes.images(size)[: sizes.BATCH], sizes.BATCH)


ROWS: dict[str, Callable[[bool], Row]] = {
    "vae": vae,
    "iwae": iwae,
    "transformer": transformer,
    "unet": unet,
    "gated_pixelcnn": gated_pixelcnn,
    "wavenet": wavenet,
    "maf": maf,
    "spline": spline,
    "dcgan": dcgan,
    "pixelcnn_plus_plus": pixelcnn_plus_plus,
    "glow": glow,
}

PEERS = {
    "vae": "vae_epoch",
    "iwae": "iwae_step",
    "transformer": "transformer_step",
    "unet": "flow_matching_step",
}
"""Row to the workload whose `torch_problem` trains the same."""


def measured(name: str, tiny: bool, peak: float) -> dict[str, Any]:
    """The row of one of our models."""
    import jax

    from benchmarks.flops import flops

    row, begun = ROWS[name](tiny), time.perf_counter()
    learner, batch = row.learner, jax.device_put(row.batch)
    state = jax.block_until_ready(jax.jit(learner.init)(jax.random.key(0), batch))
    initialised = time.perf_counter() - begun

    @partial(jax.jit, donate_argnums=0, static_argnums=2)
    def steps(state, batch, count):
        one = lambda _, state: learner.step(state, batch)[0]
        return jax.lax.fori_loop(0, count, one, state)

    # One compiled loop, as `fit` runs it; its first call compiles.
    count = 3 if tiny else STEPS
    state = jax.block_until_ready(steps(state, batch, count))
    first = time.perf_counter() - begun
    seconds, repeats = 0.0, 0
    while seconds < (0.0 if tiny else 1.0) or repeats < 2:
        begun = time.perf_counter()
        state = jax.block_until_ready(steps(state, batch, count))
        seconds, repeats = seconds + time.perf_counter() - begun, repeats + 1
    speed = repeats * count / seconds
    work = flops(learner.step, state, batch)
    draw = jax.jit(lambda v, key: learner.call(v, _drawn(row.samples), key))
    variables = learner.variables(state)
    jax.block_until_ready(draw(variables, jax.random.key(0)))
    begun = time.perf_counter()
    for index in range(SAMPLING):
        jax.block_until_ready(draw(variables, jax.random.key(index)))
    drawing = (time.perf_counter() - begun) / SAMPLING
    memory = jax.local_devices()[0].memory_stats() or {}
    return {
        "seconds_to_init": initialised,
        "seconds_to_first_steps": first,
        "steps_per_second": speed,
        "examples_per_second": speed * len(row.batch["x"]),
        "gigaflop_a_step": work / 1e9,
        "share_of_peak": work * speed / peak,
        "megabytes_at_most": memory.get("peak_bytes_in_use", 0) / 1e6,
        "samples_per_second": row.samples / drawing,
        "sampler_steps_per_second": row.sites / drawing if row.sites else None,
    }


def _drawn(samples: int):
    return lambda model, key: model.sample(key, (samples,))


def of_torch(name: str, variant: str, tiny: bool) -> dict[str, Any]:
    """The row of PyTorch's training of the same model."""
    from importlib import import_module

    from benchmarks.workloads import theirs

    torch = theirs.ready()
    module = import_module(f"benchmarks.workloads.{PEERS[name]}")
    problem = module.torch_problem(tiny)
    problem = problem if isinstance(problem, theirs.Problem) else problem[0]
    begun, epochs = time.perf_counter(), theirs.training(problem, variant)
    epochs(1)
    first = time.perf_counter() - begun
    seconds, repeats = 0.0, 0
    while seconds < (0.0 if tiny else 1.0) or repeats < 2:
        begun = time.perf_counter()
        epochs(1)
        seconds, repeats = seconds + time.perf_counter() - begun, repeats + 1
    speed = repeats * -(-len(problem.data) // problem.batch) / seconds
    on_card = theirs.DEVICE != "cpu"
    return {
        "seconds_to_first_steps": first,
        "steps_per_second": speed,
        "examples_per_second": speed * problem.batch,
        "megabytes_at_most": torch.cuda.max_memory_allocated() / 1e6 if on_card else None,
        "card": torch.cuda.get_device_name() if on_card else "cpu",
    }


def write(out: Path, row: dict[str, Any]) -> None:
    line = json.dumps(row)
    print(line, flush=True)
    with out.open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")


def attempted(out: Path, row: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> bool:
    """Writes a row, or why there is none."""
    try:
        write(out, row | measure())
    except Exception as problem:  # the next model may do better
        traceback.print_exc()
        write(out, row | {"error": f"{type(problem).__name__}: {str(problem)[:500]}"})
        return False
    return True


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Speed on the device that there is.")
    parser.add_argument("--out", type=Path, default=Path("speed.jsonl"))
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--side", choices=("both", "dgmjax", "torch"), default="both")
    parser.add_argument("--miniature", action="store_true", help="small sizes, a few steps")
    chosen = parser.parse_args(arguments)
    if chosen.side == "both":
        # Each in a process of its own: neither has memory that the other holds.
        command = [sys.executable, "-m", "benchmarks.device", "--out", str(chosen.out)]
        command += ["--only", *chosen.only, *["--miniature"] * chosen.miniature]
        return max([subprocess.call([*command, "--side", side]) for side in ("dgmjax", "torch")])
    if chosen.side == "torch":
        return torch_rows(chosen)
    from dgmjax.devices.environment import configure

    configure()
    import jax

    from benchmarks.flops import matrix_peak

    device, rows = jax.local_devices()[0], []
    on_cpu = device.platform == "cpu"
    peak = matrix_peak(*(256, 2) if chosen.miniature else (2048, 3) if on_cpu else (8192, 10))
    head = {"device": device.device_kind, "side": "dgmjax", "matrix_flops_per_second": peak}
    for name in chosen.only:
        measure = partial(measured, name, chosen.miniature, peak)
        rows.append(attempted(chosen.out, head | {"model": name}, measure))
        jax.clear_caches()
    return int(not all(rows))


def torch_rows(chosen: argparse.Namespace) -> int:
    """Rows of PyTorch; none where it is not installed."""
    try:
        import torch
    except ImportError:
        write(chosen.out, {"side": "torch", "error": "PyTorch is not installed"})
        return 0
    if torch.cuda.is_available():
        os.environ.setdefault("DGMJAX_TORCH_DEVICE", "cuda")
    from benchmarks.workloads.theirs import DEVICE, VARIANTS

    for name in (name for name in chosen.only if name in PEERS):
        # Compiling on a CPU needs a compiler of C++, which the machine may lack.
        for variant in VARIANTS if DEVICE != "cpu" else VARIANTS[:2]:
            head = {"device": DEVICE, "side": f"torch {variant}", "model": name}
            attempted(chosen.out, head, partial(of_torch, name, variant, chosen.miniature))
    return 0


if __name__ == "__main__":
    sys.exit(main())
