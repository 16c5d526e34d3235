"""Schemes: kinds of models that a MODEL names as `scheme:rest`, of lgbench or of any installed package."""

from __future__ import annotations

import importlib.metadata
import inspect
import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from lgbench.models.builtin import BUILTINS
from lgbench.models.construction import arguments_for
from lgbench.models.contract import Predictor
from lgbench.models.loaded import Model, with_parameters
from lgbench.results.schema import OWN_KINDS, SCHEME_NAME, SystemInfo
from lgbench.util.errors import LgbenchError
from lgbench.util.users_code import user_code

ENTRY_POINTS = "lgbench.schemes"
OWN = "lgbench"
_RESERVED = OWN_KINDS | {"tiny"} | BUILTINS.keys()


def _accept(options: Mapping[str, str]) -> None:
    """Refuse no option."""


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """A kind of model: what `name:rest` stands for.

    Attributes:
        name: The text before the colon, and the `kind` that results record: 2 to 40 lower-case letters, digits, `-`
            and `_`, a letter first.
        load: Loads a model, given MODEL, the text after the colon, and an instance of `options`. It returns an
            object with `predict`, or a `Model`, which also says what the result records (hashes, the prompt style).
        summary: What kind of model it is, in a few words.
        rest: The text after the colon, for `lgbench models`.
        options: A class or function whose parameters are the model options. Their text is converted to the types that
            the parameters declare; None for a scheme without options.
        check: Looks at the options' text before it is read, and raises an `LgbenchError` for what must not be recorded.
        source: Where it comes from, for `lgbench models`; set by lgbench.
    """

    name: str
    load: Callable[[str, str, Any], Predictor | Model]
    summary: str
    rest: str = "NAME"
    options: Callable[..., Any] | None = None
    check: Callable[[Mapping[str, str]], None] = _accept
    source: str = OWN


def no_options() -> None:
    """The options of a scheme without any."""


def open_model(scheme: Scheme, name: str, given: Mapping[str, str]) -> Model:
    """Load a model of a scheme.

    Args:
        scheme: The scheme.
        name: MODEL.
        given: The model options, as text. They are recorded.

    Raises:
        LgbenchError: An option does not fit, or the loader returned something else than a model.
        ModelError: The loader raised.
    """
    scheme.check(given)
    read = scheme.options or no_options
    arguments = arguments_for(read, given, name)
    with user_code(f"Loading {name!r}") if scheme.source != OWN else nullcontext():
        made: object = scheme.load(name, name.partition(":")[2], read(**arguments))
        answers = isinstance(made, Model) or (not inspect.isclass(made) and callable(getattr(made, "predict", None)))
    if not answers:
        raise LgbenchError(
            f"The scheme {scheme.name!r} of {scheme.source} loaded {name!r} as {type(made).__name__}. Its loader must "
            "return an object with the method predict(prompts, task), or an lgbench.Model."
        )
    model = made if isinstance(made, Model) else _plain_model(made, name)
    # What is recorded of where a model comes from is for lgbench to say. `tiny:` gives checkpoints.
    said: dict[str, object] = {"model": name, "options": dict(given)}
    if scheme.name not in _RESERVED:
        said["kind"] = scheme.name
    return replace(model, system=model.system.model_copy(update=said))


def _plain_model(predictor: Any, name: str) -> Model:
    return with_parameters(predictor, SystemInfo(model=name, kind="object"))


def installed_names() -> list[str]:
    """The names of the schemes that installed packages offer. Nothing of theirs is loaded."""
    return sorted({point.name for point in importlib.metadata.entry_points(group=ENTRY_POINTS)})


def installed_scheme(name: str) -> Scheme:
    """The scheme that an installed package offers by an entry point of this name.

    Args:
        name: One of `installed_names`.

    Raises:
        LgbenchError: The name is not a scheme's or is taken, two packages offer it, or the entry point is not one.
        ModelError: Loading the entry point raised.
    """
    points = [point for point in importlib.metadata.entry_points(group=ENTRY_POINTS) if point.name == name]
    sources = [source_of(point) for point in points]
    if not re.fullmatch(SCHEME_NAME, name):
        raise LgbenchError(
            f"{sources[0]} offers the scheme {name!r}, which is not a valid name: 2 to 40 lower-case letters, digits, "
            "- and _, a letter first."
        )
    if name in _RESERVED:
        raise LgbenchError(
            f"{sources[0]} offers the scheme {name!r}, a name that lgbench itself uses. Its author must rename it."
        )
    if len(points) > 1:
        raise LgbenchError(f"{' and '.join(sources)} both offer the scheme {name!r}. Uninstall one of them.")
    with user_code(f"Loading the scheme {name!r} ({points[0].value}) of {sources[0]}"):
        found: object = points[0].load()
    return replace(_checked(found, name, f"{sources[0]} ({points[0].value})"), source=sources[0])


def source_of(point: importlib.metadata.EntryPoint) -> str:
    """The package that an entry point belongs to, with its version."""
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value


def _checked(found: object, name: str, where: str) -> Scheme:
    if not isinstance(found, Scheme):
        raise LgbenchError(
            f"The entry point {name!r} of {where} is of type {type(found).__name__}. It must be an "
            "lgbench.models.schemes.Scheme."
        )
    if found.name != name:
        raise LgbenchError(f"The entry point {name!r} of {where} is a scheme named {found.name!r}. Use one name.")
    if not callable(found.load):
        raise LgbenchError(f"The scheme {name!r} of {where} has no loader: {found.load!r} cannot be called.")
    return found
