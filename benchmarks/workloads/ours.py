"""Functions of our sides: the steady state of `fit`, and the number of parameters of a model."""

from typing import Any

from benchmarks.worker import stopwatch
from benchmarks.workload import Elapsed, Operation


def configured() -> None:
    """The environment that every entry point of dgmjax sets."""
    from dgmjax.devices import environment

    environment.configure()


def repeated(function, *arguments, program=None) -> Operation:
    """n calls of a function under `jit`, each waited for.

    Args:
      program: the function itself, where the one that is called was compiled ahead of time.
    """
    import jax

    def run(n: int) -> None:
        for _ in range(n):
            jax.block_until_ready(function(*arguments))

    return counted(run, program or function, *arguments)


def counted(operation: Operation, program, *arguments, times: int = 1) -> Operation:
    """The operation, of which a unit runs a program so many times; `worker` asks for its `work`."""
    from benchmarks import flops

    def work(compiled: bool = True) -> dict[str, float]:
        found = {"flops": times * flops.flops(program, *arguments)}
        if compiled:
            found["megabytes"] = times * flops.megabytes(program, *arguments)
        return found

    operation.work = work  # type: ignore[attr-defined]
    return operation


def products_of(network, weights, x, steps: int) -> Operation:
    """The matrix products of this number of training steps of a network, and nothing else.

    `network(weights, x)` is its products without biases and activations: the gradient of half its
    squared output has those of the backward pass.
    """
    import jax

    @jax.jit
    def run(weights, x):
        def one(weights, _):
            out, backward = jax.vjp(lambda weights: network(weights, x), weights)
            (slopes,) = backward(out)
            return jax.tree.map(lambda w, dw: w + 1e-6 * dw, weights, slopes), None

        return jax.lax.scan(one, weights, None, length=steps)[0]

    return repeated(run, weights, x)


def small_noise(*shapes: tuple[int, ...]) -> tuple:
    """Weights whose values do not matter."""
    import jax

    return tuple(0.01 * jax.random.normal(jax.random.key(0), shape) for shape in shapes)


def stirred(variables):
    """The same with noise in place of what starts constant: heads of zeros would answer zero."""
    import jax
    import jax.numpy as jnp

    leaves, structure = jax.tree.flatten(variables)
    keys = jax.random.split(jax.random.key(7), len(leaves))
    noisy = [
        leaf + (leaf == leaf.ravel()[0]).all() * 0.05 * jax.random.normal(key, leaf.shape)
        for key, leaf in zip(keys, map(jnp.asarray, leaves))
    ]
    return jax.tree.unflatten(structure, noisy)


def steps_against_pass(model, variables, x) -> dict[str, float]:
    """The largest difference between the parameters of the conditionals from `step` after `step`
    and from one pass, and the largest of those parameters; of `stirred` weights."""
    import jax
    import jax.numpy as jnp

    from dgmjax.nn.autoregressive.binding import run_steps

    @jax.jit
    def both(v, x):
        bound = model.bind(v)()
        sites = x.reshape(len(x), -1)
        stepped = run_steps(bound.network, sites, sites.shape[1])
        full = bound.params(x).reshape(stepped.shape)
        return jnp.abs(full - stepped).max(), jnp.abs(full).max()

    difference, largest = both(stirred(variables), x)
    return {"largest_difference": float(difference), "largest_logit": float(largest)}


def sampling(model, variables, x) -> tuple[dict[str, Operation], dict[str, float]]:
    """What is measured of an autoregressive model: as many samples as x has rows, and log p(x).

    The facts are the number of parameters and those of `steps_against_pass`.
    """
    import jax

    num = len(x)
    sample = jax.jit(lambda v, key: model.apply(v, key, (num,), method="sample"))
    log_prob = jax.jit(lambda v, x: model.apply(v, x, method="log_prob"))

    operations = {
        "sample": repeated(sample, variables, jax.random.key(1)),
        "log_prob": repeated(log_prob, variables, x),
    }
    facts = {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(variables)),
    } | steps_against_pass(model, variables, x)
    return operations, facts


def learner_and_count(module, objective, optimiser, data: dict[str, Any], batch_size: int):
    """A learner of one player, and the number of its parameters."""
    configured()
    import jax

    from dgmjax import training

    learner = training.gradient_learner(module, {"model": training.Player(objective, optimiser)})
    batch = {name: array[:batch_size] for name, array in data.items()}
    params = jax.eval_shape(learner.init, jax.random.key(0), batch).params
    return learner, sum(leaf.size for leaf in jax.tree.leaves(params))


def epochs_of_fit(
    learner, data: dict[str, Any], batch_size: int, replay_every: int | None = None
) -> Operation:
    """n epochs of `fit` as a user calls it, with a log line and an evaluation each epoch.

    The first epoch of a call, in which `fit` traces, initialises and moves the data, is left out:
    the time is that from its end to the end of the last.

    Args:
      replay_every: also write a run folder with verified checkpoints, and run one step in this many
        twice.
    """
    import contextlib
    import tempfile

    import jax

    from dgmjax import runs, training
    from dgmjax.training.execution import Execution, Validation

    steps = len(next(iter(data.values()))) // batch_size

    def epoch(n: int) -> Elapsed:
        marks = []
        with contextlib.ExitStack() as stack:
            run = None
            if replay_every is not None:
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                run = stack.enter_context(runs.RunFolder.create(folder, "overhead", {}, 0))
            training.fit(
                learner,
                data,
                key=jax.random.key(0),
                steps=(n + 1) * steps,
                batch_size=batch_size,
                run=run,
                execution=Execution(log_every=steps, replay_every=replay_every),
                validation=Validation(
                    every=steps, on_evaluation=lambda state, step: marks.append(stopwatch())
                ),
            )
        return Elapsed(marks[-1].cpu - marks[0].cpu, marks[-1].wall - marks[0].wall)

    batch = {name: array[:batch_size] for name, array in data.items()}
    state = jax.eval_shape(learner.init, jax.random.key(0), batch)
    return counted(epoch, learner.step, state, batch, times=steps)
