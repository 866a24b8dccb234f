"""Models: Flax modules that return distributions, each a short recipe over generic parts."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "adversarial.gan": ["GAN"],
        "autoregressive.made": ["MADE"],
        "base": ["DensityModel", "DiagonalNormal", "StandardNormal"],
        "flows.flow": ["Flow"],
        "flows.recipes": ["IAF", "MAF", "NICE", "RealNVP"],
        "latent.vae": ["VAE", "dense_vae"],
    },
)
