"""Models of two stages: what an earlier experiment trained is the first of them."""

import jax

from dgmjax import lab
from dgmjax.errors import RunError, require
from dgmjax.lab.trained import transformed


def first_stage(experiment, run, shared, *, option, kind, is_right, remedy="", **arguments):
    """The trained model of the folder `run`; in miniature, an untrained one if none is named.

    Args:
      experiment: the function that trains the first stage, with these `arguments`.
      option: the name under which the user gives the folder.
      kind: what it must be the run folder of, with its article.
      is_right: module of the run -> whether it is one.
      remedy: where it is not.
    """
    rule = f"must be the run folder of {kind}"
    if run is None:
        flags = "".join(f" --{name} {value}" for name, value in arguments.items())
        command = f"`{experiment.__name__}{flags}`"
        absent = f"Train {command}, and name its run folder: `--{option} runs/...`."
        require(shared.tiny, option, rule, "none", absent)
        built = lab.catalogue.build(experiment, arguments, tiny=True)
        learner = built.learner()
        first = {name: array[:4] for name, array in transformed(built, "train").items()}
        return lab.Trained(built, learner, jax.jit(learner.init)(jax.random.key(0), first))
    trained = lab.load_run(run, data_dir=shared.data_dir)
    right = is_right(trained.experiment.module)
    require(right, option, rule, f"one of {trained.experiment.model}", remedy, RunError)
    return trained
