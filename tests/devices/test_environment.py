"""The environment that every entry point sets, and the compile cache that only its user writes."""

import os
import stat
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from dgmjax.devices import environment
from dgmjax.errors import RunError

NAMES = (
    *environment.DEFAULTS,
    "JAX_COMPILATION_CACHE_DIR",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES",
)

PROGRAM = """
import os, sys
if sys.argv[1] == "after":
    import jax
from dgmjax.devices.environment import configure
folder = configure()
assert ("jax" in sys.modules) == (sys.argv[1] == "after")
import jax
print(folder, jax.config.jax_compilation_cache_dir,
      int(jax.config.jax_persistent_cache_min_compile_time_secs),
      jax.config.jax_persistent_cache_min_entry_size_bytes,
      os.environ["PJRT_NPROC"], os.environ["OPENBLAS_NUM_THREADS"])
jax.jit(lambda x: x + 1)(1.0)
print(len(os.listdir(folder)) > 0)
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_configure_points_jax_at_a_private_cache(tmp_path, when):
    cache = tmp_path / "a" / "cache"
    variables = {name: value for name, value in os.environ.items() if name not in NAMES}
    variables |= {"DGMJAX_CACHE": str(cache), "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, when],
        env=variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.split() == [str(cache), str(cache), "0", "-1", "32", "2", "True"]
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


def test_default_place_off_and_the_users_own_choice(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("DGMJAX_CACHE", raising=False)
    if sys.platform == "linux":
        assert environment.compile_cache() == tmp_path / "dgmjax" / "compiled"
    monkeypatch.setenv("DGMJAX_CACHE", "off")
    assert environment.compile_cache() is None
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "own"))
    assert environment.configure() == tmp_path / "own"
    assert not (tmp_path / "own").exists()


def test_refuses_a_cache_that_others_can_write_to(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setenv("DGMJAX_CACHE", str(cache))
    assert environment.compile_cache() == cache
    for mode in (0o770, 0o707):
        cache.chmod(mode)
        with pytest.raises(RunError, match=r"writable by others.*chmod 700.*DGMJAX_CACHE"):
            environment.compile_cache()
    cache.chmod(0o755)
    assert environment.compile_cache() == cache
    tmp_path.chmod(0o777)
    with pytest.raises(RunError, match="can be replaced by others"):
        environment.compile_cache()
    tmp_path.chmod(0o1777)  # as /tmp: others cannot rename what is not theirs
    assert environment.compile_cache() == cache


def test_refuses_a_link_and_another_users_folder(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(RunError, match="symbolic link"):
        environment.check_private(tmp_path / "link")
    monkeypatch.setattr(os, "getuid", lambda: os.stat(tmp_path).st_uid + 1)
    with pytest.raises(RunError, match="another user"):
        environment.check_private(tmp_path / "real")


def test_no_folder_can_be_made(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DGMJAX_CACHE", str(tmp_path / "file" / "cache"))
    assert environment.compile_cache() is None
    assert "no compile cache" in capsys.readouterr().err


def test_sums_are_compiled_right():
    """A sum that jaxlib 0.12.0.1 gets wrong by tens of nats, unless its library is left out."""
    import jax
    import jax.numpy as jnp

    keys = jax.random.split(jax.random.key(0), 2)
    z, x = 2 * jax.random.normal(keys[0], (500, 4, 1)), jax.random.poisson(keys[1], 3.0, (4, 3))
    weights, bias = jnp.array([[-1.25, 0.45, -0.37]]), jnp.array([0.87, 0.12, 0.32])

    def log_prob(weights, z):
        rate = 16 * jnp.tanh((z.reshape(-1, 1) @ weights + bias).reshape(500, 4, 3) / 16)
        return (x * rate - jnp.exp(rate)).sum(-1)

    compiled = jax.jit(log_prob)(weights, z)
    with jax.disable_jit():
        one_by_one = log_prob(weights, z)
    assert jnp.abs(one_by_one).max() > 100
    assert jnp.allclose(compiled, one_by_one, rtol=1e-4, atol=1e-2)


def test_flags_that_the_user_set_are_left_alone(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--a=1 --b=2")
    environment.add_flags(["--b=3", "--c=4"])
    assert environment.os.environ["XLA_FLAGS"] == "--a=1 --b=2 --c=4"


def test_a_program_that_runs_once_is_compiled_as_the_user_says(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    options = environment.run_once_options()
    function = lambda x: jnp.sin(x).sum()
    found = jax.jit(function, compiler_options=options)(jnp.arange(3.0))
    assert found == jax.jit(function)(jnp.arange(3.0))
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
    assert environment.run_once_options() is None


@pytest.mark.parametrize(
    "platforms, why, program",
    [
        (
            "warp",
            "Backend 'warp' is not in the list of known backends",
            "from dgmjax.cli import commands; commands.main(['sample', 'gallery:any'])",
        ),
        ("cuda", "", "from dgmjax.devices import processes; processes.is_main()"),
    ],
)
def test_a_platform_that_does_not_start_is_named(platforms, why, program):
    variables = {**os.environ, "JAX_PLATFORMS": platforms, "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=variables, capture_output=True, text=True, timeout=120
    )
    said = done.stderr.splitlines()[-1]
    assert f"`JAX_PLATFORMS` must name platforms that start here; got {platforms}: " in said
    assert why in said and said.endswith("Set it to cpu, or unset it to let JAX choose.")
