"""The kinds of models that MODEL can name here, with their options and where they come from."""

from __future__ import annotations

import importlib.metadata
import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, get_args, get_origin

from lgbench.models.builtin import BUILTINS
from lgbench.models.loading import ENTRY_POINTS, SCHEMES, CheckpointOptions
from lgbench.models.schemes import OWN, Scheme, installed_names, installed_scheme, source_of
from lgbench.util.errors import LgbenchError


class ModelKind(NamedTuple):
    """A kind of model.

    Attributes:
        form: How MODEL is written.
        summary: What it is.
        options: Its model options, as in `shots: int = none`.
        source: The package that it comes from.
        problem: Why it cannot be used; empty where it can.
    """

    form: str
    summary: str
    options: tuple[str, ...] = ()
    source: str = OWN
    problem: str = ""


def kinds_of_models() -> Iterator[ModelKind]:
    """Every kind of model, in the order in which MODEL is looked up. Schemes of installed packages are loaded."""
    yield ModelKind(", ".join(BUILTINS), "a built-in: always right; random symbols; the prompt's first part")
    for scheme in SCHEMES.values():
        yield _of_scheme(scheme)
    for name in installed_names():
        yield _of_installed(name)
    attribute = "an object with predict, or a class or function that makes one; its parameters are the options"
    yield ModelKind("FILE.py:ATTRIBUTE", attribute)
    yield ModelKind("FOLDER", "a checkpoint that lgbench trained", described_options(CheckpointOptions))
    yield ModelKind("PACKAGE.MODULE:ATTRIBUTE", "the same of a module that can be imported")
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        yield ModelKind(point.name, f"the same of {point.value}", source=source_of(point))


def _of_installed(name: str) -> ModelKind:
    try:
        return _of_scheme(installed_scheme(name))
    except LgbenchError as error:
        return ModelKind(f"{name}:...", "", source="an installed package", problem=str(error))


def _of_scheme(scheme: Scheme) -> ModelKind:
    options = described_options(scheme.options) if scheme.options is not None else ()
    return ModelKind(f"{scheme.name}:{scheme.rest}", scheme.summary, options, scheme.source)


def described_options(options: Callable[..., Any]) -> tuple[str, ...]:
    """The parameters of a class or function as text, as in `shots: int = none`."""
    try:
        parameters = inspect.signature(options, eval_str=True).parameters.values()
    except (NameError, AttributeError, SyntaxError, TypeError):  # annotations that only a type checker can read
        parameters = inspect.signature(options).parameters.values()
    return tuple(map(_described, parameters))


def _described(parameter: inspect.Parameter) -> str:
    kind = "" if parameter.annotation is parameter.empty else f": {_words(parameter.annotation)}"
    default = "" if parameter.default is parameter.empty else f" = {_default(parameter.default)}"
    return f"{parameter.name}{kind}{default}"


def _default(value: object) -> str:
    return "none" if value is None else value if isinstance(value, str) else repr(value)


def _words(annotation: Any) -> str:
    """A type as a user would say it: the choices of a literal, and a type without its `| None`."""
    parts = [part for part in get_args(annotation) if part is not type(None)]
    if not parts:
        return str(getattr(annotation, "__name__", annotation))
    if isinstance(parts[0], type) or get_origin(parts[0]) is not None:
        return "|".join(map(_words, parts)) if type(None) in get_args(annotation) else str(annotation)
    return "|".join(map(str, parts))
