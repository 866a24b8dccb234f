from .em import (
    em_learner as em_learner,
)
from .execution import (
    Execution as Execution,
    Validation as Validation,
)
from .fit import (
    FitResult as FitResult,
    Job as Job,
    fit as fit,
    fit_together as fit_together,
)
from .learner import (
    GradientLearner as GradientLearner,
    Learner as Learner,
    Player as Player,
    State as State,
    gradient_learner as gradient_learner,
)
from .optimisers import (
    adam as adam,
    keep_within as keep_within,
    robbins_monro as robbins_monro,
    sgd as sgd,
)
from .stages import (
    Stages as Stages,
)
