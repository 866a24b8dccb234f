"""Lazy packages: names of a stub, imported when they are first asked for."""

import contextlib
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

import lazy_loader

from dgmjax.errors import DgmjaxError

Hooks = tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]

_TRAIN = (
    "platformdirs flax optax orbax sklearn rich tyro typeguard docstring_parser tensorboardX jinja2"
)
EXTRAS: dict[str, str] = {
    **dict.fromkeys(_TRAIN.split(), "train"),
    **dict.fromkeys(("grain", "tensorflow_datasets", "array_record", "PIL"), "data"),
    "matplotlib": "plot",
    **dict.fromkeys(("safetensors", "flatbuffers"), "export"),
    "huggingface_hub": "hub",
    "yaml": "train",
    "wandb": "wandb",
    "mlflow": "mlflow",
}
"""The extra of dgmjax that brings a package, by the name under which it is imported."""


class MissingExtra(DgmjaxError, ModuleNotFoundError):
    """A package that an extra of dgmjax brings is not installed."""


@contextlib.contextmanager
def extras_named() -> Iterator[None]:
    """Inside, an import of a package that is missing ends in `MissingExtra`, if an extra has it.

    >>> with extras_named():
    ...     raise ModuleNotFoundError("No module named 'flax'", name="flax")
    Traceback (most recent call last):
    ...
    dgmjax.lazy.MissingExtra: flax is not installed; it comes with `pip install 'dgmjax[train]'`.
    """
    try:
        yield
    except ModuleNotFoundError as problem:
        package = (problem.name or "").partition(".")[0]
        if isinstance(problem, MissingExtra) or package not in EXTRAS:
            raise
        extra = EXTRAS[package]
        raise MissingExtra(
            f"{package} is not installed; it comes with `pip install 'dgmjax[{extra}]'`."
        ) from problem


def attach(package: str, file: str) -> Hooks:
    """`__getattr__`, `__dir__` and `__all__` of a package whose names its `.pyi` stub lists.

    Raises:
      MissingExtra: (from `__getattr__`) a name needs a package that is not installed.
      ImportError: (from `__getattr__`) a name cannot be imported; the stable release of TensorFlow
        Probability, where it is the reason, is named together with the remedy.
    """
    getattribute, directory, names = lazy_loader.attach_stub(package, file)

    def __getattr__(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            with extras_named():
                return getattribute(name)
        except (ImportError, AttributeError) as problem:
            if not _from_tensorflow_probability(problem):
                raise
            raise ImportError(
                f"{package}.{name} cannot be imported since TensorFlow Probability does not work "
                f"with this JAX ({type(problem).__name__}: {problem}). {_remedy()}"
            ) from problem

    return __getattr__, directory, names


def _from_tensorflow_probability(problem: BaseException) -> bool:
    """Whether the error was raised while that package was imported."""
    trace = problem.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__", "").startswith("tensorflow_probability"):
            return True
        trace = trace.tb_next
    return False


def _remedy() -> str:
    try:
        stable = metadata.version("tensorflow-probability")
    except metadata.PackageNotFoundError:
        return "Install tfp-nightly in the version of dgmjax's constraints.txt."
    return (
        f"Its stable release {stable} (tensorflow-probability) is installed instead: "
        "`pip uninstall tensorflow-probability tfp-nightly`, then install dgmjax again."
    )
