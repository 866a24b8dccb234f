from .autoregressive.attention import (
    CausalAttention as CausalAttention,
    Positions as Positions,
    Start as Start,
    rotary as rotary,
    transformer_block as transformer_block,
)
from .autoregressive.binding import (
    AutoregressiveNetwork as AutoregressiveNetwork,
    bind_network as bind_network,
)
from .autoregressive.causal import (
    CausalLayer as CausalLayer,
    CausalNetwork as CausalNetwork,
    Chain as Chain,
    Compound as Compound,
    Pointwise as Pointwise,
    Residual as Residual,
)
from .autoregressive.causal_conv import (
    CausalConv as CausalConv,
)
from .autoregressive.gated import (
    WaveNetStack as WaveNetStack,
    gate as gate,
)
from .autoregressive.masked_conv import (
    RasterConv as RasterConv,
    masked_convolution as masked_convolution,
)
from .autoregressive.masked_mlp import (
    MaskedMLP as MaskedMLP,
    hidden_degrees as hidden_degrees,
)
from .autoregressive.nade import (
    NADENetwork as NADENetwork,
)
from .autoregressive.pixel_lstm import (
    DiagonalBiLSTM as DiagonalBiLSTM,
    RowLSTM as RowLSTM,
)
from .autoregressive.pixelcnn_blocks import (
    GatedBlock as GatedBlock,
    GatedResidualBlock as GatedResidualBlock,
)
from .autoregressive.pixelcnn_scales import (
    HalvedStreams as HalvedStreams,
)
from .autoregressive.pixelcnn_streams import (
    RowConv as RowConv,
    TwoStreams as TwoStreams,
)
from .codes import (
    perplexity as perplexity,
)
from .conditioning import (
    AddContext as AddContext,
    join_context as join_context,
)
from .conv_resnet import (
    ConvResNet as ConvResNet,
)
from .convolution import (
    Conv as Conv,
    TapConv as TapConv,
)
from .dcgan import (
    DCGANFeatures as DCGANFeatures,
    DCGANGenerator as DCGANGenerator,
)
from .dense import (
    Dense as Dense,
)
from .dit import (
    DiT as DiT,
)
from .embeddings import (
    OneHot as OneHot,
    Real as Real,
    Table as Table,
    centred as centred,
    network_input as network_input,
)
from .equalised import (
    Equalised as Equalised,
    minibatch_deviation as minibatch_deviation,
    pixel_norm as pixel_norm,
)
from .gaussian_window import (
    Window as Window,
    WindowHead as WindowHead,
    gaussian_filters as gaussian_filters,
)
from .image_coders import (
    ImageDecoder as ImageDecoder,
    ImageEncoder as ImageEncoder,
    SharedParameters as SharedParameters,
)
from .joined import (
    JoinedMLP as JoinedMLP,
)
from .log_snr import (
    LogSNR as LogSNR,
)
from .low_resolution import (
    LowResolutionContext as LowResolutionContext,
)
from .mlp import (
    MLP as MLP,
)
from .normalised import (
    Critic as Critic,
    Normalise as Normalise,
    NormalisedMLP as NormalisedMLP,
    leaky_relu as leaky_relu,
    maxout as maxout,
)
from .packed import (
    Packed as Packed,
)
from .progressive import (
    ProgressiveFeatures as ProgressiveFeatures,
    ProgressiveGenerator as ProgressiveGenerator,
    at_level as at_level,
    coarsened as coarsened,
)
from .quantiser import (
    Quantised as Quantised,
    VectorQuantiser as VectorQuantiser,
)
from .recurrent import (
    Recurrent as Recurrent,
)
from .rescale import (
    Downscale as Downscale,
    Upscale as Upscale,
)
from .residual_gan import (
    ResidualFeatures as ResidualFeatures,
    ResidualGenerator as ResidualGenerator,
)
from .self_attention import (
    SelfAttention as SelfAttention,
)
from .spectral import (
    Spectral as Spectral,
)
from .steps import (
    BoundSteps as BoundSteps,
    bind_steps as bind_steps,
)
from .time_embedding import (
    TimeEmbedding as TimeEmbedding,
    fourier_features as fourier_features,
)
from .time_mlp import (
    TimeMLP as TimeMLP,
)
from .translation import (
    PatchCritic as PatchCritic,
    Translator as Translator,
)
from .unet import (
    UNet as UNet,
)
from .very_deep import (
    Bottleneck as Bottleneck,
    BottomUp as BottomUp,
    TopDownBlock as TopDownBlock,
)
