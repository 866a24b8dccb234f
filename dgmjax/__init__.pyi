from . import (
    applications as applications,
    bijectors as bijectors,
    data as data,
    devices as devices,
    distributions as distributions,
    evaluation as evaluation,
    inference as inference,
    lab as lab,
    models as models,
    nn as nn,
    objectives as objectives,
    plotting as plotting,
    runs as runs,
    training as training,
)

__version__: str
