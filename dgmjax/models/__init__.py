"""Models: Flax modules that return distributions, each a short recipe over generic parts."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "adversarial.gan": ["GAN"],
        "autoregressive.convolutional": [
            "GatedPixelCNN",
            "PixelCNN",
            "PixelCNNPlusPlus",
            "WaveNet",
        ],
        "autoregressive.made": ["MADE"],
        "autoregressive.model": ["AutoregressiveModel"],
        "autoregressive.recipes": [
            "FVSBN",
            "NADE",
            "RNADE",
            "CharRNN",
            "DiagonalBiLSTM",
            "PixelLSTM",
            "RecurrentModel",
            "RowLSTM",
            "Transformer",
        ],
        "base": ["ConditionalNormal", "DensityModel", "DiagonalNormal", "StandardNormal"],
        "class_conditional": ["ClassConditional"],
        "flows.dequantised": ["Dequantised", "variational_dequantisation"],
        "flows.flow": ["Flow"],
        "flows.image_recipes": ["Glow", "RealNVPImages"],
        "flows.layers": ["Composed", "Fixed", "MultiScaleLayer", "Repeated", "Reverse"],
        "flows.linear_layers": ["ActNormLayer", "BatchNormLayer", "LinearLayer"],
        "flows.network_layers": [
            "CouplingLayer",
            "Elementwise",
            "MaskedAutoregressiveLayer",
            "ParametricLayer",
        ],
        "flows.recipes": [
            "IAF",
            "MAF",
            "NICE",
            "MAFMixture",
            "NeuralSplineFlow",
            "PlanarFlow",
            "RadialFlow",
            "RealNVP",
            "SylvesterFlow",
        ],
        "latent.vae": ["VAE", "dense_vae"],
    },
)
