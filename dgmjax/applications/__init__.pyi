from .defence.attacks import (
    carlini_wagner as carlini_wagner,
    cross_entropy as cross_entropy,
    deep_fool as deep_fool,
    expectation as expectation,
    fast_gradient_sign as fast_gradient_sign,
    projected_gradient as projected_gradient,
    random_noise as random_noise,
    straight_through as straight_through,
)
from .defence.detection import (
    auroc as auroc,
    likelihood_ratio as likelihood_ratio,
    rank_p_values as rank_p_values,
)
from .defence.purification import (
    purify as purify,
)
