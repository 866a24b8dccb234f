"""Layers and networks: Flax modules that return arrays or parameters for a family."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "attention": ["CausalAttention", "Positions", "Start", "rotary", "transformer_block"],
        "autoregressive": ["AutoregressiveNetwork", "bind_network"],
        "causal": ["CausalLayer", "CausalNetwork", "Chain", "Compound", "Pointwise", "Residual"],
        "causal_conv": ["CausalConv"],
        "conditioning": ["AddContext", "join_context"],
        "conv_resnet": ["ConvResNet"],
        "convolution": ["Conv"],
        "dense": ["Dense"],
        "embeddings": ["OneHot", "Real", "Table", "centred"],
        "gated": ["WaveNetStack", "gate"],
        "gaussian_window": ["Window", "WindowHead", "gaussian_filters"],
        "masked_conv": ["RasterConv", "masked_convolution"],
        "masked_mlp": ["MaskedMLP", "hidden_degrees"],
        "mlp": ["MLP"],
        "nade": ["NADENetwork"],
        "pixel_lstm": ["DiagonalBiLSTM", "RowLSTM"],
        "quantiser": ["Quantised", "VectorQuantiser", "perplexity"],
        "recurrent": ["Recurrent"],
        "rescale": ["Downscale", "Upscale"],
        "steps": ["BoundSteps", "bind_steps"],
        "stream_blocks": ["GatedBlock", "GatedResidualBlock"],
        "two_streams": ["RowConv", "TwoStreams"],
    },
)
