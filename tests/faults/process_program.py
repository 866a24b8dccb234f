"""What the processes of `test_processes` run: a small gradient descent on rows of their own."""

import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax.data.batches import Batches
from dgmjax.devices import processes
from dgmjax.devices.mesh import batch_sharding, make_mesh, replicated
from dgmjax.runs.checkpoints import Checkpoints


def loss(w, batch):
    return jnp.mean((batch["x"] @ w - batch["y"]) ** 2)


@jax.jit
def step(w, batch):
    value, gradient = jax.value_and_grad(loss)(w, batch)
    return w - 0.1 * gradient, value


def main(folder: Path, steps: int, pause: float, save_every: int) -> None:
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(64, 3)).astype(np.float32)}
    data["y"] = data["x"] @ np.array([1.0, -2.0, 0.5], np.float32)
    batches = Batches(data, 16, seed=0)
    mesh = make_mesh()
    checkpoints = Checkpoints(folder / "checkpoints", keep=2)
    shape = jax.ShapeDtypeStruct((3,), jnp.float32, sharding=replicated(mesh))
    restored = checkpoints.restore({"w": shape})
    if restored is None:
        w, start = processes.global_copy(np.zeros(3, np.float32), replicated(mesh)), 0
    else:
        w, start = restored[0]["w"], restored[2]
    print(f"starts at {start} with {jax.device_count()} devices", flush=True)
    for i in range(start, steps):
        batch = batches.batch(i, processes.part())
        with processes.named_losses():
            w, value = step(w, processes.global_batch(batch, batch_sharding(mesh)))
            value.block_until_ready()
        if (i + 1) % save_every == 0:
            checkpoints.save(i + 1, {"w": w}, {})
        time.sleep(pause)
    checkpoints.close()
    everything = processes.to_host(
        processes.global_batch(batches.batch(0, processes.part()), batch_sharding(mesh))
    )
    np.testing.assert_array_equal(everything["x"], batches.batch(0)["x"])
    processes.require_same("steps", steps)
    assert processes.any_process(processes.part()[0] == processes.part()[1] - 1)
    if processes.is_main():
        (folder / "w.txt").write_text(" ".join(map(repr, processes.to_host(w).tolist())))


if __name__ == "__main__":
    with processes.session():
        main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
