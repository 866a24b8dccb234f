"""Questions to a model: one predicate for each thing that it may offer."""

from collections.abc import Mapping
from typing import Any

from dgmjax.contracts.protocols import Rule


def data_rules(model: Any, arrays: Mapping[str, Any]) -> Mapping[str, Rule]:
    """The model's own `data_rules`, otherwise those of its `observation` or `family` for `x`."""
    own = getattr(model, "data_rules", None)
    if own is not None:
        return own(arrays)
    family = getattr(model, "observation", None) or getattr(model, "family", None)
    return {"context": "real"} if family is None else {"x": family, "context": "real"}


def is_conditional(model: Any) -> bool:
    """Whether the model reads more of a batch than `x` (`ConditionalModel`)."""
    return hasattr(model, "given")


def is_latent_variable_model(model: Any) -> bool:
    """Whether the model has a prior and a posterior of x alone (`LatentVariableModel`)."""
    return not is_conditional(model) and hasattr(model, "prior") and hasattr(model, "posterior")


def starts_at_marginals(network: Any) -> bool:
    """Whether the network offers `StartsAtMarginals`."""
    return hasattr(network, "start_at_marginals")


def reads_posterior(prior: Any) -> bool:
    """Whether a prior is called with the posterior, a function of x (`models.VampPrior`)."""
    return bool(getattr(prior, "reads_posterior", False))


def reads_mask(model: Any) -> bool:
    """Whether the density's `log_prob` takes a `mask` (`ReadsMask`)."""
    return bool(getattr(model, "reads_mask", False))


def looks_at_batches(layer: Any) -> bool:
    """Whether a layer of a flow has an `observe` of its own (`models.flows.layers.FlowLayer`)."""
    return hasattr(layer, "observe")


def has_codes(model: Any) -> bool:
    """Whether the latents of a model are codes (`Quantises`)."""
    return hasattr(model, "quantise")


def bounds_classes(model: Any) -> bool:
    """Whether a model bounds log p(x, y) of every class (`models.SemiSupervisedVAE`)."""
    return hasattr(model, "class_bounds")


def scores_classes(model: Any) -> bool:
    """Whether a model has log p(x, y) of every class (`models.ClassConditional`)."""
    return hasattr(model, "log_joint") and hasattr(model, "num_classes")


def generates(model: Any) -> bool:
    """Whether samples are an image `generate(z)` of latents z ~ `prior()`, as of `models.GAN`."""
    return hasattr(model, "generate") and hasattr(model, "prior")


def pushes_forward(model: Any) -> bool:
    """Whether x is `bijector().forward(z)` of a base density, as of `models.Flow`."""
    return hasattr(model, "bijector") and callable(model)


def filters(model: Any) -> bool:
    """Whether a particle filter can run over a model's sequences (`Filters`)."""
    return hasattr(model, "filtering")


def is_energy_based(model: Any) -> bool:
    """Whether a model is known up to its normaliser (`EnergyBased`)."""
    return hasattr(model, "energy") and hasattr(model, "transition")


def anneals(model: Any) -> bool:
    """Whether annealing estimates a model's normaliser (`Anneals`)."""
    return is_energy_based(model) and hasattr(model, "annealing")


def keeps_chains(model: Any) -> bool:
    """Whether a model keeps chains between the steps of training (`KeepsChains`)."""
    return hasattr(model, "chains") and hasattr(model, "keep")


def has_baseline(model: Any) -> bool:
    """Whether a model predicts its learning signal (`HasBaseline`)."""
    return hasattr(model, "baseline")


def has_control_variate(model: Any) -> bool:
    """Whether a model has a control variate (`HasControlVariate`)."""
    return hasattr(model, "control_variate")


def scores_sites(likelihood: Any) -> bool:
    """Whether `site_log_prob(x)` gives log p of each site, as of `distributions.Factorised`."""
    return hasattr(likelihood, "site_log_prob")


def diverges_along_paths(posterior: Any) -> bool:
    """Whether `kl_along(prior, z)` is known, as of `distributions.Sequential`."""
    return hasattr(posterior, "kl_along")


def absorbs_latents(conditional: Any) -> bool:
    """Whether a conditional of a chain says how latents change its state: `absorb(state, z)`."""
    return hasattr(conditional, "absorb")


def is_mixture(distribution: Any) -> bool:
    """Whether a distribution has `components` and `responsibilities(z)`, as of a `Mixture`."""
    return hasattr(distribution, "components") and hasattr(distribution, "responsibilities")


def manifold_of(distribution: Any) -> str | None:
    """What a distribution's events lie on where that is not all of R^D, such as a sphere."""
    return getattr(distribution, "manifold", None)


def takes_a_fit(prior: Any) -> bool:
    """Whether `fitted(logits, loc, scale)` makes a prior's parameters (`models.NormalMixture`)."""
    return hasattr(prior, "fitted")


def holds_global_latents(model: Any) -> bool:
    """Whether a model has parameters of q(g) and a conjugate prior (`models.ConjugateModel`)."""
    return hasattr(model, "global_parameters") and hasattr(model, "conjugate")


def draws_conditionals(distribution: Any) -> bool:
    """Whether samples come with p(x_t | z_<t), as of `distributions.ParallelAutoregressive`."""
    return hasattr(distribution, "draw_and_conditionals")


def is_autoregressive(distribution: Any) -> bool:
    """Whether `family(params(x))` gives the conditionals of x (`distributions.Autoregressive`)."""
    return hasattr(distribution, "params") and hasattr(distribution, "family")


def reorders_sites(network: Any) -> bool:
    """Whether `reindexed(params, permutations)` changes the order of a network's sites."""
    return hasattr(network, "reindexed")


def runs_step_by_step(network: Any) -> bool:
    """Whether a network has `init_carry` and `step` (`bijectors.AutoregressiveNetwork`)."""
    return hasattr(network, "step")


def runs_em(module: Any) -> bool:
    """Whether a module is fitted by EM (`models.classical.base.EMModel`)."""
    return hasattr(module, "em_start") and hasattr(module, "em_step")


def shows_latents(model: Any) -> bool:
    """Whether `shown(z, key)` says what figures show of a latent."""
    return hasattr(model, "shown")


def offers(module: Any, method: str) -> bool:
    """Whether a module has the method that a row of a table (of figures) names."""
    return hasattr(module, method)


def is_initialising(model: Any) -> bool:
    """Whether the parameters of a model are being made; False for models that do not say so."""
    asked = getattr(model, "is_initializing", None)
    return bool(asked()) if callable(asked) else False


def is_judged(model: Any) -> bool:
    """Whether a model has samples and a critic with a value for each (`ImplicitModel`).

    The value of a critic of packs (`nn.Packed`) is not that of a sample.
    """
    of_packs = getattr(getattr(model, "critic", None), "of_packs", False)
    return hasattr(model, "sample") and hasattr(model, "logit") and not of_packs


def makes_pairs(model: Any) -> bool:
    """Whether an implicit model says itself what its critic compares: `pairs(batch, key)`."""
    return hasattr(model, "pairs")


def recognises_codes(model: Any) -> bool:
    """Whether a generator's codes can be recognised: `codes` and `log_recognition`."""
    return hasattr(model, "log_recognition")


def reads_classes(model: Any) -> bool:
    """Whether an implicit model is class-conditional: `of_classes(label)` is that of classes."""
    return getattr(model, "num_classes", None) is not None and hasattr(model, "of_classes")


def encodes(model: Any) -> bool:
    """Whether a generator has an encoder beside it: `encode(x)`."""
    return hasattr(model, "encode") and hasattr(model, "generate")


def has_bijector(model: Any) -> bool:
    """Whether a density is that of a base under `bijector(context)`."""
    return hasattr(model, "bijector")
