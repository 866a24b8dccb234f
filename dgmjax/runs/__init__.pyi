from .checkpoints import (
    Checkpoints as Checkpoints,
)
from .folder import (
    RunFolder as RunFolder,
)
from .record import (
    Published as Published,
    Record as Record,
)
