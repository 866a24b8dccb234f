"""Arguments of experiments: flat on the command line, in groups where several share them."""

from dataclasses import dataclass

import pytest

from dgmjax.errors import DgmjaxError
from dgmjax.lab import catalogue


@dataclass(frozen=True)
class Group:
    rate: float = 0.1
    epochs: int = 3
    tiny: bool = False


@dataclass(frozen=True)
class Longer(Group):
    extra: str = "x"


def grouped(*, latent: int = 4, epochs: int | None = None, shared: Group = Longer(rate=0.5)):
    return latent, epochs, shared


def test_fields_of_a_group_are_arguments_with_the_defaults_of_its_object():
    found = catalogue.own_defaults(grouped)
    assert found == {"latent": 4, "epochs": None, "rate": 0.5, "extra": "x"}


def test_an_argument_of_the_function_takes_the_place_of_a_field():
    latent, epochs, shared = catalogue.build(grouped, {"epochs": 7, "rate": 0.2}, tiny=True, seed=1)
    assert (latent, epochs) == (4, 7)
    assert shared == Longer(rate=0.2, epochs=3, tiny=True)


def test_what_no_group_has_is_named():
    with pytest.raises(DgmjaxError, match=r"`arguments` must be among .*'rate'.*got \['rat'\]"):
        catalogue.build(grouped, {"rat": 0.1})
    with pytest.raises(DgmjaxError, match="`epochs` must be at least 1; got 0"):
        catalogue.build(grouped, {"epochs": 0})


def test_every_experiment_states_each_option_once_and_explains_it():
    from dgmjax.cli.arguments import _explanations

    for entry in catalogue.catalogue():
        options = catalogue.options(catalogue.load_experiment(entry.name))
        names = [option.name for option in options]
        assert len(names) == len(set(names)), entry.name
        for name, _, owner in options:
            if name not in catalogue.SHARED:
                assert _explanations(owner)[0].get(name), (entry.name, name)
