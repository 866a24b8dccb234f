"""Evaluation: exact averages, bounds, and what a latent space does."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "averages": ["Measurement", "average", "per_example"],
        "baselines": ["full_normal", "independent_bernoulli"],
        "bijector_conformance": ["Case", "Conformance", "special_points"],
        "latent": ["active_units", "posterior_means"],
        "units": ["bits_per_dim"],
    },
)
