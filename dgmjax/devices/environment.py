"""Environment variables and the compile cache, set before JAX is imported.

Importing this file imports no JAX. Every entry point calls `configure()` first.
"""

import os
import stat
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from dgmjax.errors import RunError
from dgmjax.files import make_private_folder

DEFAULTS = {
    # Threaded solves of small matrices stall for milliseconds at random.
    "OPENBLAS_NUM_THREADS": "1",
}
# Host devices wait for one another in a pool of threads as large as the number of cores, and abort
# when there are more devices than threads. One device does better with a thread per core: with 32 a
# step of a VAE takes twice the CPU time.
SEVERAL_DEVICES = {"PJRT_NPROC": "32"}
MISCOMPILED_REDUCTIONS = (
    (0, 11),
    "--xla_cpu_experimental_ynn_fusion_type=-LIBRARY_FUSION_TYPE_REDUCE",
)
"""From this version of jaxlib on, the CPU compiler hands sums to a library that gets some of them
wrong: sum(x l - exp(l)) with l = 16 tanh((W z + b) / 16) is off by tens where l is large."""

CACHE_VARIABLE = "DGMJAX_CACHE"
_CACHE_SETTINGS = {
    "jax_persistent_cache_min_compile_time_secs": 0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}


def configure() -> Path | None:
    """Sets `DEFAULTS` where the user has not, and points JAX at the private compile cache.

    Others cannot reach the cache, or what this process writes is not writable by them.

    Works before or after `import jax` and imports nothing itself; the `DEFAULTS` have an effect
    only before. A cache that the user chose through JAX's own `JAX_COMPILATION_CACHE_DIR` is left
    alone.

    Returns:
      The cache folder, or None (`DGMJAX_CACHE=off`, or no folder can be made, which is noted on
      standard error and costs compile time only).

    Raises:
      RunError: the cache folder is another user's, or others may write to it.
    """
    several = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    for name, value in {**DEFAULTS, **(SEVERAL_DEVICES if several else {})}.items():
        os.environ.setdefault(name, value)
    add_flags(compiler_flags())
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    folder = compile_cache()
    if folder is not None:
        if folder.stat().st_mode & 0o011:
            os.umask(os.umask(0o022) | 0o022)  # JAX writes its cache with the user's umask
        _point_jax_at(folder)
    return folder


def compiler_flags() -> list[str]:
    """Flags that the installed XLA needs to give right numbers on a CPU."""
    since, flag = MISCOMPILED_REDUCTIONS
    version = tuple(int(part) for part in metadata.version("jaxlib").split(".")[:2])
    return [flag] if version >= since else []


def add_flags(flags: Iterable[str]) -> None:
    """Adds flags to `XLA_FLAGS`; one that the user has set is left as it is."""
    given = os.environ.get("XLA_FLAGS", "")
    new = [flag for flag in flags if flag.partition("=")[0] not in given]
    if new:
        os.environ["XLA_FLAGS"] = " ".join([*given.split(), *new])


def run_once_options() -> dict[str, int] | None:
    """Compiler options of a program that runs once, such as the drawing of parameters.

    On a CPU it compiles in 0.3 to 0.6 of the time of the default where it draws many, with the same
    bits (at level 1, sums over examples differ in the last ones). Steps would run up to twice as
    long. A level that the user has set in `XLA_FLAGS` stays.
    """
    name = "xla_backend_optimization_level"
    return None if name in os.environ.get("XLA_FLAGS", "") else {name: 2}


def compile_cache() -> Path | None:
    """The folder of compiled programs, created with mode 0700 and checked to be private.

    It is `$DGMJAX_CACHE`, or `compiled` in the user's cache folder; None with `off`. JAX runs what
    it finds there, so anyone who can write to it can run code as this user.
    """
    chosen = os.environ.get(CACHE_VARIABLE, "")
    if chosen.lower() == "off":
        return None
    if chosen:
        return _private(Path(chosen).expanduser().absolute())
    import platformdirs

    return _private(Path(platformdirs.user_cache_dir("dgmjax", appauthor=False)) / "compiled")


def _private(folder: Path) -> Path | None:
    try:
        make_private_folder(folder)
    except RunError as problem:
        print(f"note: no compile cache. {problem}", file=sys.stderr)
        return None
    check_private(folder)
    return folder


def check_private(folder: Path) -> None:
    """Raises `RunError` unless only this user can write to `folder` or replace it."""
    if not hasattr(os, "getuid"):  # Windows keeps the user's cache private by itself
        return
    status = os.lstat(folder)
    remedy = f"Set ${CACHE_VARIABLE} to a private folder of your own, or to `off`."
    if stat.S_ISLNK(status.st_mode):
        raise RunError(f"The compile cache {folder} must not be a symbolic link. {remedy}")
    if status.st_uid != os.getuid():
        raise RunError(f"The compile cache {folder} belongs to another user. {remedy}")
    if status.st_mode & 0o022:
        raise RunError(
            f"The compile cache {folder} is writable by others (mode "
            f"{stat.S_IMODE(status.st_mode):04o}). Run `chmod 700 {folder}` if nobody else has "
            f"used it. {remedy}"
        )
    # Whoever may rename a folder above can put another one in its place. A sticky bit (as /tmp has)
    # forbids that.
    for parent in folder.resolve().parents:
        mode = parent.stat().st_mode
        if mode & 0o002 and not mode & stat.S_ISVTX:
            raise RunError(
                f"The compile cache {folder} can be replaced by others: {parent} is writable by "
                f"everyone. {remedy}"
            )


def _point_jax_at(folder: Path) -> None:
    # JAX reads its environment when it is imported: afterwards only its configuration counts.
    settings = {"jax_compilation_cache_dir": str(folder), **_CACHE_SETTINGS}
    jax = sys.modules.get("jax")
    for name, value in settings.items():
        if jax is not None:
            jax.config.update(name, value)
        else:
            os.environ.setdefault(name.upper(), str(value))
