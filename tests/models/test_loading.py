"""How MODEL is found, in its order of precedence, and what is said when it is not."""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from pathlib import Path

import pytest

import lgbench
from lgbench.data.cells import draw_cell
from lgbench.data.suites import load_suite
from lgbench.evaluation.evaluator import evaluate
from lgbench.models.builtin import Echo
from lgbench.models.construction import load_build
from lgbench.models.loading import load_model
from lgbench.training.spec import Recipe
from lgbench.util.errors import LgbenchError, ModelError

pytestmark = pytest.mark.slow

SOURCE = '''
"""Models for tests."""
from neighbour import suffix

class Fixed:
    """Replies with one text."""
    def __init__(self, text: str = "a", times: int = 1, upper: bool = False, scale=1.5):
        self.arguments = (text, times, upper, scale)
    def predict(self, prompts, task):
        return [self.arguments[0]] * len(prompts)

def factory(*, text):
    return Fixed(text)

def anything(**options):
    return Fixed(repr(options))

class Annotated:
    def __init__(self, text: "os.nowhere" = "annotated", other: "not valid" = None): ...
    def predict(self, prompts, task):
        return ["annotated"] * len(prompts)

class Needy:
    def __init__(self, path):
        raise OSError("no such disk")

def predict(prompts, task):
    return list(prompts)

instance = Fixed(suffix)
number = 3
not_a_model = list

class Fragile:
    def __getattr__(self, name):
        raise RuntimeError(f"{name} is not ready")
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "models.py").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "neighbour.py").write_text("suffix = 'from a neighbour'\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("models", "neighbour"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def replies(name: str, **options: str) -> list[str]:
    model = load_model(name, options)
    return list(model.predictor.predict(["x="], "reverse"))  # type: ignore[union-attr]


def test_annotations_that_cannot_be_read_are_no_hindrance(folder: Path) -> None:
    assert replies("models.py:Annotated") == ["annotated"]


@pytest.mark.parametrize("name", ["models.py:Fixed", "./models.py:factory", "models.py:anything", "models.py:instance"])
def test_a_class_a_function_and_an_instance_will_do(name: str, folder: Path) -> None:
    options = {"text": "b"} if "factory" in name else {}
    expected = {"models.py:Fixed": "a", "./models.py:factory": "b", "models.py:anything": "{}"}
    assert replies(name, **options) == [expected.get(name, "from a neighbour")]


def test_options_take_the_declared_types(folder: Path) -> None:
    made = load_model("models.py:Fixed", {"text": "7", "times": "7", "upper": "yes", "scale": "2"}).predictor
    assert made.arguments == ("7", 7, True, 2.0)  # type: ignore[union-attr]


def test_a_file_is_recorded_with_its_hash(folder: Path) -> None:
    system = load_model("models.py:Fixed", {"text": "b"}).system
    assert (system.model, system.kind, system.options) == ("models.py:Fixed", "file", {"text": "b"})
    assert len(system.source_sha256) == 1


def test_a_file_never_gets_the_neighbour_of_another(folder: Path, tmp_path: Path) -> None:
    """Two versions of a model, each in a folder of its own, would both answer as the first."""
    for version in ("first", "second"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "model.py").write_text(SOURCE.replace("neighbour", "beside"), encoding="utf-8")
        (tmp_path / version / "beside.py").write_text(f"suffix = '{version}'\n", encoding="utf-8")
    for _ in range(2):
        assert replies("first/model.py:instance") == ["first"]
        with pytest.raises(LgbenchError, match=r"stands beside beside\.py, but a model loaded before it has imported"):
            load_model("second/model.py:instance")
    (tmp_path / "second" / "beside.py").rename(tmp_path / "second" / "near.py")
    (tmp_path / "second" / "model.py").write_text(SOURCE.replace("neighbour", "near"), encoding="utf-8")
    one, other = (load_model(f"{version}/model.py:Fixed", {"text": "a"}) for version in ("first", "second"))
    assert type(one.predictor).__module__ != type(other.predictor).__module__


def test_the_path_of_a_file_may_hold_colons(folder: Path) -> None:
    (folder / "C:").mkdir()  # as every path on Windows begins
    (folder / "C:" / "mine.py").write_text(
        SOURCE.replace("from neighbour import suffix", "suffix = ''"), encoding="utf-8"
    )
    assert replies("C:/mine.py:Fixed", text="b") == ["b"]
    assert load_build("C:/mine.py:factory").__name__ == "factory"
    recipe = Recipe(load_suite("mini-v1"), changes=["precision=float32"], model="C:/mine.py:factory")
    assert recipe.plan("copy-mqar", "transfer", 0).model_sha256 is not None
    with pytest.raises(LgbenchError, match="needs an attribute"):
        load_model("C:/mine.py")


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("gone.py:Fixed", {}, r"There is no file 'gone.py'"),
        ("models.py:Fixd", {}, r"models.py has no attribute 'Fixd'.* It has: Fixed, Annotated, instance"),
        ("models.py", {}, r"needs an attribute.* It has: Fixed, Annotated, instance"),
        ("models.py:Fixed", {"tines": "2"}, r"has no model option 'tines'. Valid: text, times, upper, scale"),
        ("models.py:Fixed", {"times": "two"}, r"times='two' of 'models.py:Fixed' must be of type int"),
        ("models.py:Fixed", {"upper": "maybe"}, r"upper='maybe' .* must be of type bool"),
        ("models.py:factory", {}, r"needs the model option 'text': add --model-option text=VALUE"),
        ("models.py:predict", {}, r"takes prompts itself.* put the function into a class"),
        ("models.py:instance", {"text": "b"}, r"is an instance and takes no model options"),
        ("models.py:number", {}, r"is of type int: it has no predict method and cannot be called"),
        ("models.py:not_a_model", {}, r"made a list, which has no predict"),
        ("models.py:Fragile", {}, r"The model's predict raised RuntimeError: predict is not ready"),
        ("oracle", {"text": "b"}, r"'oracle' has no model option 'text'"),
        ("tiny:transfer", {"devise": "cpu"}, r"'tiny:transfer' has no model option 'devise'. Valid: device"),
        ("nonsense:thing", {}, r"'nonsense' is not a scheme"),
        ("os.path.nonsense:thing", {}, r"is nothing known"),
        (":Fixed", {}, r"is nothing known"),
        ("./models:Fixed", {}, r"is nothing known"),
        ("json:Encoder", {}, r"has no attribute 'Encoder'"),
        ("orcale", {}, r"Did you mean 'oracle'"),
        ("models", {}, r"'models' is not a model"),
        ("replay:gone.jsonl", {}, r"Cannot read the replies file 'gone.jsonl'"),
        ("replay:models.py", {}, r"Line 2 of 'models.py' is not a reply"),
        ("replay:", {}, r"is not a model|is nothing known"),
        (".", {}, r"holds no checkpoint"),
        ("models.py:Fixed", {"text": "x" * 2001}, r"The model option 'text' has 2,001 characters.* at most 2,000"),
        ("models\udcff.py:Fixed", {}, r"The MODEL .* is not UTF-8"),
    ],
)
def test_what_cannot_be_loaded_is_told(name: str, options: dict[str, str], sentence: str, folder: Path) -> None:
    with pytest.raises(LgbenchError, match=sentence):
        load_model(name, options)


def test_a_built_in_comes_before_a_folder_of_its_name(folder: Path) -> None:
    (folder / "echo").mkdir()
    assert isinstance(load_model("echo").predictor, Echo)


def test_a_module_on_the_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(folder))
    model = load_model("models:Fixed", {"text": "m"})
    assert model.system.kind == "module"
    assert replies("models:Fixed", text="m") == ["m"]


def test_a_module_that_lacks_a_dependency_is_not_called_unknown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(folder))
    for package, source in (("needy", "import nowhere"), ("angry", "raise RuntimeError('no')")):
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text(source, encoding="utf-8")
    with pytest.raises(ModelError, match="raised ModuleNotFoundError: No module named 'nowhere'"):
        load_model("needy.inner:Model")
    with pytest.raises(ModelError, match="raised RuntimeError: no"):
        load_model("angry.inner:Model")


def test_a_file_that_changes_the_working_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "inner").mkdir()
    (folder / "wander.py").write_text(
        "import os\n\nos.chdir('inner')\n\nfrom lgbench.models.builtin import Echo\n", encoding="utf-8"
    )
    assert isinstance(load_model("wander.py:Echo").predictor, Echo)


def test_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint("mine", "lgbench.models.builtin:Echo", "lgbench.models")
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda *, group: [point] if group == "lgbench.models" else []
    )
    model = load_model("mine")
    assert model.system.kind == "entry_point"
    assert isinstance(model.predictor, Echo)


@pytest.mark.parametrize(
    ("source", "sentence", "shown"),
    [
        ("raise ValueError('at import')\n", "Importing 'bad.py' raised ValueError: at import", "line 1"),
        ("def broken(:\n", "Importing 'bad.py' raised SyntaxError", "def broken(:"),
        ("import sys; sys.exit(3)\n", "Importing 'bad.py' raised SystemExit: 3", "sys.exit(3)"),
        ("import nowhere_to_be_found\n", "ModuleNotFoundError", "import nowhere_to_be_found"),
    ],
)
def test_a_file_that_raises_on_import(source: str, sentence: str, shown: str, folder: Path) -> None:
    (folder / "bad.py").write_text(source, encoding="utf-8")
    with pytest.raises(ModelError) as caught:
        load_model("bad.py:Model")
    assert sentence in str(caught.value)
    assert shown in caught.value.user_traceback
    assert "importlib" not in caught.value.user_traceback
    assert "importing.py" not in caught.value.user_traceback


def test_a_file_whose_path_begins_like_ours_is_the_users_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lgbench, "__file__", str(folder / "bad" / "__init__.py"))
    (folder / "bad_too.py").write_text("raise ValueError('at import')\n", encoding="utf-8")
    with pytest.raises(ModelError) as caught:
        load_model(f"{folder}/bad_too.py:Model")
    assert "raise ValueError('at import')" in caught.value.user_traceback


def test_a_class_that_raises_when_made(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"Making 'models.py:Needy' raised OSError: no such disk"):
        load_model("models.py:Needy", {"path": "x"})


def write_replies(path: Path, *, skip: int = 0, repeat: bool = False) -> None:
    examples = draw_cell(load_suite("mini-v1"), "reverse", 4)[skip:]
    lines = [json.dumps({"id": each.id, "prompt": each.prompt, "reply": each.target}) for each in examples]
    path.write_text("\n".join([*lines, lines[0]] if repeat else lines) + "\n", encoding="utf-8")


def test_recorded_replies_score_like_a_model(folder: Path) -> None:
    write_replies(folder / "replies.jsonl")
    result = evaluate(load_model("replay:replies.jsonl"), tasks=["reverse"], lengths=[4])
    assert result.cells[0].counts.correct == 256
    assert result.batch_invariance is None
    assert result.system.kind == "replay"


def test_what_is_recorded_of_a_reply_beside_its_text_is_counted(folder: Path) -> None:
    write_replies(folder / "replies.jsonl", skip=4)
    with (folder / "replies.jsonl").open("a") as file:
        file.write('{"id": "reverse-4-0", "reply": "x", "capped": true}\n')
        file.write('{"id": "reverse-4-1", "reply": "", "refused": true}\n')
        file.write(json.dumps({"id": "reverse-4-2", "reply": "x" * 4096, "cut": True, "capped": True}) + "\n")
        file.write(json.dumps({"id": "reverse-4-3", "reply": "x" * 5000}) + "\n")
    counts = evaluate(load_model("replay:replies.jsonl"), tasks=["reverse"], lengths=[4]).cells[0].counts
    assert (counts.correct, counts.cut, counts.capped, counts.refused) == (252, 2, 2, 1)


def test_a_recorded_reply_that_says_it_was_cut_has_the_length_of_one(folder: Path) -> None:
    (folder / "replies.jsonl").write_text('{"id": "reverse-4-0", "reply": "x", "cut": true}\n', encoding="utf-8")
    with pytest.raises(LgbenchError, match=r"'replies.jsonl' is not a reply: a cut reply has 4096 characters"):
        load_model("replay:replies.jsonl")


def test_a_missing_recorded_reply_is_named(folder: Path) -> None:
    write_replies(folder / "replies.jsonl", skip=2)
    with pytest.raises(LgbenchError, match=r"no reply for 'reverse-4-0' and 1 more of its cell"):
        evaluate(load_model("replay:replies.jsonl"), tasks=["reverse"], lengths=[4])


def test_a_repeated_recorded_reply_is_named(folder: Path) -> None:
    write_replies(folder / "replies.jsonl", repeat=True)
    with pytest.raises(LgbenchError, match=r"Line 257 .* repeats the id 'reverse-4-0'"):
        load_model("replay:replies.jsonl")


def test_a_reply_to_no_example_of_the_suite_is_named(folder: Path) -> None:
    write_replies(folder / "replies.jsonl")
    with (folder / "replies.jsonl").open("a") as file:
        file.write('\n{"id": "reverse-4-256", "reply": "x"}\n')
    with pytest.raises(LgbenchError, match=r"replies to 'reverse-4-256', which is not an example of mini-v1"):
        evaluate(load_model("replay:replies.jsonl"), tasks=["reverse"], lengths=[4])


@pytest.mark.parametrize("index", ["9" * 50, "007", "-1", "", "1.0", "٣", "²"])
def test_an_id_whose_number_is_written_in_another_way_is_no_examples(folder: Path, index: str) -> None:
    line = json.dumps({"id": f"reverse-4-{index}", "reply": "x"})
    (folder / "replies.jsonl").write_text(f"{line}\n", encoding="utf-8")
    with pytest.raises(LgbenchError, match=r"replies to 'reverse-4-.*', which is not an example of mini-v1"):
        evaluate(load_model("replay:replies.jsonl"), tasks=["reverse"], lengths=[4])


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (f'{{"id": "reverse-4-{"9" * 5000}", "reply": "x"}}', r"its id has 5,010 characters"),
        (f'{{"id": "reverse-4-1", "reply": "x", "tokens": {"9" * 5000}}}', "too many digits"),
        (f'{{"id": "reverse-4-1", "reply": "{"x" * 1_000_000}"}}', "it has more than 1,000,000 bytes"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_line_that_no_reply_needs_is_refused(folder: Path, line: str, sentence: str) -> None:
    (folder / "replies.jsonl").write_text(f"{line}\n", encoding="utf-8")
    with pytest.raises(LgbenchError, match=f"Line 1 of 'replies.jsonl' is not a reply: .*{sentence}"):
        load_model("replay:replies.jsonl")


def test_replies_are_read_from_a_regular_file_only(folder: Path) -> None:
    os.mkfifo("pipe")
    Path("link.jsonl").symlink_to("/dev/zero")
    for name in ("/dev/zero", "pipe", ".", "link.jsonl"):
        with pytest.raises(LgbenchError, match=r"is not a regular file\. Save the replies to a file"):
            load_model(f"replay:{name}")
    with Path("huge.jsonl").open("wb") as file:
        file.truncate(3_000_000_000)  # takes no room on the disk
    with pytest.raises(LgbenchError, match=r"has 3,000,000,000 bytes; at most 2,000,000,000 are read"):
        load_model("replay:huge.jsonl")
    write_replies(Path("real.jsonl"))
    Path("link.jsonl").unlink()
    Path("link.jsonl").symlink_to("real.jsonl")
    assert load_model("replay:link.jsonl").system.kind == "replay"


def test_an_impossible_number_of_parameters_is_told_before_the_first_prompt(folder: Path) -> None:
    (folder / "models.py").write_text(
        "class Odd:\n    parameters = -5\n    def predict(self, prompts, task): ...\n", encoding="utf-8"
    )
    with pytest.raises(LgbenchError, match="says it has -5 parameters"):
        load_model("models.py:Odd")
