from . import (
    resampling as resampling,
)
from .adaptation import (
    Adapted as Adapted,
    DualAveraging as DualAveraging,
    dual_averaging as dual_averaging,
    dual_averaging_update as dual_averaging_update,
    warm_up as warm_up,
)
from .annealing import (
    Annealed as Annealed,
    Path as Path,
    Sandwich as Sandwich,
    anneal as anneal,
    annealed_importance_sampling as annealed_importance_sampling,
    effective_chains as effective_chains,
    hamiltonian_path as hamiltonian_path,
    log_evidence_bounds as log_evidence_bounds,
    log_mean_weight as log_mean_weight,
)
from .annealing_trials import (
    adaptive_temperatures as adaptive_temperatures,
    tuned_step_sizes as tuned_step_sizes,
)
from .conjugate import (
    latent_dirichlet_allocation as latent_dirichlet_allocation,
    normal_mixture as normal_mixture,
    perplexity as perplexity,
)
from .critics import (
    Proposed as Proposed,
    Threshold as Threshold,
    Walked as Walked,
    calibrate as calibrate,
    discriminator_rejection as discriminator_rejection,
    independence as independence,
    log_acceptance as log_acceptance,
    metropolis_hastings_gan as metropolis_hastings_gan,
    threshold_of as threshold_of,
)
from .denoising import (
    SAMPLERS as SAMPLERS,
    Denoising as Denoising,
    Sampler as Sampler,
    run_sampler as run_sampler,
)
from .filtering import (
    Filtered as Filtered,
    Filtering as Filtering,
    particle_filter as particle_filter,
)
from .gibbs import (
    Drawn as Drawn,
    block_gibbs as block_gibbs,
)
from .hamiltonian import (
    Info as Info,
    Point as Point,
    leapfrog as leapfrog,
)
from .kernels import (
    Kernel as Kernel,
    hmc as hmc,
    mala as mala,
    run as run,
    ula as ula,
)
from .ode import (
    TABLEAUS as TABLEAUS,
    Divergence as Divergence,
    Flowed as Flowed,
    Solver as Solver,
    Tableau as Tableau,
    flow_and_log_det as flow_and_log_det,
    integrate as integrate,
    num_calls as num_calls,
    steps_between as steps_between,
)
from .partition import (
    AnchoredPath as AnchoredPath,
    Partition as Partition,
    log_partition as log_partition,
)
from .rejection import (
    Rejected as Rejected,
    rejection_sample as rejection_sample,
)
from .smc import (
    Particles as Particles,
    run_smc as run_smc,
    sequential_monte_carlo as sequential_monte_carlo,
)
from .svi import (
    Conjugate as Conjugate,
    Global as Global,
    global_bound as global_bound,
    stochastic_variational_inference as stochastic_variational_inference,
)
from .temperatures import (
    geometric_temperatures as geometric_temperatures,
    linear_temperatures as linear_temperatures,
    sigmoid_temperatures as sigmoid_temperatures,
)
from .tempering import (
    tempered_transitions as tempered_transitions,
)
