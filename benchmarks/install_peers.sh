#!/bin/sh
# Installs the libraries that the benchmarks compare with, pinned, into environments of their own:
#   .peers/torch  torch, pythae, zuko, nflows, normflows
#   .peers/jax    flowjax, numpyro, bijx
# About 2 GB and two minutes. Give the interpreter as PYTHON=... if `python3.11` is not its name.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3.11}

"$python" -m venv .peers/torch
install=".peers/torch/bin/python -m pip install --quiet --disable-pip-version-check"
$install torch==2.13.0 zuko==1.6.0 numpy==2.4.6
# pythae wants a backport of `dataclasses`, nflows all of tensorboard for its examples, and
# normflows an old torch: only what they import is installed beside them.
$install setuptools wheel cloudpickle imageio matplotlib pydantic scipy scikit-learn tqdm
$install --no-deps pythae==0.1.2 nflows==0.14 normflows==1.7.3

"$python" -m venv .peers/jax
install=".peers/jax/bin/python -m pip install --quiet --disable-pip-version-check"
$install flowjax==19.1.2 numpyro==0.22.0 bijx==1.3.2 jax==0.10.2 jaxlib==0.10.2 \
    flax==0.12.8 equinox==0.13.8 paramax==0.0.5 optax==0.2.8 numpy==2.4.6 lazy_loader==0.6

.peers/torch/bin/python -c "import torch, pythae, zuko, nflows.flows, normflows"
.peers/jax/bin/python -c "import flowjax.flows, numpyro, bijx"
echo "The peers are installed: python -m benchmarks.run"
