from .classes import (
    class_score as class_score,
    mode_count as mode_count,
    mode_kl as mode_kl,
)
from .feature_net import (
    FeatureNet as FeatureNet,
    Features as Features,
    LeNet as LeNet,
    known_feature_nets as known_feature_nets,
    load_feature_net as load_feature_net,
)
from .frechet import (
    frechet_distance as frechet_distance,
    gaussian_frechet as gaussian_frechet,
)
from .inception import (
    Inception as Inception,
    load_inception as load_inception,
)
from .kernel import (
    kernel_distance as kernel_distance,
)
from .neighbours import (
    DensityCoverage as DensityCoverage,
    PrecisionRecall as PrecisionRecall,
    density_coverage as density_coverage,
    memorised_share as memorised_share,
    nearest as nearest,
    nearest_neighbour_accuracy as nearest_neighbour_accuracy,
    precision_recall as precision_recall,
)
from .similarity import (
    diversity as diversity,
    ms_ssim as ms_ssim,
)
