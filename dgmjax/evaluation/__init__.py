"""Evaluation: exact averages, bounds, and what a latent space does."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "averages": ["Measurement", "average", "per_example"],
        "baselines": ["full_normal", "independent_bernoulli"],
        "bijector_conformance": ["Case", "Conformance", "special_points"],
        "clustering": ["cluster_accuracy", "normalised_mutual_information"],
        "codes": ["code_counts", "encoded"],
        "disentanglement": ["beta_vae_score", "mutual_information_gap"],
        "imputation": ["Imputed", "imputation_error", "imputations", "impute"],
        "imputation_baselines": ["iterative_imputation", "mean_imputation"],
        "latent": [
            "MEAN_SAMPLES",
            "active_dimensions",
            "active_units",
            "dimension_rates",
            "index_code_information",
            "posterior_mean",
            "posterior_means",
            "rate_and_distortion",
        ],
        "latent_structure": ["LatentStructure", "latent_structure"],
        "probe": ["linear_probe"],
        "units": ["bits_per_dim"],
    },
)
