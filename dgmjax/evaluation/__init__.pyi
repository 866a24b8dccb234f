from . import (
    samples as samples,
)
from .annealed import (
    Annealing as Annealing,
    Bidirectional as Bidirectional,
    FixedObservation as FixedObservation,
    annealed_bound as annealed_bound,
    bidirectional as bidirectional,
)
from .averages import (
    Measurement as Measurement,
    average as average,
    per_example as per_example,
)
from .baselines import (
    full_normal as full_normal,
    independent_bernoulli as independent_bernoulli,
)
from .bijector_conformance import (
    Case as Case,
    Conformance as Conformance,
    special_points as special_points,
)
from .bijector_uses import (
    Subject as Subject,
    unusable as unusable,
)
from .clustering import (
    cluster_accuracy as cluster_accuracy,
    normalised_mutual_information as normalised_mutual_information,
)
from .codes import (
    code_counts as code_counts,
    encoded as encoded,
)
from .disentanglement import (
    beta_vae_score as beta_vae_score,
    mutual_information_gap as mutual_information_gap,
)
from .features import (
    features as features,
)
from .imputation import (
    Imputed as Imputed,
    imputation_error as imputation_error,
    imputations as imputations,
    impute as impute,
)
from .imputation_baselines import (
    iterative_imputation as iterative_imputation,
    mean_imputation as mean_imputation,
)
from .latent import (
    MEAN_SAMPLES as MEAN_SAMPLES,
    active_dimensions as active_dimensions,
    active_units as active_units,
    dimension_rates as dimension_rates,
    index_code_information as index_code_information,
    posterior_mean as posterior_mean,
    posterior_means as posterior_means,
    rate_and_distortion as rate_and_distortion,
)
from .latent_structure import (
    LatentStructure as LatentStructure,
    latent_structure as latent_structure,
)
from .modes import (
    ModeCoverage as ModeCoverage,
    mode_coverage as mode_coverage,
)
from .parzen import (
    Parzen as Parzen,
    parzen as parzen,
    parzen_log_prob as parzen_log_prob,
)
from .probe import (
    linear_probe as linear_probe,
)
from .units import (
    bits_per_dim as bits_per_dim,
)
