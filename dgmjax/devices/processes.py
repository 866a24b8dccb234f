"""Processes, on one machine or many, that train one model together.

Every process runs the same program with the same arguments. JAX connects them. Each reads its
share of every batch (`part`); process 0 alone writes records and figures (`is_main`). All functions
except `session` and `initialise` also work in a single process, at no cost.

    with session(coordinator="host0:1234", num_processes=4, process_id=2):
        ...

Importing this file imports no JAX.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dgmjax.devices.watchdog import PeerLost, Peers
from dgmjax.errors import DgmjaxError, require

if TYPE_CHECKING:
    import jax
    from jax.sharding import NamedSharding

CLUSTERS = ("auto", "slurm", "k8s", "tpu", "ompi", "mpi4py")
_METHODS = {"auto": None, "tpu": None, "k8s": None}  # JAX names two kinds of tpu, and no k8s
_peers: Peers | None = None
_alone = 0


def initialise(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    cluster: str | None = None,
    heartbeat_seconds: int = 10,
    start_seconds: int = 300,
) -> bool:
    """Connects this process to the others. Call it before anything else uses JAX.

    Arguments that are None are taken from `DGMJAX_COORDINATOR`, `DGMJAX_NUM_PROCESSES`,
    `DGMJAX_PROCESS_ID` and `DGMJAX_CLUSTER`. With neither a coordinator nor a cluster this is a
    program of one process, and nothing is done.

    When a process ends without having finished, the others print which and end within about
    five seconds (`devices.watchdog`); when a machine vanishes without closing its connections,
    they are ended by JAX about `heartbeat_seconds` later.

    Args:
      coordinator: `host:port` of process 0, with a port that is free there.
      num_processes: how many there are.
      process_id: index of this process, from 0.
      cluster: let JAX find the three above: `slurm`, `k8s`, `tpu`, `ompi`, `mpi4py`, or `auto`.
      heartbeat_seconds: silence after which a process counts as dead.
      start_seconds: how long to wait for the others to start.

    Returns:
      Whether there are several processes.

    Raises:
      DgmjaxError: arguments that are incomplete or contradict one another, or processes that did
        not start.
    """
    global _peers
    coordinator = coordinator or os.environ.get("DGMJAX_COORDINATOR")
    cluster = cluster or os.environ.get("DGMJAX_CLUSTER")
    num_processes = _integer("num_processes", num_processes, "DGMJAX_NUM_PROCESSES")
    process_id = _integer("process_id", process_id, "DGMJAX_PROCESS_ID")
    if coordinator is None and cluster is None:
        given = [v for v in (num_processes, process_id) if v is not None]
        require(not given, "coordinator", "must be given, as host:port", None)
        return False
    _check(coordinator, num_processes, process_id, cluster)
    if coordinator is not None and cluster is None:
        from dgmjax.devices import rendezvous

        start = rendezvous.require_free if process_id == 0 else rendezvous.wait_for
        start(coordinator, start_seconds)
    import jax

    # JAX's own handler would swallow SIGTERM; training saves and stops by itself.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            cluster_detection_method=_METHODS.get(cluster, cluster) if cluster else "deactivate",
            initialization_timeout=start_seconds,
            heartbeat_timeout_seconds=heartbeat_seconds,
            shutdown_timeout_seconds=heartbeat_seconds,
        )
    except (KeyError, ImportError, RuntimeError, ValueError) as problem:
        remedy = f"Start all of them within {start_seconds} s, before JAX is used."
        got = f"{cluster or coordinator}: {_reason(problem)}"
        if cluster is None:
            argument, rule = "coordinator", "must be reachable by all processes"
        elif isinstance(problem, RuntimeError):
            argument, rule = "cluster", "must connect all processes"
        else:
            argument, rule = "cluster", "must be one that this process runs under"
            remedy = "Give --coordinator, --num-processes and --process-id in its place."
        raise DgmjaxError(f"`{argument}` {rule}; got {got}. {remedy}") from problem
    index, count = part()
    if count > 1:
        _peers = Peers(_host(coordinator), index, count, agree)
    return count > 1


def _reason(problem: Exception) -> str:
    """The first line of what went wrong, without its full stop."""
    if isinstance(problem, KeyError):
        return f"{problem.args[0]} is not set"
    return (str(problem) or type(problem).__name__).splitlines()[0].rstrip(".")


@contextlib.contextmanager
def session(*arguments: Any, **options: Any) -> Iterator[bool]:
    """`initialise(...)` for a `with` block that holds all the work of a process.

    An exception that leaves the block is reported to the other processes, which then end.
    """
    global _peers
    several = initialise(*arguments, **options)
    reason: str | None = "ended early"
    try:
        yield several
        reason = None
    except KeyboardInterrupt:  # all processes stop together, having saved
        reason = None
        raise
    except Exception as problem:
        reason = f"{type(problem).__name__}: {problem}"
        raise
    finally:
        if _peers is not None:
            _peers.close(reason)
            _peers = None


@contextlib.contextmanager
def named_losses() -> Iterator[None]:
    """Inside, errors caused by the loss of a process raise `PeerLost`, which names it.

    The error of a failed collective operation does not name the process that it waited for.
    """
    try:
        yield
    except PeerLost:
        raise
    except Exception as problem:
        if _peers is not None and part()[1] > 1:
            # The cause often becomes known a moment after the operation has failed.
            _peers.explain(problem)
        raise
    if _peers is not None:
        _peers.check()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Inside, this process is the only one: its computations wait for no other.

    For work that process 0 does for all, such as figures. Arrays over the devices of other
    processes must have been fetched (`to_host`) before.
    """
    global _alone
    _alone += 1
    try:
        yield
    finally:
        _alone -= 1


def part() -> tuple[int, int]:
    """`(process_index, process_count)`, for `Batches.batch(step, part())`.

    Raises:
      DgmjaxError: `JAX_PLATFORMS` names a platform that does not start.
    """
    import jax

    if _alone:
        return 0, 1
    platforms = os.environ.get("JAX_PLATFORMS")
    try:
        return jax.process_index(), jax.process_count()
    except (AssertionError, RuntimeError) as problem:  # devices start with the first question
        if not platforms:
            raise
        # JAX says nothing of a platform whose devices are invisible, else adds a remedy of its own.
        said = str(problem).partition(" (set JAX_PLATFORMS")[0].rstrip(".")
        raise DgmjaxError(
            "`JAX_PLATFORMS` must name platforms that start here; "
            f"got {platforms}: {said or 'it has no visible device'}. "
            "Set it to cpu, or unset it to let JAX choose."
        ) from problem


def is_main() -> bool:
    """True in the process that writes records, figures and the progress line."""
    return part()[0] == 0


def barrier(name: str) -> None:
    """Waits until every process has reached the barrier of this name."""
    if part()[1] > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


@contextlib.contextmanager
def main_first(name: str) -> Iterator[None]:
    """Process 0 runs the block, then the others do."""
    if not is_main():
        barrier(name)
    yield
    if is_main():
        barrier(name)


def agree(value: int) -> int:
    """Process 0's `value`, in every process; its magnitude is below 2**31."""
    return value if part()[1] == 1 else int(_everyone(value)[0])


def any_process(flag: bool) -> bool:
    """True in all processes if `flag` holds in one: all stop at the same step."""
    return flag if part()[1] == 1 else bool(_everyone(int(flag)).any())


def require_same(argument: str, value: int, remedy: str = "") -> None:
    """Raises `DgmjaxError` unless `value` (or a text's digest) is the same in every process."""
    values = np.array([value]) if part()[1] == 1 else _everyone(value)
    same = bool((values == values[0]).all())
    require(same, argument, "must be the same in every process", values.tolist(), remedy)


def require_equal(settings: Mapping[str, Any]) -> None:
    """Raises `DgmjaxError` that names what differs unless all processes have equal settings.

    Values are compared by their `repr`.
    """
    if part()[1] == 1:
        return
    own = {name: repr(value) for name, value in settings.items()}
    everyone = [json.loads(text) for text in _texts(json.dumps(own))]
    for name in sorted(set().union(*everyone)):
        values = [one.get(name, "nothing") for one in everyone]
        given = ", ".join(
            f"{value} in process {', '.join(str(i) for i, v in enumerate(values) if v == value)}"
            for value in dict.fromkeys(values)
        )
        remedy = "Start all with one command, in equal environments."
        require(len(set(values)) == 1, name, "must be the same in every process", given, remedy)


def _texts(text: str) -> list[str]:
    """The texts of all processes."""
    from jax.experimental import multihost_utils

    content = np.frombuffer(text.encode(), np.uint8)
    sizes = _everyone(content.size)
    # A collective needs equal shapes in every process, so lengths are exchanged first.
    padded = np.pad(content, (0, int(sizes.max()) - content.size))
    rows = np.asarray(multihost_utils.process_allgather(padded)).reshape(len(sizes), -1)
    return [bytes(row[:size]).decode() for row, size in zip(rows, sizes, strict=True)]


def global_batch(
    batch: Mapping[str, np.ndarray], sharding: "NamedSharding"
) -> dict[str, "jax.Array"]:
    """Arrays over the devices of all processes, from each process's share of the rows.

    Args:
      batch: `Batches.batch(step, part())`.
      sharding: of the whole batch, such as `batch_sharding(mesh)`.
    """
    import jax

    if part()[1] == 1:
        return jax.device_put(dict(batch), sharding)
    make = jax.make_array_from_process_local_data
    return {name: make(sharding, array) for name, array in batch.items()}


def global_copy(tree: Any, sharding: Any) -> Any:
    """Arrays over the devices of all processes, from values that every process holds whole.

    Args:
      sharding: one for all, or a tree of them of the same structure.
    """
    import jax

    if part()[1] == 1:
        return jax.device_put(tree, sharding)

    def place(array: Any, sharding: Any) -> "jax.Array":
        host = np.asarray(array)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    if isinstance(sharding, jax.sharding.Sharding):
        return jax.tree.map(lambda array: place(array, sharding), tree)
    return jax.tree.map(place, tree, sharding)


def total(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Sums over the processes of host arrays of equal shapes, in every process."""
    if part()[1] == 1:
        return dict(arrays)
    from jax.experimental import multihost_utils

    stacked = multihost_utils.process_allgather(dict(arrays))
    return {name: np.asarray(array).sum(axis=0) for name, array in stacked.items()}


def to_host(tree: Any) -> Any:
    """NumPy arrays of whole values, in every process, from arrays over all devices."""
    import jax
    from jax.experimental import multihost_utils

    def fetch(array: Any) -> np.ndarray:
        if not isinstance(array, jax.Array) or array.is_fully_addressable:
            return np.asarray(array)
        # Each process has the whole array already: no communication.
        if array.is_fully_replicated:
            return np.asarray(array.addressable_data(0))
        return np.asarray(multihost_utils.process_allgather(array, tiled=True))

    return jax.tree.map(fetch, tree)


def _everyone(value: int) -> np.ndarray:
    """The values of all processes, `[process_count]`."""
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(np.int32(value))).reshape(-1)


def _integer(argument: str, value: int | None, variable: str) -> int | None:
    text = os.environ.get(variable)
    if value is not None or text is None:
        return value
    require(text.isdecimal(), argument, f"must be a number in ${variable}", repr(text))
    return int(text)


def _host(coordinator: str | None) -> str:
    """The name of the machine of process 0."""
    if coordinator is None:
        from jax._src.distributed import global_state  # found by JAX; it has no public name

        coordinator = global_state.coordinator_address or "localhost:0"
    return coordinator.rpartition(":")[0].strip("[]")


def _check(
    coordinator: str | None, count: int | None, index: int | None, cluster: str | None
) -> None:
    known = cluster is None or cluster in CLUSTERS
    require(known, "cluster", f"must be one of {', '.join(CLUSTERS)}", repr(cluster))
    if coordinator is not None:
        host, _, port = coordinator.rpartition(":")
        sound = bool(host) and port.isdecimal() and 0 < int(port) < 65536
        require(sound, "coordinator", "must be host:port", repr(coordinator))
    if cluster is None:
        complete = count is not None and index is not None
        rule = "and `process_id` must be given with `coordinator`"
        require(complete, "num_processes", rule, (count, index), "Or name a `cluster`.")
    if count is not None and index is not None:
        inside = 0 <= index < count
        require(inside, "process_id", f"must be at least 0 and below {count}", index)
