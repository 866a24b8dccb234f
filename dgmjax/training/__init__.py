"""Training: learners, `fit`, checkpoints, meshes, run folders and experiments."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "checkpoint": ["Checkpoints"],
        "experiment": ["Estimator", "Experiment"],
        "fit": ["FitResult", "fit"],
        "learner": ["GradientLearner", "Learner", "Player", "State", "gradient_learner"],
        "measures": ["averaged", "independent_pixels", "latent_units"],
        "mesh": ["make_mesh"],
        "optimisers": ["adam"],
        "record": ["Published", "Record"],
        "run": ["RunFolder"],
        "runner": ["load_run"],
        "trained": ["Trained"],
    },
)
