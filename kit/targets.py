"""Machines that a kit can be made for: their Python, their wheels, and what they have already.

Standard library only.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A kind of machine.

    Attributes:
      python: its version.
      installed: normalised names of the distributions that it has; the kit leaves them out. A
        version is given where the kit's records or its choice of wheels depend on it.
      glibc: the newest 2.N whose wheels run there (`manylinux_2_N`).
      machine: as in the names of wheels.
    """

    python: str
    installed: dict[str, str | None]
    glibc: int = 39
    machine: str = "x86_64"

    @property
    def platforms(self) -> list[str]:
        """Tags of wheels, newest first."""
        numbered = [f"manylinux_2_{minor}_{self.machine}" for minor in range(self.glibc, 4, -1)]
        return [*numbered, f"manylinux2014_{self.machine}", f"manylinux1_{self.machine}"]

    @property
    def markers(self) -> dict[str, str]:
        """The environment of requirements' markers."""
        return {
            "python_version": self.python,
            "python_full_version": f"{self.python}.0",
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
            "os_name": "posix",
            "sys_platform": "linux",
            "platform_system": "Linux",
            "platform_machine": self.machine,
        }


COMMON = """
    absl-py aiofiles attrs certifi charset-normalizer chex cloudpickle colorama contourpy cycler
    einops equinox etils execnet flatbuffers flax fonttools fsspec humanize hypothesis idna
    iniconfig jaxtyping jinja2 joblib kiwisolver lazy-loader markdown-it-py markupsafe matplotlib
    mdurl ml-dtypes msgpack multipledispatch narwhals optax opt-einsum orbax-checkpoint packaging
    pillow pluggy prometheus-client protobuf psutil pyarrow pygments pyparsing pytest pytest-xdist
    python-dateutil pyyaml requests rich safetensors scikit-learn scipy setuptools simplejson six
    sortedcontainers tensorstore threadpoolctl toolz tqdm treescope typing-extensions urllib3
    uvloop wadler-lindig wrapt zipp
"""
"""What images for work with JAX on GPUs commonly have, besides JAX itself."""

TARGETS = {
    "cuda13": Target(
        python="3.12",
        installed=dict.fromkeys(COMMON.split())
        | {"jax": "0.11.2", "jaxlib": "0.11.2", "numpy": "2.5.2", "numpyro": None},
    ),
    "bare-3.11": Target(python="3.11", installed={}),
    "bare-3.12": Target(python="3.12", installed={}),
}
