"""Finding MODEL: a built-in, `scheme:rest`, `file.py:attribute`, a checkpoint folder, a module, or an entry point."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from lgbench.models import api, huggingface
from lgbench.models.api.options import Options as ApiOptions
from lgbench.models.builtin import BUILTINS
from lgbench.models.construction import arguments_for, construct, load_build
from lgbench.models.folders import checkpoint_folder
from lgbench.models.huggingface.options import Options as HuggingFaceOptions
from lgbench.models.loaded import Model, Trained, with_parameters
from lgbench.models.recorded import RecordedReplies
from lgbench.models.schemes import Scheme, installed_names, installed_scheme, open_model
from lgbench.results.schema import MAX_TEXT, SystemInfo
from lgbench.util.errors import LgbenchError, UnknownNameError
from lgbench.util.extras import require_extra
from lgbench.util.files import sha256_of
from lgbench.util.users_code import check_file, find, import_named, run_file, split_place, user_code

ENTRY_POINTS = "lgbench.models"


def load_model(name: str | Path, options: Mapping[str, str] | None = None) -> Model:
    """Load a model by name.

    The first of these that fits:

    1. a built-in: `oracle`, `random`, `echo`;
    2. `scheme:rest`: `replay:replies.jsonl`, `hf:FOLDER_OR_ID`, `api:NAME`, `tiny:transfer` (a bundled checkpoint), or
       a scheme that an installed package offers as an entry point of the group `lgbench.schemes`;
    3. `file.py:attribute`: an object with `predict`, or a class or function that makes one from keyword options;
    4. an existing checkpoint folder;
    5. `package.module:attribute`, likewise;
    6. an entry point of the group `lgbench.models`, likewise.

    Args:
        name: MODEL; a folder may be a path.
        options: Keyword options for a class or function, as text; converted to the type that its parameter declares.

    Raises:
        LgbenchError: Nothing fits, or an option does not.
        ModelError: The model's own code raised.
    """
    given, name = dict(options or {}), str(name)
    check_texts({"MODEL": name} | {f"model option {key!r}": text for key, text in given.items()})
    if name in BUILTINS:
        return Model(construct(BUILTINS[name], given, name), SystemInfo(model=name, kind="builtin"))
    if (scheme := find_scheme(name)) is not None:
        return open_model(scheme, name, given)
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


def _replay(name: str, rest: str, options: None) -> Model:
    path = Path(rest)
    replies = RecordedReplies(path)
    return Model(replies, SystemInfo(model=name, kind="replay", source_sha256=(sha256_of(path),)))


@dataclass(frozen=True, kw_only=True)
class _BundledOptions:
    """The model options of a checkpoint that comes with lgbench.

    Attributes:
        device: Where the model runs; `auto` takes what is fastest here.
    """

    device: str = "auto"


def _bundled(name: str, rest: str, options: _BundledOptions) -> Model:
    return _from_checkpoint(name, {"device": options.device})


_SCHEMES = (
    Scheme(
        name="hf",
        load=huggingface.load,
        rest="FOLDER_OR_ID",
        summary="a Hugging Face model (docs/models-huggingface.md)",
        options=HuggingFaceOptions,
    ),
    Scheme(
        name="api",
        load=api.load,
        summary="a model behind an OpenAI-compatible server (docs/models-api.md)",
        options=ApiOptions,
        check=api.refuse_keys,
    ),
    Scheme(name="replay", load=_replay, rest="FILE.jsonl", summary="replies made elsewhere"),
    Scheme(
        name="tiny",
        load=_bundled,
        rest="ARM",
        summary="a checkpoint that comes with lgbench: main_only, transfer or control",
        options=_BundledOptions,
    ),
)
SCHEMES: Mapping[str, Scheme] = {scheme.name: scheme for scheme in _SCHEMES}
"""The schemes of lgbench. Those of installed packages: `lgbench.models.schemes.installed_scheme`."""


def find_scheme(name: str) -> Scheme | None:
    """The scheme that MODEL `scheme:rest` names; None where it names none.

    Raises:
        LgbenchError: An installed package offers it, but not as a scheme should be.
        ModelError: Loading that package's scheme raised.
    """
    scheme, _, rest = name.partition(":")
    if not rest:
        return None
    if scheme in SCHEMES:
        return SCHEMES[scheme]
    return installed_scheme(scheme) if scheme in installed_names() else None


def _from_file(name: str, path: Path, attribute: str, options: dict[str, str]) -> Model:
    check_file(path, f"MODEL {name!r} reads as file.py:attribute.")
    system = SystemInfo(model=name, kind="file", options=options, source_sha256=(sha256_of(path),))
    found = _attribute(run_file(path), attribute, name, where=str(path))
    return with_parameters(construct(found, options, name), system)


@dataclass(frozen=True, kw_only=True)
class CheckpointOptions:
    """The model options of a checkpoint, as text that `--model-option` gives.

    Attributes:
        build: The function that builds a module of the user's, as in `file.py:function`.
        device: Where the model runs; `auto` takes what is fastest here.
    """

    build: str | None = None
    device: str = "auto"


def _from_checkpoint(name: str, given: dict[str, str]) -> Model:
    options = CheckpointOptions(**arguments_for(CheckpointOptions, given, name))
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
        source_sha256=(sha256_of(folder / WEIGHTS),),
        parameters=predictor.parameters,
    )
    return Model(predictor, system, trained=Trained(record.suite, record.group, record.arm, record.seed))


def _from_module(name: str, module_name: str, attribute: str, options: dict[str, str]) -> Model:
    unknown = LgbenchError(
        f"MODEL {name!r} is nothing known: {module_name!r} is not a scheme "
        f"({', '.join([*SCHEMES, *installed_names()])}), no .py file and no module that can be imported here."
    )
    module = import_named(module_name, unknown)
    found = _attribute(module, attribute, name, where=module_name)
    source = getattr(module, "__file__", None)
    hashes = (sha256_of(Path(source)),) if source and Path(source).is_file() else ()
    system = SystemInfo(model=name, kind="module", options=options, source_sha256=hashes)
    return with_parameters(construct(found, options, name), system)


def _from_entry_point(name: str, options: dict[str, str]) -> Model:
    found = {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}
    if name not in found:
        forms = ("file.py:attribute", "package.module:attribute", "a checkpoint folder")
        schemes = [f"{scheme}:..." for scheme in (*SCHEMES, *installed_names())]
        raise UnknownNameError("model", name, [*BUILTINS, *found, *schemes, *forms])
    with user_code(f"Loading the entry point {name!r} ({found[name].value})"):
        target = found[name].load()
    system = SystemInfo(model=name, kind="entry_point", options=options)
    return with_parameters(construct(target, options, name), system)


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
