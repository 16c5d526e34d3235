"""The board: its order, its numbers by another route, its text escaped."""

import html
import json
import random
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from lgbench.leaderboard import board
from lgbench.leaderboard.build import derive_files
from lgbench.leaderboard.markdown import escape, table
from lgbench.results.schema import PromptStyle, Result, SystemInfo
from lgbench.submissions.checked import Submission, SubmittedRun
from lgbench.submissions.system import SystemRecord
from tests.made_up import MINI, group_results, make_result

ROOT = Path(__file__).parents[2]
GROUPS = [group.name for group in MINI.groups]
RENDER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def made_up(name: str, runs: Sequence[Result], **fields: object) -> Submission:
    record: dict[str, object] = {
        "name": name,
        "description": "Made up.",
        "authors": ("A",),
        "link": None,
        "licence": "MIT",
        "parameters": None,
        "training_notes": "",
    }
    submitted = (SubmittedRun(f"run-{number:03}", run) for number, run in enumerate(runs))
    return Submission(system=SystemRecord.model_validate(record | fields), runs=tuple(submitted))


def everywhere(right: Mapping[str, Sequence[int]]) -> list[Result]:
    return [run for group in GROUPS for run in group_results(group, right)]


def tables(text: str) -> list[list[dict[str, str]]]:
    """Every table of a page as rows by column, read from the Markdown source. No-break spaces become blanks."""
    text = text.replace("\N{NO-BREAK SPACE}", " ")
    found: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in line.strip("|").split(" |")])
        elif found[-1]:
            found.append([])
    return [[dict(zip(rows[0], row, strict=True)) for row in rows[2:]] for rows in found if rows]


def test_the_empty_board_says_so() -> None:
    files = derive_files([])
    assert set(files) == {"README.md", "board.json", "board.schema.json", "cells.csv"}
    assert json.loads(files["board.json"]) == {
        "format": "lgbench-board",
        "schema_version": 1,
        "systems": [],
        "suites": [],
    }
    assert "No system has been submitted yet. [Submit the first](../docs/submitting.md)." in files["README.md"]


def names(rows: Sequence[Mapping[str, str]]) -> list[str]:
    return [row["system"].partition("]")[0][1:] for row in rows]


@pytest.mark.slow
def test_systems_are_ranked_from_five_seeds_on_by_score_in_places_that_a_test_tells_apart() -> None:
    def five(right: int) -> list[Result]:
        return everywhere({"main_only": [0], "transfer": [right - 4, right - 2, right, right + 2, right + 4]})

    systems = {
        "best": five(220),
        "tied-b": five(100),
        "tied-a": five(100),
        "not-told-apart": five(101),
        "four-seeds-in-one-group": [
            run for run in five(250) if (run.group, run.arm, run.seed) != (GROUPS[2], "transfer", 0)
        ],
        "three-seeds": everywhere({"main_only": [0], "transfer": [240, 230, 220]}),
        "two-seeds": everywhere({"main_only": [0], "transfer": [256, 255]}),
        "fewer-groups": [run for run in five(200) if run.group != GROUPS[0]],
    }
    files = derive_files([made_up(name, runs) for name, runs in systems.items()])
    page = files["README.md"]
    ranked, _, few_seeds, more, elsewhere, more_elsewhere, by_group = tables(page)
    assert names(ranked) == ["best", "not-told-apart", "tied-a", "tied-b"]
    assert [row["#"] for row in ranked] == ["1", "2-4", "2-4", "2-4"]
    assert names(few_seeds) == ["four-seeds-in-one-group", "three-seeds", "two-seeds"]
    assert [row["system"].endswith(r"\*") for row in few_seeds] == [False, False, True]
    assert [row["seeds"] for row in more] == ["4 to 5", "3", "2"]
    assert names(elsewhere) == ["fewer-groups"]
    assert more_elsewhere[0]["groups"] == "6"
    assert names(by_group) == [*names(ranked), *names(few_seeds), *names(elsewhere)]
    assert by_group[-1][GROUPS[0]] == "-"
    listed = json.loads(files["board.json"])["suites"][0]["trained"]
    assert [(each["system"], each["coverage"], each["first_place"], each["last_place"]) for each in listed] == [
        ("best", "ranked", 1, 1),
        ("not-told-apart", "ranked", 2, 4),
        ("tied-a", "ranked", 2, 4),
        ("tied-b", "ranked", 2, 4),
        *((name, "few_seeds", None, None) for name in names(few_seeds)),
        ("fewer-groups", "fewer_groups", None, None),
    ]
    assert not {"#"} & {*few_seeds[0], *elsewhere[0]}
    assert "fewer groups" in page
    assert "with fewer than 5 seeds" in page


def test_the_numbers_of_a_row_by_hand() -> None:
    runs = everywhere({"main_only": [0, 64], "transfer": [256, 128, 231]})
    runs += group_results("add-carry", {"control": [96]}) + group_results("maze-path", {"control": [32]})
    page = derive_files([made_up("mine", runs, parameters=1234567)])["README.md"]
    (row,), (more,), (cells,) = tables(page)
    row |= more
    mean = 100 * statistics.mean([256, 128, 231]) / 256
    # Seven groups alike: Welch and Satterthwaite's degrees are 7 * 2, where Student's t has 2.145 at 97.5 %.
    reach = 2.145 * 100 * statistics.stdev([1, 0.5, 231 / 256]) / 3**0.5 / 7**0.5
    assert row["transfer score"] == f"{mean:.1f} [{mean - reach:.1f}, {mean + reach:.1f}]"
    assert row["mean of domains"].startswith(f"{mean:.1f} [")
    assert row["transfer gain"].startswith(f"+{mean - 12.5:.1f} [")
    assert row["control gain"].startswith("+12.5 [")
    assert row["control gain"].endswith("† (n=2)")
    assert row["in-distribution"] == row["beyond"] == f"{mean:.1f}"
    assert row["success rate"] == "66.7"
    assert row["best seed"] == "100"
    assert (row["groups"], row["seeds"], row["transfer seen"]) == ("7", "3", "0 of 7")
    assert (row["parameters"], row["tier"]) == ("1.23M", "self-reported")
    words = cells["add-carry"].split("<br>")[1:]
    assert words == [f"{mean:.1f}", f"+{mean - 12.5:.1f}", "few seeds"]
    assert "† Some arm has one seed" in page
    assert "‡" not in page
    assert "(n=2): the mean is over 2 of the groups or domains" in page
    assert not re.findall(r"\(n=[^2]", page), "a note on another number"


def test_a_front_page_shows_the_first_rows_of_a_long_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "MOST_ROWS", 2)
    runs = group_results("copy-mqar", {"main_only": [1], "transfer": [2]})
    opened = make_result(lambda cell: 3)
    files = derive_files([made_up(name, [*runs, opened]) for name in ("a", "b", "c")])
    assert [len(rows) for rows in tables(files["README.md"])] == [2] * 5
    assert files["README.md"].count("These are the first 2 of 3 systems.") == 3
    assert [name for name in files if name.endswith("-small.svg")] == [
        name for name in files if name.endswith("-small.svg") and name.startswith(("systems/a/", "systems/b/"))
    ]
    assert "systems/c/mini-v1-copy-mqar.svg" in files
    assert [each["system"] for each in json.loads(files["board.json"])["suites"][0]["trained"]] == ["a", "b", "c"]


@pytest.mark.parametrize(("seeds", "seen"), [(3, "0 of 7, 6 consistent"), (5, "6 of 7")])
def test_the_front_page_counts_the_groups_where_transfer_was_seen(seeds: int, seen: str) -> None:
    low, high = [10 + seed for seed in range(seeds)], [200 + seed for seed in range(seeds)]
    runs = everywhere({"main_only": low, "transfer": high, "control": low})
    runs = [run for run in runs if (run.group, run.arm) != ("copy-mqar", "control")]
    page = derive_files([made_up("mine", runs)])["README.md"]
    assert tables(page)[0][0]["transfer seen"] == seen
    word = "**seen**" if seeds == 5 else "consistent"
    verdicts = [cell.rpartition("<br>")[2] for cell in list(tables(page)[-1][0].values())[1:]]
    assert verdicts == [word] * 3 + ["not testable"] + [word] * 3


def test_the_page_of_a_system_has_a_verdict_for_each_group() -> None:
    low, high = [10, 11, 12, 13, 14], [200, 201, 202, 203, 204]
    arms = {
        "add-carry": {"main_only": low, "transfer": high, "control": low, "short_aux": low},
        "copy-mqar": {"main_only": low, "transfer": high, "control": low},
        "capitalize-reverse": {"main_only": low[:3], "transfer": high, "control": high},
        "maze-path": {"main_only": [0, 0], "transfer": [256, 256]},
    }
    runs = [
        make_result(
            lambda cell, right=right: right if cell.length > 8 and cell.task in MINI.main_tasks else 256,  # type: ignore[misc]
            arm=arm,
            group=group,
            seed=seed,
        )
        for group, of_group in arms.items()
        for arm, numbers in of_group.items()
        for seed, right in enumerate(numbers)
    ]
    page = derive_files([made_up("mine", runs)])["systems/mine.md"]
    sections = page.split("### ")[1:]
    verdicts = [re.findall("^(Verdict.*|- .*|‡)", section, flags=re.MULTILINE) for section in sections]
    least = "p = 0.004 over `main_only`, p = 0.004 over `control`"
    assert verdicts == [
        [f"Verdict: **seen** ({least}, p = 0.004 over `short_aux`, p = 0.012 after Holm's correction for 3 groups)."],
        [f"Verdict: **seen** ({least}, p = 0.012 after Holm's correction for 3 groups)."],
        [
            "Verdict: **not seen** (p = 0.018 over `main_only`, p = 0.587 over `control`).",
            "- the gain over control is below 5 points",
        ],
        [
            "Verdict: **not testable** (p = 0.167 over `main_only`).",
            "- neither control nor short_aux ran, so long inputs alone may be why",
            "‡",
        ],
    ]
    assert ["gain over short_aux" in section for section in sections] == [True, False, False, False]


@pytest.mark.parametrize(
    ("stated", "counted", "shown"),
    [
        (None, [300, 1000, 2000], "300 to 2,000"),
        (None, [1000, None], "1,000"),
        (None, [None], "-"),
        (7, [1000, 2000], "7"),
    ],
)
def test_parameters_are_counted_where_they_are_not_stated(
    stated: int | None, counted: Sequence[int | None], shown: str
) -> None:
    systems = [SystemInfo(model="m.py:M", kind="file", parameters=parameters) for parameters in counted]
    runs = [
        make_result(lambda _: 1, group="copy-mqar", arm=arm, seed=seed, system=system)
        for seed, system in enumerate(systems)
        for arm in ("main_only", "transfer")
    ]
    files = derive_files([made_up("mine", runs, parameters=stated)])
    row = tables(files["README.md"])[0][0]
    short = {"300 to 2,000": "300 to 2K", "1,000": "1K"}
    assert row["parameters"] == short.get(shown, shown)
    assert f"Parameters: {'unknown' if shown == '-' else shown}." in files["systems/mine.md"]


def test_an_open_system() -> None:
    right = {"reverse_add": 256, "string_copy": 128}
    run = make_result(lambda cell: right.get(cell.task, 0) if cell.length < 20 else 0)
    files = derive_files([made_up("opened", [run]), made_up("better", [make_result(lambda cell: 200)])])
    ranked, by_task = tables(files["README.md"])
    assert not {"†", "seed", "\\*"} & {mark for mark in ("†", "seed", "\\*") if mark in files["README.md"]}
    assert [row["system"] for row in ranked] == ["[better](systems/better.md)", "[opened](systems/opened.md)"]
    assert ranked[1]["open score"].startswith("30.0 [")
    assert list(by_task[0]) == ["system", *MINI.main_tasks]
    assert [cell.split("<br>")[1:] for cell in list(by_task[1].values())[1:3]] == [
        ["100", "18 / 18"],
        ["50.0", "<2 / 18"],
    ]
    of_tasks, by_length, _ = tables(files["systems/opened.md"])
    assert {row["task"]: row["H90 / H50"] for row in of_tasks}["node_list"] == "<4 / <4"
    ends = {"wrong": "0 of 1,024", "empty": "0", "early": "0", "late": "0"}
    assert of_tasks[0] == {"task": "reverse_add", "H90 / H50": "18 / 18"} | ends
    assert by_length[0]["18"] == "100"
    assert by_length[0]["20"] == "0"
    assert by_length[0]["24"] == ""


def test_the_board_says_how_a_language_model_was_asked() -> None:
    styles = [
        None,
        PromptStyle(style="raw", template="<{task}>|{prompt}"),
        PromptStyle(style="instruct", shots=2, chat=True),
    ]
    systems = [SystemInfo(model="hf:m", kind="hf", prompt=style) for style in styles]
    made = [
        made_up(f"model-{number}", [make_result(lambda _: 9, system=system)]) for number, system in enumerate(systems)
    ]
    files = derive_files(made)
    ranked, _ = tables(files["README.md"])
    assert [row["#"] for row in ranked] == ["1", "1", "1"], "equal scores"
    assert [row["asked"] for row in ranked] == ["-", "raw", "instruct, 2 shots"]
    pages = [html.unescape(files[f"systems/model-{number}.md"].replace("\\", "")) for number in range(3)]
    asked = [re.findall(r"^Asked in (.*)$", page, flags=re.MULTILINE) for page in pages]
    assert asked == [[], ["style raw, template '<{task}>|{prompt}'."], ["style instruct in a chat, 2 worked examples."]]


def test_every_accuracy_by_length_stands_on_the_system_page() -> None:
    numbers = random.Random(0)
    runs = [
        make_result(lambda cell: numbers.randrange(257), arm=arm, group="capitalize-reverse", seed=seed)
        for arm in ("main_only", "transfer", "control", "direct")
        for seed in (0, 3)
    ]
    page = derive_files([made_up("mine", runs)])["systems/mine.md"]
    overview, arms, gains, _, by_length, _ = tables(page)
    assert overview[0]["group"] == "[capitalize-reverse](#mini-v1-capitalize-reverse)"
    assert "### mini-v1: capitalize-reverse" in page
    shown = {
        (row["task"], row["arm"], row["seed"], length): row[length] for row in by_length for length in list(row)[3:]
    }
    expected = {
        (cell.task, run.arm, str(run.seed), str(cell.length)): {0: "0", 256: "100"}.get(
            cell.counts.correct, f"{cell.counts.correct / 2.56:.1f}"
        )
        for run in runs
        for cell in run.cells
    }
    assert shown == expected
    assert [row["arm"] for row in arms] == ["main_only", "transfer", "control", "direct"]
    assert set(gains[0]) == {"transfer gain", "control gain", "gain over control", "recovered share"}


def test_a_shared_main_only_run_stands_in_both_groups() -> None:
    runs = group_results("add-carry", {"main_only": [3], "transfer": [4]}) + group_results(
        "add-subtract", {"transfer": [5]}
    )
    page = derive_files([made_up("mine", runs)])["systems/mine.md"]
    arms = [rows for rows in tables(page) if rows[0].get("H90 / H50")]
    assert [[row["arm"] for row in rows] for rows in arms] == [["main_only", "transfer"]] * 2


visible = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=60)


@given(visible)
def test_escaped_text_is_shown_as_it_is(text: str) -> None:
    shown = " ".join(text.split())
    inline = RENDER.renderInline(escape(text))
    assert "<" not in inline
    assert html.unescape(inline) == shown
    cells = RENDER.render(table([{"a": f"x{escape(text)}x", "b": "1"}])).split("<td")
    assert len(cells) == 3
    assert html.unescape(cells[1].partition(">")[2].partition("</td>")[0]) == f"x{shown}x"


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[click](javascript:alert(1))",
        "![x](https://example.org/x.png)",
        "a | b",
        "<!-- -->",
        "&lt;b&gt; &#60;",
        "`code` **bold** ~~gone~~ $x$",
        "https://example.org <mailto:a@example.org>",
        "\\[x\\](y)",
    ],
)
def test_no_field_of_a_record_can_bring_markup(text: str) -> None:
    fields: dict[str, object] = {"description": text, "authors": (text, text), "licence": text}
    fields |= {"training_notes": f"{text}\n\n# {text}", "link": "https://e.org/?a=1&copy=2"}
    runs = group_results("copy-mqar", {"main_only": [3], "transfer": [4]})
    page = RENDER.render(derive_files([made_up("mine", runs, **fields)])["systems/mine.md"])
    plain = RENDER.render(derive_files([made_up("mine", runs, training_notes="x\ny")])["systems/mine.md"])

    def tags(page: str) -> list[str]:
        return [part.partition(">")[0] for part in page.split("<")[1:]]

    outside = [tag for tag in tags(page) if not tag.startswith('a href="https://e.org') and tag != "/a"]
    assert sorted(set(outside)) == sorted(set(tags(plain)) - {"/a"})
    assert page.count("<h1>") == 1
    assert page.count('<a href="https://e.org/?a=1&amp;copy=2">') == 1
    shown = html.unescape(page)
    assert shown.count(text) >= 5


def test_the_order_and_the_place_of_submissions_change_no_byte() -> None:
    runs = group_results("maze-path", {"main_only": [1, 2], "transfer": [3, 250]})
    one, other = made_up("a", runs), made_up("b", runs[::-1])
    assert derive_files([one, other]) == derive_files([other, one])
