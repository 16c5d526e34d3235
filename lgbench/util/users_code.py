"""Python code of a user's: found by name, imported, and run so that its errors are reported by its own frames.

A name is `file.py:attribute` or `package.module:attribute`.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import operator
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from lgbench.util.errors import LgbenchError, ModelError

_FOLDERS: set[Path] = set()  # of the files loaded so far, each of which Python searches for modules
_MOST_SAID = 300
"""Characters of what the user's code says when it raises."""


def split_place(name: str) -> tuple[str, str]:
    r"""`file.py:attribute` or `package.module:attribute` as its two parts; the second is empty where there is none.

    The path of a file may hold colons itself, as in `C:\mine\model.py:Model`.
    """
    if name.endswith(".py"):
        return name, ""
    file, _, attribute = name.rpartition(":")
    if file.endswith(".py"):
        return file, attribute
    module, _, attribute = name.partition(":")
    return module, attribute


def file_sha256(name: str) -> str | None:
    """The SHA-256 of the file of `file.py:attribute`; None where a module is named otherwise or there is no file."""
    path = Path(split_place(name)[0])
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.suffix == ".py" and path.is_file() else None


def check_file(path: Path, hint: str) -> None:
    """Make sure that a file is there.

    Raises:
        LgbenchError: It is not; the hint says what was read so.
    """
    if not path.is_file():
        raise LgbenchError(f"There is no file {str(path)!r}. {hint}")


def run_file(path: Path) -> ModuleType:
    """Execute a file as a module of its own; beside it, it can import its neighbours.

    Raises:
        LgbenchError: It cannot be loaded, or would get the neighbour of a file that was loaded before.
        ModelError: It raised.
    """
    folder = path.resolve().parent
    _check_neighbours(path, folder)
    module_name = f"lgbench_model_{path.stem}_{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise LgbenchError(f"{str(path)!r} cannot be loaded as a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    _FOLDERS.add(folder)
    try:
        with user_code(f"Importing {str(path)!r}"):
            spec.loader.exec_module(module)
    except ModelError:
        del sys.modules[module_name]
        raise
    return module


def _check_neighbours(path: Path, folder: Path) -> None:
    """Refuse a file that would get another model's neighbour: of two modules of one name Python keeps the first."""
    others = {str(each) for each in _FOLDERS - {folder}}
    for name, module in list(sys.modules.items()):
        loaded = getattr(module, "__file__", None)
        if loaded is None or _searched_folder(loaded, name) not in others:
            continue
        for own in (folder / f"{name}.py", folder / name / "__init__.py"):
            if own.exists():
                raise LgbenchError(
                    f"{str(path)!r} cannot be loaded: it stands beside {own.name}, but a model loaded before it has "
                    f"imported {loaded} as {name!r}. Load the two in processes of their own, or rename one module."
                )


def _searched_folder(file: str, name: str) -> str | None:
    """The folder in which Python found the file of a module of this name; None for a module inside a package."""
    folder, base = os.path.split(file)
    if base == "__init__.py":
        folder, base = os.path.split(folder)
        return folder if base == name else None
    return folder if base == f"{name}.py" else None


def import_named(module_name: str, unknown: LgbenchError) -> ModuleType:
    """Import a module.

    Args:
        module_name: As in an `import` statement.
        unknown: Raised where there is no such module.

    Raises:
        LgbenchError: `unknown`.
        ModelError: The module raised.
    """
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise unknown
    try:
        with user_code(f"Importing {module_name!r}"):
            return importlib.import_module(module_name)
    except ModelError as error:
        missing = error.__cause__
        if isinstance(missing, ModuleNotFoundError) and f"{module_name}.".startswith(f"{missing.name}."):
            raise unknown from None
        raise


def find(module: ModuleType, attribute: str) -> Any:
    """What a module has under this name, dots and all; None where it has nothing."""
    try:
        return operator.attrgetter(attribute)(module)
    except AttributeError:
        return None


def load_callable(name: str, *, what: str, valid: str) -> Callable[..., Any]:
    """A function or class that a user names.

    Args:
        name: `file.py:attribute` or `package.module:attribute`.
        what: What it should be, as a singular noun.
        valid: What can be written instead, for messages.

    Raises:
        LgbenchError: There is none.
        ModelError: The file or module raised when imported.
    """
    found = load_named(name, what=what, valid=valid)
    if not callable(found):
        raise LgbenchError(f"{name!r} is of type {type(found).__name__}: it cannot be called.")
    called: Callable[..., Any] = found
    return called


def load_named(name: str, *, what: str, valid: str) -> Any:
    """What a user names, whatever it is. Arguments and errors as for `load_callable`."""
    place, attribute = split_place(name)
    if not attribute:
        raise LgbenchError(f"{name!r} names no {what}. Write {valid}.")
    if place.endswith(".py"):
        check_file(Path(place), f"{name!r} reads as file.py:{what}.")
        module = run_file(Path(place))
    else:
        unknown = f"{name!r} names no {what}: {place!r} is no .py file and no module that can be imported here."
        module = import_named(place, LgbenchError(unknown))
    found = find(module, attribute)
    if found is None:
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
        raise LgbenchError(f"{place!r} has no {what} {attribute!r}. It defines: {', '.join(own) or 'nothing'}.")
    return found


@contextlib.contextmanager
def user_code(what: str) -> Iterator[None]:
    """Run the user's code: whatever it raises becomes a `ModelError`, told by `what` and by the user's own frames."""
    try:
        yield
    except (LgbenchError, KeyboardInterrupt):
        raise
    except BaseException as error:
        told = f"{what} raised {type(error).__name__}: {_shortened(_words(error))}".rstrip(": ")
        raise ModelError(told, user_traceback=_user_traceback(error)) from error


def _shortened(text: str) -> str:
    """The first words of a message, with a mark where some are left out."""
    if len(text) <= _MOST_SAID:
        return text
    kept = text[:_MOST_SAID]
    return f"{kept.rpartition(' ')[0] or kept} ..."


def _words(error: BaseException) -> str:
    """What an error says; nothing where saying it raises too."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001  # whatever it is, the error itself is told
        return ""


def _user_traceback(error: BaseException) -> str:
    """The traceback of an error without the leading frames of lgbench and of Python's import machinery."""
    own = f"{Path(__file__).parents[1]}{os.sep}"
    frame: TracebackType | None = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith((own, "<frozen importlib")):
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame))
