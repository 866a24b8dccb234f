from .bound import (
    Terms as Terms,
    variational_bound as variational_bound,
)
from .conversions import (
    KINDS as KINDS,
    Kind as Kind,
    convert as convert,
    from_parts as from_parts,
    to_parts as to_parts,
)
from .couplings import (
    COUPLINGS as COUPLINGS,
    Coupling as Coupling,
    assignment as assignment,
    coupling_of as coupling_of,
    independent as independent,
    sinkhorn as sinkhorn,
)
from .discrete import (
    KEPT as KEPT,
    DiscreteProcess as DiscreteProcess,
)
from .gaussian import (
    PROCESSES as PROCESSES,
    Coefficients as Coefficients,
    GaussianProcess as GaussianProcess,
    Spacing as Spacing,
    check_spacing as check_spacing,
    check_times as check_times,
    of_log_snr as of_log_snr,
    process_of as process_of,
    straight as straight,
    sub_variance_preserving as sub_variance_preserving,
    trigonometric as trigonometric,
    variance_exploding as variance_exploding,
    variance_preserving as variance_preserving,
)
from .preconditioning import (
    PRECONDITIONINGS as PRECONDITIONINGS,
    Preconditioning as Preconditioning,
    preconditioning_of as preconditioning_of,
)
from .schedules import (
    SCHEDULES as SCHEDULES,
    Cosine as Cosine,
    Linear as Linear,
    LinearLogSNR as LinearLogSNR,
    Schedule as Schedule,
    log_signal as log_signal,
)
from .times import (
    even_times as even_times,
    spread_times as spread_times,
)
