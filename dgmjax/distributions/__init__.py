"""Distributions that distrax lacks, and the families that turn parameters into distributions.

`families` holds the families (`families.Bernoulli()`); the names exported here are distributions.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submodules=["families"],
    submod_attrs={
        "ancestral": ["Ancestral"],
        "ar1": ["AR1"],
        "autoregressive": ["Autoregressive"],
        "bernoulli": ["Bernoulli"],
        "categorical": ["Categorical"],
        "concrete": ["RelaxedBernoulli", "RelaxedCategorical"],
        "energies": ["Energy"],
        "factorised": ["Factorised"],
        "full_normal": ["FullNormal"],
        "logistic_mixture": ["DiscretisedLogisticMixture"],
        "normal_product": ["product_of_normals"],
        "one_hot": ["OneHotCategorical"],
        "low_rank_normal": ["LowRankNormal"],
        "mixture": ["Mixture"],
        "padded": ["Padded"],
        "poisson": ["Poisson"],
        "relaxation": ["Relaxation", "discrete_sites"],
        "sequential": ["Sequential"],
        "student_t": ["StudentT"],
        "transformed": ["Transformed"],
    },
)
