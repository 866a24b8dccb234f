from .adversarial.losses import (
    discriminator_loss as discriminator_loss,
    generator_loss as generator_loss,
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
from .mmd import (
    gram as gram,
)
from .schedules import (
    scheduled as scheduled,
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
    wake_phase as wake_phase,
)
from .variational.missing import (
    ObservedPart as ObservedPart,
    miwae as miwae,
)
from .variational.multimodal import (
    subsampled_elbo as subsampled_elbo,
)
