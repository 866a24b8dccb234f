from . import (
    codes as codes,
)
from .bounds import (
    bounds_by_temperatures as bounds_by_temperatures,
    estimates_by_temperatures as estimates_by_temperatures,
)
from .canvas import (
    new_figure as new_figure,
    save as save,
    save_vectors as save_vectors,
    to_png as to_png,
)
from .comparisons import (
    histograms as histograms,
    roc_curves as roc_curves,
)
from .completed import (
    completions as completions,
    text as text,
)
from .deformation import (
    deformation as deformation,
)
from .images import (
    image_grid as image_grid,
    latent_manifold as latent_manifold,
    reconstructions as reconstructions,
    traversals as traversals,
)
from .imputed import (
    imputations as imputations,
)
from .learning_curves import (
    curves as curves,
)
from .neighbours import (
    nearest_images as nearest_images,
)
from .plane import (
    density as density,
    density_table as density_table,
    paths as paths,
    scatter as scatter,
)
from .rates import (
    kl_bars as kl_bars,
)
from .settings import (
    by_setting as by_setting,
    compared as compared,
)
from .variances import (
    gradient_variances as gradient_variances,
)
