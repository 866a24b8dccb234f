"""Shared tables: a new family or model is one row, and gets every check of the class for nothing.

`FAMILIES` are checked over dtypes (tests/distributions/test_dtypes.py), `DENSITY_MODELS` over
dtypes, empty batches, x64, `jit`, `vmap`, `grad` and `shard_map` (tests/models/test_classes.py).
Bijectors have a table of their own (tests/bijectors/table.py), and the same checks and more
(`dgmjax.evaluation.bijector_uses`).
Other tests may import the rows of their kind and the checks.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgmjax import models, nn
from dgmjax.bijectors import RationalQuadraticSpline
from dgmjax.distributions import families
from dgmjax.inference import Sampler, Solver

INTEGERS = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "uint64")
"""Dtypes in which whole numbers come; the last two exist under x64 only."""


# name -> family, and whole numbers that each of its sites may be
FAMILIES: dict[str, tuple[Any, int]] = {
    "bernoulli": (families.Bernoulli(), 2),
    "categorical": (families.Categorical(4), 4),
    "categorical_256": (families.Categorical(256), 256),
    "one_hot": (families.OneHotCategorical(3), 2),
    "normal": (families.Normal(), 256),
    "normal_fixed": (families.Normal(scale=0.5), 256),
    "student_t": (families.StudentT(), 256),
    "poisson": (families.Poisson(), 256),
    "mixture_of_normals": (families.MixtureOfNormals(2), 256),
    "logistic_mixture": (families.DiscretisedLogisticMixture(2), 256),
    "logistic_mixture_rgb": (families.DiscretisedLogisticMixture(2, channels=3), 256),
}


@dataclasses.dataclass(frozen=True)
class Density:
    """`make()` gives a density model over events of `shape`.

    Attributes:
      levels: whole numbers that an entry may be, for discrete data; 0 for real data.
      context: features of the context, 0 for none.
    """

    make: Callable[[], Any]
    shape: tuple[int, ...]
    levels: int = 0
    context: int = 0


IMAGE = (4, 4, 1)
SPLINE = RationalQuadraticSpline(4)
LEVELS = families.Categorical(256)
FEW = Sampler("heun", 2)
SMALL = {"features": 4, "layers": 1}

DENSITY_MODELS = {
    "maf": Density(lambda: models.MAF(3, 2, (8,)), (3,)),
    "maf_context": Density(lambda: models.MAF(3, 2, (8,), context_features=2), (3,), context=2),
    "maf_batch_norm": Density(lambda: models.MAF(3, 2, (8,), batch_norm=True), (3,)),
    "maf_spline": Density(lambda: models.MAF(3, 2, (8,), transformer=SPLINE), (3,)),
    "maf_mixture": Density(lambda: models.MAFMixture(3, 1, (8,), num_components=2), (3,)),
    "iaf": Density(lambda: models.IAF(3, 2, (8,)), (3,)),
    "realnvp": Density(lambda: models.RealNVP(3, 2, (8,)), (3,)),
    "realnvp_batch_norm": Density(lambda: models.RealNVP(3, 2, (8,), batch_norm=True), (3,)),
    "nice": Density(lambda: models.NICE(3, 2, (8,)), (3,)),
    "spline": Density(lambda: models.NeuralSplineFlow(4, 2, (8,)), (4,)),
    "spline_circular": Density(
        lambda: models.NeuralSplineFlow(3, 2, (8,), tails=("circular", "linear", "circular")), (3,)
    ),
    "spline_scanned": Density(lambda: models.NeuralSplineFlow(4, 2, (8,), unroll=False), (4,)),
    "spline_autoregressive": Density(
        lambda: models.NeuralSplineFlow(3, 2, (8,), autoregressive=True), (3,)
    ),
    "planar": Density(lambda: models.PlanarFlow(3, 2), (3,)),
    "planar_amortised": Density(lambda: models.PlanarFlow(3, 2, amortised=True), (3,), context=2),
    "realnvp_context": Density(lambda: models.RealNVP(3, 2, (8,)), (3,), context=2),
    "maf_learned_base": Density(
        lambda: models.MAF(3, 1, (8,), base=models.DiagonalNormal((3,))), (3,)
    ),
    "radial_amortised": Density(lambda: models.RadialFlow(3, 2, amortised=True), (3,), context=2),
    "sylvester_amortised": Density(
        lambda: models.SylvesterFlow(3, 2, "triangular", amortised=True), (3,), context=2
    ),
    "radial": Density(lambda: models.RadialFlow(3, 2), (3,)),
    "sylvester": Density(lambda: models.SylvesterFlow(3, 2), (3,)),
    "sylvester_householder": Density(lambda: models.SylvesterFlow(3, 1, "householder"), (3,)),
    "glow": Density(lambda: models.Glow(IMAGE, 1, 2, channels=4), IMAGE),
    "denoiser": Density(
        lambda: models.Denoiser((3,), nn.TimeMLP((8,)), solver=Solver("rk4", 2), sampler=FEW), (3,)
    ),
    "realnvp_images": Density(lambda: models.RealNVPImages(IMAGE, 2, channels=4, blocks=1), IMAGE),
    "made": Density(lambda: models.MADE((5,), (8,)), (5,), 2),
    "made_orders": Density(lambda: models.MADE((5,), (8,), num_orders=2), (5,), 2),
    "made_normal": Density(lambda: models.MADE((5,), (8,), family=families.Normal()), (5,)),
    "fvsbn": Density(lambda: models.FVSBN((5,)), (5,), 2),
    "nade": Density(lambda: models.NADE((5,), 8), (5,), 2),
    "lstm": Density(
        lambda: models.RecurrentModel((5,), families.Categorical(256), **SMALL), (5,), 256
    ),
    "transformer": Density(lambda: models.Transformer((5,), heads=2, **SMALL), (5,), 2),
    "wavenet": Density(
        lambda: models.WaveNet((5,), LEVELS, channels=4, skip_channels=3, stacks=1, layers=2),
        (5,),
        256,
    ),
    "pixelcnn": Density(
        lambda: models.PixelCNN(IMAGE, LEVELS, features=4, blocks=1, head_features=4),
        IMAGE,
        256,
    ),
    "gated_pixelcnn": Density(
        lambda: models.GatedPixelCNN(IMAGE, features=4, blocks=1, head_features=4), IMAGE, 2
    ),
    "pixelcnn_plus_plus": Density(
        lambda: models.PixelCNNPlusPlus(IMAGE, features=2, blocks=2), IMAGE, 256
    ),
    "row_lstm": Density(
        lambda: models.RowLSTM(IMAGE, first_kernel=3, head_features=4, **SMALL), IMAGE, 2
    ),
    "diagonal_bilstm": Density(
        lambda: models.DiagonalBiLSTM(IMAGE, first_kernel=3, head_features=4, **SMALL), IMAGE, 2
    ),
}


def data(row: Density, number: int = 8, seed: int = 0) -> np.ndarray:
    """`number` events, as float32."""
    generator = np.random.default_rng(seed)
    if row.levels:
        return generator.integers(row.levels, size=(number, *row.shape)).astype(np.float32)
    return generator.normal(size=(number, *row.shape)).astype(np.float32)


def contexts(row: Density, number: int = 8) -> jax.Array | None:
    """As many contexts, or None."""
    if not row.context:
        return None
    return jnp.cos(jnp.arange(1.0, 1.0 + number * row.context)).reshape(number, row.context)


def variables(row: Density, model: Any, seed: int = 0, scale: float = 0.3) -> Any:
    """Variables with noise in every parameter: shapes suffice, no initialisation is compiled."""
    x, context = jnp.zeros((4, *row.shape)), contexts(row, 4)
    init = lambda: model.init(jax.random.key(0), x, context, method="log_prob")
    generator = np.random.default_rng(seed)

    def draw(path: Any, leaf: Any) -> Any:
        noise = scale * generator.normal(size=leaf.shape)
        variance = "variance" in jax.tree_util.keystr(path)
        return jnp.asarray((np.exp(noise) if variance else noise).astype(leaf.dtype))

    return jax.tree_util.tree_map_with_path(draw, jax.eval_shape(init))
