"""The submitted runs of the reference systems: what docs/reproduction.md says of them is what their files hold."""

from __future__ import annotations

import json
import re
import statistics
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest

from lgbench.data.cells import draw_cell
from lgbench.data.suites import Cell, load_suite
from lgbench.data.task import Example
from lgbench.evaluation.rescoring import rescore
from lgbench.results.schema import Result
from lgbench.scoring.comparison import same_experiment
from lgbench.scoring.measures import counts_by_task, zone_accuracy
from lgbench.scoring.significance import holm
from lgbench.scoring.systems import score_trained
from lgbench.util.records import read_record
from tests import reproduction
from tests.regenerate import with_parts

ROOT = Path(__file__).parents[2]
# What a machine decides; the rest is the preset's.
BY_MACHINE = {"precision"}
ARMS = ("main_only", "transfer", "control", "direct")
RUNS = sorted(path for path in (ROOT / "submissions").glob("reference-*/*") if path.is_dir())
OF_MINI = [path for path in RUNS if path.parent.name != "reference-tuned"]


def test_the_table_is_what_the_board_says() -> None:
    """After a change of the board, `python -m tests.reproduction` writes it anew."""
    page = reproduction.PAGE.read_text("utf-8")
    assert with_parts(page, reproduction.tables()) == page
    assert with_parts(page.replace("| `copy-mqar` | `ref", "| `copy-mqar` | `fer"), reproduction.tables()) == page


def test_the_two_systems_are_told_apart_in_no_group() -> None:
    scores = {}
    for system in ("reference-rope", "reference-nope"):
        results = [read_record(run / "result.json", Result) for run in RUNS if run.parent.name == system]
        scores[system] = {
            group.group.name: group.score for group in score_trained(results, load_suite("mini-v1")).groups
        }
    rope, nope = scores.values()
    p_values = {name: (mine - theirs).p_value for name, theirs in nope.items() if theirs and (mine := rope[name])}
    text = " ".join((ROOT / "docs" / "reproduction.md").read_text("utf-8").split())
    least, *others = sorted(p for p in p_values.values() if p is not None)
    assert p_values["add-subtract"] == least
    assert f"is {least:.2f} in `add-subtract`, {others[0]:.2f} to {others[-1]:.2f} in the others" in text
    assert len(others) == 3
    assert min(holm([least, *others])) > 0.05


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_no_reply_depends_on_its_batch(folder: Path) -> None:
    result = read_record(folder / "result.json", Result)
    assert result.batch_invariance is not None
    assert result.batch_invariance.changed == 0


def test_the_empty_replies_told_are_those_of_the_runs() -> None:
    def ends(system: str, arm: str) -> tuple[int, int, int]:
        """Empty, wrong and all replies to the main task in the transfer zone, all seeds together."""
        folders = (ROOT / "submissions" / system).glob(f"mini-v1-capitalize-reverse-{arm}-seed*")
        zone = load_suite("mini-v1").group("capitalize-reverse").zone_lengths("transfer")
        counts = [counts_by_task(rescore(folder).result)["capitalize_reverse"] for folder in folders]
        cells = [of_run[length] for of_run in counts for length in zone]
        totals = sum(cell.total - cell.correct for cell in cells), sum(cell.total for cell in cells)
        return sum(cell.empty or 0 for cell in cells), *totals

    text = " ".join((ROOT / "docs" / "reproduction.md").read_text("utf-8").split())
    empty, wrong, total = ends("reference-nope", "transfer")
    wrong_text, empty_text, total_text = (f"{number:,}".replace(",", " ") for number in (wrong, empty, total))
    share = f"{100 * empty / total:.0f} % of all {total_text}"
    assert f"Of the {wrong_text} wrong replies of `transfer` in the zone {empty_text} are empty, {share}" in text
    others = ends("reference-rope", "transfer")[0], ends("reference-nope", "main_only")[0]
    assert "(with RoPE {}, under `main_only` {})".format(*others) in text


def test_every_main_task_is_learned_alone() -> None:
    """In the mean of its seeds; docs/settings.md names the runs that have less."""
    learned: dict[tuple[str, str], dict[int, Fraction]] = {}
    for folder in (run for run in RUNS if "-main_only-" in run.name):
        result = read_record(folder / "result.json", Result)
        assert result.group is not None
        assert result.seed is not None
        share = zone_accuracy(result, load_suite(result.suite).group(result.group).main, "in_distribution")
        assert share is not None
        learned.setdefault((folder.parent.name, result.group), {})[result.seed] = share
    assert all(statistics.mean(shares.values()) >= Fraction(95, 100) for shares in learned.values())
    below = {
        (system, group, seed): share
        for (system, group), shares in learned.items()
        for seed, share in shares.items()
        if share < Fraction(95, 100)
    }
    text = " ".join((ROOT / "docs" / "settings.md").read_text("utf-8").split())
    told = re.findall(r"`([\w-]+)` seed (\d) with (\d+) %", text)
    assert told == [(group, str(seed), f"{100 * float(share):.0f}") for (_, group, seed), share in below.items()]


def test_characters_right_are_those_of_the_runs() -> None:
    text = (ROOT / "docs" / "reproduction.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z-]+)`, `(\w+)` \| ([\d |]+) \|$", text, flags=re.MULTILINE)
    assert len(rows) == 8
    for group, arm, numbers in rows:
        folder = ROOT / "submissions" / "reference-rope" / f"mini-v1-{group}-{arm}-seed0"
        result = read_record(folder / "result.json", Result)
        main = load_suite(result.suite).group(group).main
        counts = [cell.counts for cell in result.cells if cell.task == main]
        assert numbers.split(" | ") == [f"{100 * each.chars_correct / each.chars_total:.0f}" for each in counts]


@pytest.mark.parametrize("system", reproduction.SYSTEMS)
def test_a_system_says_what_was_run(system: str) -> None:
    pytest.importorskip("torch")
    from lgbench.training.record import read_training_record

    told = json.loads((ROOT / "submissions" / system / "system.json").read_text("utf-8"))
    runs = [folder for folder in RUNS if folder.parent.name == system]
    records = [read_training_record(folder) for folder in runs]
    for record in records:
        assert f"{record.parameters / 1e6:.2f} million" in told["training_notes"]
        assert re.search(rf"\b{record.plan.settings.layers}\b", told["description"])


def test_the_page_says_how_long_training_took() -> None:
    pytest.importorskip("torch")
    from lgbench.training.record import read_training_record

    text = (ROOT / "docs" / "reproduction.md").read_text("utf-8")
    records = [read_training_record(folder) for folder in OF_MINI]
    minutes = [round(record.seconds / 60) for record in records]
    assert f"in {min(minutes)} to {max(minutes)} minutes a run" in " ".join(text.split())


def test_training_says_how_long_the_runs_of_a_domain_took() -> None:
    pytest.importorskip("torch")
    from lgbench.training.record import read_training_record

    records = [read_training_record(folder) for folder in OF_MINI]
    text = (ROOT / "docs" / "training.md").read_text("utf-8")
    rows = re.findall(r"^\| (`[^|]*`) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", text, flags=re.MULTILINE)
    assert sum(int(row[1]) for row in rows) == len(records)
    for groups, *figures in rows:
        minutes = [round(each.seconds / 60) for each in records if f"`{each.plan.group}`" in groups]
        expected = (len(minutes), statistics.median_low(minutes), min(minutes), max(minutes))
        assert tuple(map(int, figures)) == expected


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_a_run_was_trained_as_the_preset_says_today(folder: Path) -> None:
    pytest.importorskip("torch")
    from lgbench.training.record import read_training_record
    from lgbench.training.spec import Recipe

    record = read_training_record(folder)
    result = read_record(folder / "result.json", Result)
    assert record.finished
    assert record.parameters == result.system.parameters
    suite = load_suite(result.suite)
    assert result.group is not None
    changes = ["position=nope"] if folder.parent.name == "reference-nope" else []
    plan = Recipe(suite, record.plan.preset, changes).plan(result.group, result.arm, record.plan.seed)
    assert record.plan.settings.model_dump(exclude=BY_MACHINE) == plan.settings.model_dump(exclude=BY_MACHINE)
    assert record.plan.model_copy(update={"settings": plan.settings}) == plan
    assert record.plan.seed == result.seed


def test_the_records_of_the_older_systems_are_kept_twice_alike() -> None:
    kept = ROOT / "docs" / "runs"
    for record in kept.rglob("training.json"):
        submitted = ROOT / "submissions" / record.relative_to(kept)
        assert json.loads(record.read_text("utf-8")) == json.loads(submitted.read_text("utf-8"))


def target_nodes(example: Example) -> int:
    return example.target.count("[")


@pytest.mark.slow
def test_longer_answers_in_mazes_are_counted_as_the_runs_have_them() -> None:
    text = (ROOT / "docs" / "reproduction.md").read_text("utf-8")
    rows = re.findall(r"^\| `(maze-\w+)`, `(\w+)` \| (\d+) of (\d+) \| (\d+) of (\d+) \|$", text, flags=re.MULTILINE)
    assert len(rows) == 6
    suite = load_suite("mini-v1")
    for name, arm, *told in rows:
        group = suite.group(name)
        lengths = [length for length in group.grid if length <= group.aux_length]
        cells = {length: draw_cell(suite, group.main, length) for length in lengths}
        known = [length for length in lengths if length <= group.main_length]
        longest = max(target_nodes(example) for length in known for example in cells[length])
        found = Counter[tuple[bool, bool]]()
        for folder in (ROOT / "submissions" / "reference-rope").glob(f"mini-v1-{name}-{arm}-seed*"):
            run = rescore(folder)
            for length in lengths[len(known) :]:
                right = run.correct[Cell(group.main, length)].tolist()
                pairs = zip(cells[length], right, strict=True)
                found.update((target_nodes(example) > longest, is_right) for example, is_right in pairs)
        expected = [(found[longer, True], found[longer, True] + found[longer, False]) for longer in (False, True)]
        assert [int(number) for number in told] == [number for pair in expected for number in pair]


@pytest.mark.slow
def test_the_protocol_says_how_many_maze_targets_are_longer() -> None:
    text = " ".join((ROOT / "docs" / "protocol.md").read_text("utf-8").split())
    shares = []
    for suite in map(load_suite, ("mini-v1", "standard-v1")):
        for group in (suite.group("maze-path"), suite.group("maze-trace")):
            sizes = {
                length: [target_nodes(each) for each in draw_cell(suite, group.main, length)] for length in group.grid
            }
            longest = max(max(sizes[length]) for length in group.grid if length <= group.main_length)
            zone = [
                size
                for length in group.grid
                if group.main_length < length <= group.aux_length
                for size in sizes[length]
            ]
            shares.append(f"{100 * sum(size <= longest for size in zone) / len(zone):.0f}")
    path, trace, standard_path, standard_trace = shares
    assert f"In the transfer zone {path} % of the targets of `shortest_path`" in text
    assert f"and {trace} % of those of `dfs_trace` (`standard-v1`: {standard_path} and {standard_trace} %)" in text


def test_the_page_says_what_each_arm_read() -> None:
    pytest.importorskip("torch")
    from lgbench.training.record import read_training_record

    text = (ROOT / "docs" / "reproduction.md").read_text("utf-8")
    (heading,) = [
        *re.finditer(r"^\| group \| `main_only` \| `transfer` \| `control` \| `direct` \|$", text, flags=re.MULTILINE)
    ]
    rows = re.findall(r"^\| `([\w-]+)` \| (.*) \|$", text[heading.end() :].partition("\n\n")[0], flags=re.MULTILINE)
    suite = load_suite("mini-v1")
    assert [name for name, _ in rows] == [group.name for group in suite.groups]
    for name, numbers in rows:
        for arm, told in zip(ARMS, numbers.split(" | "), strict=True):
            ran = same_experiment(suite, arm, suite.group(name))[0]
            folder = ROOT / "docs" / "runs" / "reference-rope" / f"mini-v1-{ran.name}-{arm}-seed0"
            if told == "-":
                assert not folder.exists()
                continue
            record = read_training_record(folder)
            assert told == f"{record.tokens / 1e6:.1f} / {record.target_tokens / 1e6:.1f}"


def test_studies_say_when_the_auxiliaries_of_tuned_were_mastered() -> None:
    pytest.importorskip("torch")
    from lgbench.experiments.halving import see
    from lgbench.training.record import read_training_record

    text = (ROOT / "studies" / "README.md").read_text("utf-8")
    section = text[text.index("### The preset with five seeds") :]
    group, lists = "", 0
    for name, arm, told, mastered in re.findall(
        r"^\| (?:`([\w-]+)`)? ?\| `(\w+)` \| ([^|]+) \| ([\d, ]*?) ?\|$", section, flags=re.MULTILINE
    ):
        group, lists = name or group, lists + 1
        folders = [ROOT / "submissions" / "reference-tuned" / f"mini-v1-{group}-{arm}-seed{seed}" for seed in range(5)]
        results = [read_record(folder / "result.json", Result) for folder in folders]
        main = load_suite("mini-v1").group(group).main
        shares = [zone_accuracy(result, main, "in_distribution") for result in results]
        shown = [f"{100 * float(share or 0):.1f}".removesuffix(".0") for share in shares]
        assert told in (", ".join(shown), "100 in each")
        assert told != "100 in each" or set(shown) == {"100"}
        records = [read_training_record(folder) for folder in folders]
        seen = [see(record, until=record.plan.settings.steps).mastered for record in records]
        assert mastered == ", ".join(f"{100 * float(each):.0f}" for each in seen if each is not None)
    assert lists == 8
