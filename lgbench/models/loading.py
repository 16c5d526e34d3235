"""Finding MODEL: a built-in, `scheme:rest`, `file.py:attribute`, a checkpoint folder, a module, or an entry point."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from lgbench.errors import LgbenchError, UnknownNameError
from lgbench.extras import require_extra
from lgbench.models.builtin import BUILTINS
from lgbench.models.calling import own_number, user_code
from lgbench.models.construction import arguments_for, construct
from lgbench.models.folders import checkpoint_folder
from lgbench.models.importing import check_file, find, import_named, load_build, run_file, split_place
from lgbench.models.loaded import Model, Trained
from lgbench.models.recorded import RecordedReplies
from lgbench.results import MAX_PARAMETERS, MAX_TEXT, SystemInfo

ENTRY_POINTS = "lgbench.models"


def load_model(name: str, options: Mapping[str, str] | None = None) -> Model:
    """Load a model by name.

    The first of these that fits:

    1. a built-in: `oracle`, `random`, `echo`;
    2. `scheme:rest`: `replay:replies.jsonl`, `hf:FOLDER_OR_ID`, `api:NAME`, or `tiny:transfer` (a bundled checkpoint);
    3. `file.py:attribute`: an object with `predict`, or a class or function that makes one from keyword options;
    4. an existing checkpoint folder;
    5. `package.module:attribute`, likewise;
    6. an entry point of the group `lgbench.models`, likewise.

    Args:
        name: MODEL.
        options: Keyword options for a class or function, as text; converted to the type that its parameter declares.

    Raises:
        LgbenchError: Nothing fits, or an option does not.
        ModelError: The model's own code raised.
    """
    given = dict(options or {})
    check_texts({"MODEL": name} | {f"model option {key!r}": text for key, text in given.items()})
    scheme, _, rest = name.partition(":")
    if name in BUILTINS:
        return Model(construct(BUILTINS[name], given, name), SystemInfo(model=name, kind="builtin"))
    if rest and scheme in SCHEMES:
        return SCHEMES[scheme](name, rest, given)
    place, attribute = split_place(name)
    if place.endswith(".py"):
        return _from_file(name, Path(place), attribute, given)
    if name and Path(name).is_dir():
        return _from_checkpoint(name, given)
    if attribute:
        return _from_module(name, place, attribute, given)
    return _from_entry_point(name, given)


def check_texts(texts: Mapping[str, str]) -> None:
    """Refuse what could not be written into a result, before a model takes minutes to load."""
    for what, text in texts.items():
        if len(text) > MAX_TEXT:
            raise LgbenchError(f"The {what} has {len(text):,} characters. It is recorded: at most {MAX_TEXT:,}.")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise LgbenchError(f"The {what} {text!r} is not UTF-8, as what is recorded must be.") from None


def _replay(name: str, rest: str, options: dict[str, str]) -> Model:
    _refuse_options(name, options)
    path = Path(rest)
    replies = RecordedReplies(path)
    return Model(replies, SystemInfo(model=name, kind="replay", source_sha256=(_sha256(path),)))


def _bundled(name: str, rest: str, options: dict[str, str]) -> Model:
    return _from_checkpoint(name, options)


def _hugging_face(name: str, rest: str, options: dict[str, str]) -> Model:
    from lgbench.models.huggingface import load

    return load(name, rest, options)


def _api(name: str, rest: str, options: dict[str, str]) -> Model:
    from lgbench.models.api import load

    return load(name, rest, options)


SCHEMES: dict[str, Callable[[str, str, dict[str, str]], Model]] = {
    "replay": _replay,
    "hf": _hugging_face,
    "api": _api,
    "tiny": _bundled,
}


def _from_file(name: str, path: Path, attribute: str, options: dict[str, str]) -> Model:
    check_file(path, f"MODEL {name!r} reads as file.py:attribute.")
    system = SystemInfo(model=name, kind="file", options=options, source_sha256=(_sha256(path),))
    found = _attribute(run_file(path), attribute, name, where=str(path))
    return _model(construct(found, options, name), system)


@dataclass(frozen=True, kw_only=True)
class _CheckpointOptions:
    """The model options of a checkpoint, as text that `--model-option` gives.

    Attributes:
        build: The function that builds a module of the user's, as in `file.py:function`.
        device: Where the model runs; `auto` takes what is fastest here.
    """

    build: str | None = None
    device: str = "auto"


def _from_checkpoint(name: str, given: dict[str, str]) -> Model:
    options = _CheckpointOptions(**arguments_for(_CheckpointOptions, given, name))
    require_extra("torch", purpose=f"The checkpoint {name!r}")

    from lgbench.models.checkpoint import WEIGHTS, load_module, read_checkpoint_record
    from lgbench.models.checkpoint_predictor import CheckpointPredictor
    from lgbench.models.devices import choose_device

    folder = checkpoint_folder(name).absolute()  # what builds the module may change the working directory
    build = None
    if options.build is not None:
        build = load_build(options.build, read_checkpoint_record(folder).build_options)
    device = choose_device(options.device)
    record, module = load_module(folder, build=build)
    predictor = CheckpointPredictor(module, device=device, vocabulary=record.tokens)
    system = SystemInfo(
        model=name,
        kind="checkpoint",
        options=given,
        source_sha256=(_sha256(folder / WEIGHTS),),
        parameters=predictor.parameters,
    )
    return Model(predictor, system, trained=Trained(record.suite, record.group, record.arm, record.seed))


def _from_module(name: str, module_name: str, attribute: str, options: dict[str, str]) -> Model:
    unknown = LgbenchError(
        f"MODEL {name!r} is nothing known: {module_name!r} is no scheme ({', '.join(SCHEMES)}), no .py file and no "
        "module that can be imported here."
    )
    module = import_named(module_name, unknown)
    found = _attribute(module, attribute, name, where=module_name)
    source = getattr(module, "__file__", None)
    hashes = (_sha256(Path(source)),) if source and Path(source).is_file() else ()
    system = SystemInfo(model=name, kind="module", options=options, source_sha256=hashes)
    return _model(construct(found, options, name), system)


def _from_entry_point(name: str, options: dict[str, str]) -> Model:
    found = {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}
    if name not in found:
        forms = ("file.py:attribute", "package.module:attribute", "a checkpoint folder")
        raise UnknownNameError("model", name, [*BUILTINS, *found, *(f"{scheme}:..." for scheme in SCHEMES), *forms])
    with user_code(f"Loading the entry point {name!r} ({found[name].value})"):
        target = found[name].load()
    system = SystemInfo(model=name, kind="entry_point", options=options)
    return _model(construct(target, options, name), system)


def _attribute(module: ModuleType, attribute: str, name: str, *, where: str) -> Any:
    found = find(module, attribute)
    if found is None:
        usable = [key for key, value in vars(module).items() if _could_be_model(key, value, module)]
        valid = f" It has: {', '.join(usable)}." if usable else " It defines no class with a predict method."
        problem = f"has no attribute {attribute!r}." if attribute else "needs an attribute, as in file.py:MyModel."
        raise LgbenchError(f"MODEL {name!r}: {where} {problem}{valid}")
    return found


def _could_be_model(key: str, value: object, module: ModuleType) -> bool:
    own = getattr(value, "__module__", None) == module.__name__
    return not key.startswith("_") and own and callable(getattr(value, "predict", None))


def _model(predictor: Any, system: SystemInfo) -> Model:
    parameters = own_number(predictor, "parameters")
    if parameters is None:
        return Model(predictor, system)
    if not 0 <= parameters <= MAX_PARAMETERS:
        raise LgbenchError(
            f"MODEL {system.model!r} says it has {parameters} parameters. It must be a count, or absent."
        )
    return Model(predictor, system.model_copy(update={"parameters": parameters}))


def _refuse_options(name: str, options: dict[str, str]) -> None:
    if options:
        raise LgbenchError(f"{name!r} takes no model options, but was given {', '.join(options)}.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
