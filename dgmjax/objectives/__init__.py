"""Objectives: pure functions `(model, batch, key) -> (loss[B], metrics)`, to be minimised."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "adversarial": ["discriminator_loss", "generator_loss"],
        "aggregate": ["aggregate_divergence", "aggregated_log_prob", "beta_tc", "infovae", "wae"],
        "control_variate": ["relax"],
        "divergences": ["kl_divergence", "kl_terms"],
        "elbo": ["elbo"],
        "importance": [
            "chi_upper_bound",
            "importance_bound",
            "iwae",
            "log_weights",
            "renyi",
            "wake_phase",
        ],
        "likelihood": ["negative_log_likelihood", "sampled_ordering"],
        "mmd": ["gram"],
        "missing": ["ObservedPart", "miwae"],
        "multimodal": ["subsampled_elbo"],
        "relaxed": ["concrete", "straight_through"],
        "reverse_kl": ["reverse_kl"],
        "schedules": ["scheduled"],
        "score_function": ["reinforce", "vimco"],
        "sequences": ["padded_sequence_nll"],
        "vq": ["vq_vae"],
    },
)
