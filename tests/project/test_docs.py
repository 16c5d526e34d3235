"""The pages in docs/ against the package: code blocks run, and tables hold what the data says."""

import doctest
import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import pytest

from lgbench.data.cells import draw_cell, limited_indices
from lgbench.data.groups import TRAINED_ARMS, Group
from lgbench.data.stream import TrainingData
from lgbench.data.suites import SUITES, Cell, load_suite
from lgbench.data.tasks import TASKS, get_task
from lgbench.models.prompting import question
from lgbench.results.schema import PromptStyle
from tests import redraw, regenerate
from tests.philox import philox_words

DOCS = Path(__file__).parents[2] / "docs"
PROTOCOL = (DOCS / "protocol.md").read_text("utf-8")
RANDOMNESS = (DOCS / "randomness.md").read_text("utf-8")
Row = tuple[str, ...]


def marked_blocks() -> list[object]:
    """The Python blocks of every page whose fence says `python run`."""
    return [
        pytest.param(block[1], id=f"{page.stem}-{number}")
        for page in sorted(DOCS.glob("*.md"))
        for number, block in enumerate(re.finditer(r"^```python run\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S))
    ]


@pytest.mark.parametrize("code", marked_blocks())
def test_marked_code_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if "torch" in code or "lgbench.training" in code:
        pytest.importorskip("torch")
    if ">>>" in code:
        session = doctest.DocTestParser().get_doctest(code, {}, "block", None, None)
        assert doctest.DocTestRunner().run(session).failed == 0
    else:
        exec(code, {"__name__": "block"})


def test_every_page_is_listed() -> None:
    listed = set(re.findall(r"\]\(([\w-]+\.md)\)", (DOCS / "README.md").read_text("utf-8")))
    assert listed == {page.name for page in DOCS.glob("*.md")} - {"README.md", "index.md"}


def test_links_between_pages_lead_somewhere() -> None:
    for page in DOCS.glob("*.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text("utf-8")):
            assert (DOCS / target).exists(), f"{page.name} links to {target}"


def tables(header: str) -> list[Row]:
    """The rows of every table of the two pages with this header, cells without their backquotes."""
    found = re.findall(rf"^\| {re.escape(header)} \|\n\|[-|]+\|\n((?:\|.*\|\n)+)", PROTOCOL + RANDOMNESS, re.M)
    assert found, f"no table is headed {header!r}"
    lines = "".join(found).splitlines()
    return [tuple(cell.strip() for cell in line.strip("|").replace("`", "").split(" | ")) for line in lines]


def test_the_table_of_tasks_holds_right_examples_of_every_task() -> None:
    rows = tables("task | prompt | target")
    assert sorted(task for task, _, _ in rows) == sorted(task.name for task in TASKS)
    assert all(get_task(task).solve(prompt) == target for task, prompt, target in rows)


def test_the_generated_parts_of_the_protocol_are_as_the_code_has_them() -> None:
    assert regenerate.with_tables(PROTOCOL) == PROTOCOL
    assert regenerate.with_tables(PROTOCOL.replace("| `rev", "| `ver")) == PROTOCOL


def test_the_shown_question_is_what_a_language_model_is_asked() -> None:
    style = PromptStyle(style="instruct", shots=2, chat=True)
    prompt = draw_cell(load_suite("mini-v1"), "reverse", 4)[0].prompt
    assert f"```\n{question(style, load_suite('mini-v1'), prompt, 'reverse')}\n```" in PROTOCOL


def test_every_page_can_be_reached_from_the_readme() -> None:
    found, waiting = set(), [DOCS.parent / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in found or page.suffix != ".md":
            continue
        found.add(page)
        targets = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text("utf-8"))
        waiting += [(page.parent / target).resolve() for target in targets]
    assert set(DOCS.glob("*.md")) - {DOCS / "index.md"} <= found


def test_every_task_has_its_rule_on_the_page() -> None:
    rules = re.findall(r"^- ((?:`\w+`(?:, )?)+)", PROTOCOL, re.M)
    named = [name for rule in rules for name in re.findall(r"\w+", rule)]
    assert {task.name for task in TASKS} <= set(named)


def test_the_table_of_groups() -> None:
    """Those of every suite, each once. Which suite has which, the tables of suites say."""
    groups = [group for suite in SUITES for group in suite.groups]
    rows = [(group.name, group.main, ", ".join(group.auxiliaries), group.control) for group in groups]
    assert tables("group | main | auxiliaries | control") == list(dict.fromkeys(rows))


def test_the_tables_of_suites() -> None:
    rows = [(suite.name, str(suite.examples_per_cell), str(len(suite.cells()))) for suite in SUITES]
    assert tables("suite | examples a cell | test cells") == rows
    described: dict[tuple[str, str], Row] = {}
    for suite, groups, *lengths in tables("suite | groups | main length | auxiliary length | grid"):
        for group in groups.split(", "):
            described[suite, group] = tuple(lengths)
    assert described == {(suite.name, group.name): lengths_of(group) for suite in SUITES for group in suite.groups}


def lengths_of(group: Group) -> Row:
    first, second, *_, last = group.grid
    assert group.grid == tuple(range(first, last + 1, second - first))
    return str(group.main_length), str(group.aux_length), f"{first}, {second}, ..., {last}"


def test_the_table_of_arms() -> None:
    """Spelled out for every group, from the words of the table."""
    rows = tables("arm | main task: up to, share | other tasks: up to, share")
    assert [arm for arm, *_ in rows] == list(TRAINED_ARMS)
    for group in load_suite("standard-v1").groups:
        count = len(group.auxiliaries)
        terms = {"main length": group.main_length, "auxiliary length": group.aux_length}
        shares = {"1": Fraction(1), "1/(n+1)": Fraction(1, count + 1), "n/(n+1)": Fraction(count, count + 1)}
        parties = {"each auxiliary": group.auxiliaries, "the control": (group.control,)}
        for arm, main, others in rows:
            spelled = [(group.main, main)]
            if others != "none":
                party, term = others.split(": ")
                spelled += [(task, term) for task in parties[party]]
            parts = [(part.task, part.max_length, part.share) for part in group.mixture(arm).parts]
            assert parts == [(task, terms[term.split(", ")[0]], shares[term.split(", ")[1]]) for task, term in spelled]


def test_the_keys_on_the_page_draw_the_data() -> None:
    keys = {row[0]: row[1] for row in tables("what is drawn | key")}
    suite, task = load_suite("mini-v1"), "string_copy"
    arm = "string_copy@1:8:1/2,mqar@1:16:1/2"
    assert f"`{arm}`" in RANDOMNESS
    names = {"SUITE": suite.name, "SPLIT": "dev", "TASK": task, "VERSION": "1", "LENGTH": "8", "ARM": arm, "N": "3"}

    def words(what: str) -> Iterator[int]:
        return philox_words("/".join(names.get(part, part) for part in keys[what].split("/")))

    cell = [example.prompt for example in draw_cell(suite, task, 8, split="dev")]
    assert cell == redraw.draw_strings(words("a cell of test, dev or shots"), 8, len(cell))
    block = TrainingData(suite, suite.group("copy-mqar").mixture("transfer").parts).block(3)
    picks = redraw.take(words("tasks and lengths of training block N"), len(block), 2)
    assert [example.task for example in block] == [("string_copy", "mqar")[pick] for pick in picks]
    drawn = [example.prompt for example in block if (example.task, example.length) == (task, 8)]
    assert drawn == redraw.draw_strings(words("prompts of a task and length in block N"), 8, len(drawn))
    order = list(islice(words("which examples --limit keeps"), suite.examples_per_cell))
    first = sorted(range(len(order)), key=order.__getitem__)[:5]
    assert limited_indices(suite, Cell(task, 8), 5) == sorted(first)
