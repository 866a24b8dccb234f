"""Layers and networks: Flax modules that return arrays or parameters for a family."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "autoregressive": ["AutoregressiveNetwork", "bind_network"],
        "conv_resnet": ["ConvResNet"],
        "masked_mlp": ["MaskedMLP", "hidden_degrees"],
        "mlp": ["MLP"],
    },
)
