"""From what a name points at to a predictor: an instance as it is, a class or function called with options."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError

from lgbench.models.contract import Predictor
from lgbench.util.errors import LgbenchError, UnknownNameError
from lgbench.util.users_code import load_callable, user_code


def construct(found: Any, options: Mapping[str, str], name: str) -> Predictor:
    """Make a predictor.

    Args:
        found: An object with `predict`, or a class or function that returns one.
        options: Keyword arguments for the class or function, as text.
        name: MODEL, for messages.

    Raises:
        LgbenchError: It is neither, or an option does not fit.
        ModelError: The class or function raised.
    """
    if not inspect.isclass(found) and _has_predict(found):
        if options:
            raise LgbenchError(f"{name!r} is an instance and takes no model options. Name its class instead.")
        made: Predictor = found
        return made
    if not callable(found):
        raise LgbenchError(
            f"{name!r} is of type {type(found).__name__}: it has no predict method and cannot be called."
        )
    arguments = arguments_for(found, options, name)
    with user_code(f"Making {name!r}"):
        made = found(**arguments)
    if not _has_predict(made):
        raise LgbenchError(f"{name!r} made a {type(made).__name__}, which has no predict(prompts, task) method.")
    return made


def _has_predict(found: object) -> bool:
    with user_code("The model's predict"):
        return callable(getattr(found, "predict", None))


def arguments_for(
    factory: Callable[..., Any],
    options: Mapping[str, str],
    name: str,
    *,
    kind: str = "model option",
    prefix: str = "",
) -> dict[str, Any]:
    """The options, converted to the types of the parameters they name.

    Args:
        factory: A class or function.
        options: Keyword arguments for it, as text.
        name: What the user named, for messages.
        kind: What an option of it is called, for messages.
        prefix: What comes before an option's name on the command line.

    Raises:
        LgbenchError: It has no such option, lacks one that it needs, or one does not convert.
    """
    try:
        parameters = inspect.signature(factory, eval_str=True).parameters
    # No signature, or annotations that only a type checker can read.
    except (NameError, AttributeError, SyntaxError, TypeError, ValueError):
        return dict(options)
    named = {key: p for key, p in parameters.items() if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for option in options:
        if option not in named and not takes_any:
            valid = f"Valid: {', '.join(named)}." if named else "It takes none."
            raise LgbenchError(f"{name!r} has no {kind} {option!r}. {valid}")
    if missing := [key for key, p in named.items() if p.default is p.empty and key not in options]:
        if missing == ["prompts", "task"]:
            raise LgbenchError(
                f"{name!r} takes prompts itself. MODEL is an object with the method predict(prompts, task), or what "
                "makes one: put the function into a class."
            )
        flag = f"--{kind.replace(' ', '-')}"
        raise LgbenchError(f"{name!r} needs the {kind} {missing[0]!r}: add {flag} {prefix}{missing[0]}=VALUE.")
    return {key: _convert(text, named[key], name, kind) if key in named else text for key, text in options.items()}


def _convert(text: str, parameter: inspect.Parameter, name: str, kind: str) -> Any:
    """Text as the type that a parameter declares or that its default has, as pydantic reads text; lists as JSON.

    Where nothing is declared, and for types that pydantic does not know, it is the text itself.
    """
    wanted = parameter.annotation
    if wanted is parameter.empty:
        wanted = str if parameter.default in (parameter.empty, None) else type(parameter.default)
    given = _but_for_none(wanted)
    if get_origin(given) is Literal and text not in get_args(given):
        raise UnknownNameError(f"valid {parameter.name} for {name!r}", text, get_args(given))
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(wanted)
    except PydanticSchemaGenerationError:
        return text
    with contextlib.suppress(ValidationError):
        return adapter.validate_strings(text)
    try:
        return adapter.validate_json(text)
    except ValidationError:
        words = getattr(given, "__name__", str(given))
        raise LgbenchError(
            f"{kind.capitalize()} {parameter.name}={text!r} of {name!r} must be of type {words}."
        ) from None


def _but_for_none(wanted: Any) -> Any:
    """What a type allows beside None."""
    kinds = [kind for kind in get_args(wanted) if kind is not NoneType]
    return kinds[0] if get_origin(wanted) in (Union, UnionType) and len(kinds) == 1 else wanted


def is_own(name: str) -> bool:
    """Whether a function that builds a module is lgbench's own, so that its code runs without being named anew."""
    return name.startswith("lgbench.models.")


def load_build(name: str, options: Mapping[str, str] | None = None) -> Callable[[int], Any]:
    """The function that builds a module to train.

    Args:
        name: `file.py:function` or `package.module:function`.
        options: Its arguments beside the vocabulary's size, as text; converted to the types that it declares.

    Raises:
        LgbenchError: There is none, or an option does not fit.
        ModelError: The file or module raised when imported.
    """
    build = load_callable(name, what="function", valid="file.py:function or package.module:function")
    arguments = arguments_for(partial(build, 0), options or {}, name)  # the size takes up the first parameter
    return partial(build, **arguments) if arguments else build
