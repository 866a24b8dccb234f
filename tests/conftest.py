"""One strict session: eight host devices, CPU, and the compiler's memory maps freed.

With `JAX_PLATFORMS=cuda,cpu` (or `tpu,cpu`) in the environment, tests run on the accelerator; those
marked `accelerator` are meant to.
"""

import gc
import os
import threading
from collections import Counter, defaultdict
from importlib import metadata

from dgmjax.devices.environment import add_flags, compiler_flags

ON_CPU = os.environ.setdefault("JAX_PLATFORMS", "cpu") == "cpu"
os.environ.setdefault("PJRT_NPROC", "32")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")
# Most of the time of the suite is tracing and compilation: the latter takes 30% less without LLVM's
# optimisations, and half of the rest in one piece and without MLIR's fusion emitters.
flags = [
    "--xla_force_host_platform_device_count=8",
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_parallel_codegen_split_count=1",
]
# XLA ends the process without a word at a flag that it does not know, and later versions do not
# know this one.
if tuple(map(int, metadata.version("jaxlib").split(".")[:2])) < (0, 11):
    flags.append("--xla_cpu_use_fusion_emitters=false")
add_flags([*(flags if ON_CPU else ()), *compiler_flags()])

import jax
import pytest
from jax._src.interpreters import mlir

# Bounds are those of float32; tests of the coarser products of an accelerator ask for them.
jax.config.update("jax_default_matmul_precision", None if ON_CPU else "highest")


# JAX lowers each function in a new MLIR context, and to make, fill and free it costs as much as the
# compilation of a small function: a seventh of the time of tests that compile many. A thread has
# one here, until its module of tests has ended. Nothing depends on it: where JAX has changed, the
# tests are slower.
ir_contexts = threading.local()
make_ir_context = getattr(mlir, "make_ir_context", None)


def shared_ir_context():
    if not hasattr(ir_contexts, "context"):
        ir_contexts.context = make_ir_context()
    return ir_contexts.context


if make_ir_context is not None:
    mlir.make_ir_context = shared_ir_context


@pytest.fixture(scope="module", autouse=True)
def free_compiled_functions():
    """Each live executable holds memory maps, of which a process may have only so many."""
    yield
    jax.clear_caches()
    ir_contexts.__dict__.clear()
    gc.collect()


def pytest_collection_finish(session):
    """Keeps the garbage collector from all modules and tests: it took a tenth of the time.

    It looks at what tests leave behind less often, too; `free_compiled_functions` does so anyway.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Marks all but every `of`-th row (8 by default) of a test marked `staggered` as slow.

    Tests of one file begin at different rows: `of` of them together look at every row, and each
    looks at one at least, so that whoever breaks what a test is for is told at once. Only the slow
    tests look at every row with every test.
    """
    tables = [
        (item, mark)
        for item in items
        if (mark := item.get_closest_marker("staggered")) and hasattr(item, "callspec")
    ]
    rows = Counter((item.path, item.originalname) for item, _ in tables)
    turns, places = defaultdict(list), defaultdict(int)
    for item, mark in tables:
        functions = turns[item.path]
        if item.originalname not in functions:
            functions.append(item.originalname)
        turn = places[item.path, item.originalname] + functions.index(item.originalname)
        places[item.path, item.originalname] += 1
        if turn % min(mark.kwargs.get("of", 8), rows[item.path, item.originalname]):
            item.add_marker(pytest.mark.slow)
