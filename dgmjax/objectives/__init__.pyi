from .adversarial.divergences import (
    DIVERGENCES as DIVERGENCES,
    Divergence as Divergence,
)
from .adversarial.games import (
    GAMES as GAMES,
    Game as Game,
    f_gan as f_gan,
    game_of as game_of,
    moment_matching as moment_matching,
)
from .adversarial.losses import (
    absolute_error as absolute_error,
    critic_loss as critic_loss,
    generator_loss as generator_loss,
    information as information,
    squared_error as squared_error,
)
from .adversarial.penalties import (
    Penalty as Penalty,
    dragan as dragan,
    on_lines as on_lines,
    r1 as r1,
    r2 as r2,
)
from .density.contrastive import (
    contrastive_divergence as contrastive_divergence,
)
from .density.likelihood import (
    negative_log_likelihood as negative_log_likelihood,
    sampled_ordering as sampled_ordering,
)
from .density.reverse_kl import (
    reverse_kl as reverse_kl,
)
from .density.sequences import (
    padded_sequence_nll as padded_sequence_nll,
)
from .diffusion.continuous_flow import (
    continuous_flow as continuous_flow,
)
from .diffusion.denoising import (
    TIMES as TIMES,
    WEIGHTS as WEIGHTS,
    ddpm as ddpm,
    denoising as denoising,
    diffusion_bound as diffusion_bound,
    diffusion_bound_variance as diffusion_bound_variance,
    flow_matching as flow_matching,
)
from .diffusion.discrete import (
    discrete_diffusion as discrete_diffusion,
)
from .diffusion.few_steps import (
    consistency as consistency,
    mean_flow as mean_flow,
    reflow as reflow,
    teacher_pairs as teacher_pairs,
)
from .diffusion.latents import (
    latent_diffusion as latent_diffusion,
    on_latents as on_latents,
    with_prior as with_prior,
)
from .diffusion.score_matching import (
    denoising_score_matching as denoising_score_matching,
    implicit_score_matching as implicit_score_matching,
    noise_contrastive_estimation as noise_contrastive_estimation,
    sliced_score_matching as sliced_score_matching,
)
from .discrete.control_variate import (
    relax as relax,
)
from .discrete.relaxed import (
    concrete as concrete,
    straight_through as straight_through,
)
from .discrete.score_function import (
    reinforce as reinforce,
    vimco as vimco,
)
from .discrete.vq import (
    vq_vae as vq_vae,
)
from .distillation import (
    distillation as distillation,
    power_loss as power_loss,
)
from .mmd import (
    gram as gram,
)
from .schedules import (
    scheduled as scheduled,
)
from .semi_supervised import (
    multi_conditional as multi_conditional,
    semi_supervised as semi_supervised,
)
from .sums import (
    weighted_sum as weighted_sum,
)
from .variational.aggregate import (
    aggregate_divergence as aggregate_divergence,
    aggregated_log_prob as aggregated_log_prob,
    beta_tc as beta_tc,
    infovae as infovae,
    wae as wae,
)
from .variational.divergences import (
    kl_divergence as kl_divergence,
    kl_terms as kl_terms,
)
from .variational.elbo import (
    elbo as elbo,
    rate as rate,
)
from .variational.filtering import (
    fivo as fivo,
)
from .variational.importance import (
    chi_upper_bound as chi_upper_bound,
    importance_bound as importance_bound,
    iwae as iwae,
    log_weights as log_weights,
    renyi as renyi,
    sleep_phase as sleep_phase,
    wake_phase as wake_phase,
)
from .variational.information import (
    information_bound as information_bound,
)
from .variational.missing import (
    ObservedPart as ObservedPart,
    miwae as miwae,
)
from .variational.multimodal import (
    subsampled_elbo as subsampled_elbo,
)
from .variational.natural import (
    natural_gradient as natural_gradient,
)
from .variational.regularised import (
    regularised_autoencoder as regularised_autoencoder,
)
from .variational.rejection import (
    variational_rejection as variational_rejection,
)
from .variational.semi_amortised import (
    semi_amortised as semi_amortised,
)
