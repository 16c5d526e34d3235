"""The options of an experiment: its fields, their help, and text turned into their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from functools import cache
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

from lgbench.experiments.base import Experiment, Option
from lgbench.util.errors import LgbenchError, UnknownNameError


class Field(NamedTuple):
    """A field of an experiment, as the command line needs it.

    Attributes:
        name: The field's name.
        kind: Its type, without `Annotated`.
        option: What the command line says of it.
        default: Its default; `MISSING` where it must be given.
    """

    name: str
    kind: Any
    option: Option
    default: Any

    @property
    def flag(self) -> str:
        """The name of the option on the command line; of an argument its metavar."""
        if self.option.argument:
            return self.option.metavar or self.name.upper()
        return self.option.flag or f"--{self.name.replace('_', '-')}"

    @property
    def is_list(self) -> bool:
        """Whether it takes several values, joined by commas or given one after another."""
        return get_origin(self.kind) in (tuple, list)

    @property
    def splits(self) -> bool:
        """Whether commas separate its values: not in paths, nor in `name=value`, where the value may hold some."""
        return self.is_list and self.option.flag is None and not self.option.argument


@cache
def fields_of(kind: type[Experiment]) -> tuple[Field, ...]:
    """The fields of an experiment's class, arguments first."""
    hints = get_type_hints(kind, include_extras=True)
    found = []
    for each in fields(kind):
        hint, option = hints[each.name], Option("")
        if get_origin(hint) is Annotated:
            hint, *extras = get_args(hint)
            option = next((extra for extra in extras if isinstance(extra, Option)), option)
        default = each.default if each.default_factory is MISSING else each.default_factory()
        found.append(Field(each.name, hint, option, default))
    return tuple(sorted(found, key=lambda each: not each.option.argument))


def converted(kind: type[Experiment], given: Mapping[str, str | Sequence[str]]) -> dict[str, Any]:
    """Options given as text, as values of their fields' types.

    Args:
        kind: The experiment's class.
        given: For each option its text; for one that takes several, the texts.

    Raises:
        LgbenchError: There is no such option, one that is needed is missing, or a text is not a value of its type.
    """
    known = {each.name: each for each in fields_of(kind)}
    for name in given:
        if name not in known:
            raise UnknownNameError(f"option of {kind.__name__}", name, known)
    for name, each in known.items():
        if each.default is MISSING and name not in given:
            raise LgbenchError(f"{kind.__name__} needs the option {name!r}: {each.option.help or each.kind}")
    return {name: _value(known[name], text) for name, text in given.items()}


def _value(field: Field, given: str | Sequence[str]) -> Any:
    from pydantic import TypeAdapter, ValidationError

    value: Any = given
    if field.is_list:
        texts = [given] if isinstance(given, str) else list(given)
        value = [part.strip() for text in texts for part in (text.split(",") if field.splits else [text])]
        value = list(dict.fromkeys(value))
    try:
        found = TypeAdapter(field.kind).validate_python(value)
    except ValidationError as error:
        raise LgbenchError(f"{field.flag} {_as_given(given)}: {error.errors()[0]['msg']}.") from None
    least, most = field.option.least, field.option.most
    numbers = found if field.is_list else [found]
    if least is not None and any(each < least for each in numbers):
        raise LgbenchError(f"{field.flag} {_as_given(given)}: must be {least} or more.")
    if most is not None and any(each > most for each in numbers):
        raise LgbenchError(f"{field.flag} {_as_given(given)}: must be {most} or less.")
    return found


def _as_given(given: str | Sequence[str]) -> str:
    return repr(given if isinstance(given, str) else ",".join(given))
