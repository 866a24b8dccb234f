"""Objectives: pure functions `(model, batch, key) -> (loss[B], metrics)`, to be minimised."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "adversarial": ["discriminator_loss", "generator_loss"],
        "elbo": ["elbo", "kl_divergence"],
        "importance": ["importance_bound", "iwae", "log_weights"],
        "likelihood": ["negative_log_likelihood", "sampled_ordering"],
        "reverse_kl": ["reverse_kl"],
        "sequences": ["padded_sequence_nll"],
    },
)
