"""Packages of the distribution; everything else about it is in pyproject.toml.

The folder `experiments/` is installed as `dgmjax.experiments`, so that nothing named `experiments`
reaches site-packages, where a user's own folder of that name would hide it.
"""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["dgmjax", "dgmjax.*"]),
        *(f"dgmjax.{name}" for name in find_packages(include=["experiments", "experiments.*"])),
    ],
    package_dir={"dgmjax.experiments": "experiments"},
)
