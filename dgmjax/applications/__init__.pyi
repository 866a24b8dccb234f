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
from .sensing.bases import (
    BASES as BASES,
    cosines as cosines,
    haar as haar,
    synthesis as synthesis,
)
from .sensing.lasso import (
    lasso as lasso,
)
from .sensing.operators import (
    Operator as Operator,
    block_average as block_average,
    denoising as denoising,
    inpainting as inpainting,
    low_resolution_shape as low_resolution_shape,
    measurement_matrix as measurement_matrix,
    random_measurements as random_measurements,
)
from .sensing.posterior import (
    PosteriorSamples as PosteriorSamples,
    covered as covered,
    intervals as intervals,
    posterior_samples as posterior_samples,
)
from .sensing.restoration import (
    Deviation as Deviation,
    Generator as Generator,
    Restored as Restored,
    generator_of as generator_of,
    restore as restore,
    soft_threshold as soft_threshold,
)
