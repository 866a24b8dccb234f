from . import (
    catalogue as catalogue,
    code_figures as code_figures,
    figures as figures,
    flow_figures as flow_figures,
    latent_figures as latent_figures,
    runner as runner,
)
from .annealing import (
    annealed_bounds as annealed_bounds,
    annealed_figure as annealed_figure,
    kernel_density as kernel_density,
)
from .chosen import (
    chosen_samples as chosen_samples,
)
from .experiment import (
    Estimator as Estimator,
    Experiment as Experiment,
    Supplement as Supplement,
)
from .exported import (
    Exported as Exported,
    load_export as load_export,
)
from .exporting import (
    export as export,
)
from .families import (
    Families as Families,
    measure_families as measure_families,
)
from .measures import (
    averaged as averaged,
    clustering as clustering,
    clusters as clusters,
    codes as codes,
    disentanglement as disentanglement,
    imputation_mse as imputation_mse,
    imputation_mse_of as imputation_mse_of,
    imputed as imputed,
    independent_pixels as independent_pixels,
    latent_units as latent_units,
    probe_accuracy as probe_accuracy,
)
from .partition import (
    partition_estimators as partition_estimators,
)
from .pretraining import (
    clustered_start as clustered_start,
    fitted_mixture as fitted_mixture,
)
from .prior_fitting import (
    fit_prior as fit_prior,
)
from .priors import (
    PRIORS as PRIORS,
    prior_after as prior_after,
)
from .runner import (
    load_run as load_run,
)
from .sampling import (
    sample_quality as sample_quality,
)
from .session import (
    train as train,
)
from .trained import (
    Trained as Trained,
)
