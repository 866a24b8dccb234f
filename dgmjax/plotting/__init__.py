"""Figures of samples, densities, latent spaces and learning curves. Imports nothing eagerly."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submodules=["codes", "flows", "latent_recipes", "recipes"],
    submod_attrs={
        "canvas": ["new_figure", "save", "to_png"],
        "completed": ["completions", "text"],
        "flows": ["deformation"],
        "images": ["image_grid", "latent_manifold", "reconstructions", "traversals"],
        "imputed": ["imputations"],
        "learning_curves": ["curves"],
        "plane": ["density", "density_table", "scatter"],
        "rates": ["kl_bars"],
        "variances": ["gradient_variances"],
    },
)
