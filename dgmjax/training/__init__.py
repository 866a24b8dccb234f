"""Training: learners, `fit`, checkpoints, meshes, run folders and experiments."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "checkpoint": ["Checkpoints"],
        "em": ["em_learner"],
        "experiment": ["Estimator", "Experiment"],
        "fit": ["FitResult", "fit"],
        "imputation_measures": ["imputation_mse", "imputation_mse_of", "imputed"],
        "learner": ["GradientLearner", "Learner", "Player", "State", "gradient_learner"],
        "measures": ["averaged", "independent_pixels", "latent_units"],
        "mesh": ["make_mesh"],
        "optimisers": ["adam", "sgd"],
        "record": ["Published", "Record"],
        "representation_measures": [
            "clustering",
            "clusters",
            "codes",
            "disentanglement",
            "probe_accuracy",
        ],
        "run": ["RunFolder"],
        "runner": ["load_run"],
        "starts": ["clustered_start", "fitted_mixture"],
        "trained": ["Trained"],
    },
)
