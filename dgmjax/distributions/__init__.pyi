from . import (
    families as families,
)
from .ancestral import (
    Ancestral as Ancestral,
)
from .ar1 import (
    AR1 as AR1,
)
from .autoregressive import (
    Autoregressive as Autoregressive,
)
from .bernoulli import (
    Bernoulli as Bernoulli,
)
from .categorical import (
    Categorical as Categorical,
)
from .circle_and_line import (
    CircleAndLine as CircleAndLine,
)
from .concrete import (
    RelaxedBernoulli as RelaxedBernoulli,
    RelaxedCategorical as RelaxedCategorical,
)
from .energies import (
    Energy as Energy,
)
from .factorised import (
    Factorised as Factorised,
)
from .full_normal import (
    FullNormal as FullNormal,
)
from .hyperbolic import (
    WrappedNormal as WrappedNormal,
)
from .logistic_mixture import (
    DiscretisedLogisticMixture as DiscretisedLogisticMixture,
)
from .low_rank_normal import (
    LowRankNormal as LowRankNormal,
)
from .mixture import (
    Mixture as Mixture,
)
from .normal_product import (
    product_of_normals as product_of_normals,
)
from .one_hot import (
    OneHotCategorical as OneHotCategorical,
)
from .padded import (
    Padded as Padded,
)
from .parallel import (
    ParallelAutoregressive as ParallelAutoregressive,
)
from .point_mass import (
    PointMass as PointMass,
)
from .poisson import (
    Poisson as Poisson,
)
from .relaxation import (
    Relaxation as Relaxation,
    discrete_sites as discrete_sites,
)
from .sequential import (
    Sequential as Sequential,
)
from .spherical import (
    SphericalUniform as SphericalUniform,
    VonMisesFisher as VonMisesFisher,
)
from .student_t import (
    StudentT as StudentT,
)
from .transformed import (
    Transformed as Transformed,
)
