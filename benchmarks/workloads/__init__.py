"""The workloads: each file holds our side, the peers' sides, and the bounds to keep."""

from importlib import import_module

from benchmarks.workload import Workload

NAMES = (
    "vae_epoch",
    "iwae_step",
    "likelihood_bound",
    "small_maf_epoch",
    "maf_sampling",
    "maf_peers_6",
    "maf_peers_63",
    "maf_peers_784",
    "spline_peers_6",
    "spline_peers_63",
    "spline_depth",
    "remat_memory",
    "glow_peers",
    "fit_overhead",
    "time_to_first_step",
    "autoregressive_sampling",
    "pixelcnn_sampling",
    "wavenet_generation",
    "dcgan_step",
    "flow_matching_step",
    "transformer_step",
    "parallel_wavenet",
    "annealing",
    "particle_bounds",
    "growth",
)


SIZED = {
    "maf_peers_6": ("maf_peers", "D6"),
    "maf_peers_63": ("maf_peers", "D63"),
    "maf_peers_784": ("maf_peers", "D784"),
    "spline_peers_6": ("maf_peers", "SPLINES_6"),
    "spline_peers_63": ("maf_peers", "SPLINES_63"),
}
"""Workloads of one file that differ in a size: the file, and the name in it."""


def load(name: str) -> Workload:
    """The workload of that name; imports neither JAX nor torch."""
    module, attribute = SIZED.get(name, (name, "WORKLOAD"))
    return getattr(import_module(f"benchmarks.workloads.{module}"), attribute)
