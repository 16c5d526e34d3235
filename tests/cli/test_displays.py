"""What evaluation and training show in a terminal while they work."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console
from rich.progress import BarColumn, Task
from rich.text import Text

from lgbench.cli._console import say
from lgbench.cli._progress import BarWithLine, TimeLeft, _Lines, counting, reporter
from lgbench.cli._tables import print_parts
from lgbench.data.suites import Cell, load_suite
from lgbench.evaluation.loop import Progress
from lgbench.results.schema import Usage
from lgbench.util.counting import counted
from lgbench.util.tables import Table

STRINGS = load_suite("mini-v1").group("capitalize-reverse")


class Terminal:
    """A terminal that remembers all that was ever written to it."""

    def __init__(self, width: int) -> None:
        self._file = io.StringIO()
        self._width = width

    def console(self, **_: Any) -> Console:
        """In the place of `PlainConsole`."""
        return Console(file=self._file, force_terminal=True, width=self._width, legacy_windows=False, _environ={})

    @property
    def lines(self) -> list[str]:
        """What was shown, without colours and movements of the cursor."""
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._file.getvalue())
        return [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def shown(monkeypatch: pytest.MonkeyPatch, progress: Progress, *, width: int = 100, again: bool = True) -> list[str]:
    terminal = Terminal(width)
    monkeypatch.setattr("lgbench.cli._progress.PlainConsole", terminal.console)
    with reporter(quiet=False, again=again) as show:
        assert show is not None
        show(progress)
    return terminal.lines


def test_a_name_between_colons_is_no_picture(capsys: pytest.CaptureFixture[str]) -> None:
    print_parts([Table("m.py:M: by length", ("model.py:M:", "a:x:"), [("b:o:", ":+1:")]), "c:M:d"])
    assert {"m.py:M:", "model.py:M:", "a:x:", "b:o:", ":+1:", "c:M:d"} <= set(capsys.readouterr().out.split())


def test_nothing_is_said_of_the_time_left_before_or_after_it_means_something() -> None:
    now = [0.0]
    left = TimeLeft()
    bar = BarWithLine(left, get_time=lambda: now[0])
    row = bar.add_task("", total=100)
    task = bar.tasks[0]
    seen = []
    for moment, done in ((1.0, 20), (6.0, 40), (9.0, 60), (20.0, 100)):
        now[0] = moment
        bar.update(row, completed=done)
        seen.append(str(left.render(task)))
    assert seen[0] == seen[-1] == ""
    assert re.fullmatch(r"0:00:\d\d", seen[2])


def make_progress(*, done: int, usage: Usage | None = None) -> Progress:
    return Progress(
        cell=Cell("reverse", 6), cell_number=2, cell_count=4, cell_done=done - 256, cell_total=256,
        cell_correct=0, done=done, total=1024, correct=192, resumed=0, usage=usage,
    )  # fmt: skip


@pytest.mark.parametrize("width", [60, 160])
def test_tokens_and_cost_are_shown_live(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """Below the bar: beside it a narrow terminal has no room for them."""
    usage = Usage(prompt_tokens=1_234_567, completion_tokens=89_012, cost=3.5)
    lines = shown(monkeypatch, make_progress(done=384, usage=usage), width=width)
    assert lines[-1] == "1,234,567 tokens read, 89,012 written, cost 3.5000"
    assert lines[-2].startswith("reverse 6 (2/4)")
    assert shown(monkeypatch, make_progress(done=384), width=width)[-1].startswith("reverse 6 (2/4)")


def test_a_bar_shows_what_is_done_and_right(monkeypatch: pytest.MonkeyPatch) -> None:
    line = shown(monkeypatch, make_progress(done=384))[-1]
    assert "38 %" in line
    assert "50.0 % right" in line
    assert re.search(r"[0-9,]+/s", line)
    assert shown(monkeypatch, make_progress(done=1024))[-1].startswith("asking some again, one by one")
    assert shown(monkeypatch, make_progress(done=1024), again=False)[-1].startswith("reverse 6 (2/4)")


@pytest.mark.parametrize(
    ("done", "words"), [(256, "256 prompts, "), (384, "0/128 right (of 256), "), (512, "0/256 right, ")]
)
def test_lines_say_how_far_a_cell_is(
    done: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Several processes give no count of a cell before it is whole."""
    monkeypatch.setattr("lgbench.cli._progress.SECONDS_BETWEEN_LINES", 0)
    _Lines(again=False).show(make_progress(done=done))
    assert f"[2/4] reverse at length 6: {words}" in capsys.readouterr().err


def test_nothing_is_shown_where_nothing_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(100)
    monkeypatch.setattr("lgbench.cli._progress.PlainConsole", terminal.console)
    with reporter(quiet=True) as show:
        assert show is None
    assert not terminal.lines


@pytest.mark.parametrize("quiet", [False, True])
def test_training_shows_loss_speed_and_zones(monkeypatch: pytest.MonkeyPatch, quiet: bool) -> None:
    pytest.importorskip("torch")
    from lgbench.cli.train import Display
    from lgbench.training.record import CurvePoint
    from lgbench.training.trainer import Progress as Trained
    from tests.tiny_training import tiny_plan

    terminal = Terminal(120)
    monkeypatch.setattr("lgbench.cli._console.PlainConsole", terminal.console)
    right = {"in_distribution": 64, "transfer": 48, "beyond": 16}
    counts = {length: right[zone] for zone in right for length in STRINGS.zone_lengths(zone)}  # type: ignore[arg-type]
    display = Display(tiny_plan(), quiet=quiet)
    try:
        display.show(Trained(10, 1.23456, 4321.0, CurvePoint(step=10, loss=1.5, correct={STRINGS.main: counts})))
        display.show(Trained(11, 0.98765, 5678.0, None))
    finally:
        display.close()
    if quiet:
        assert not terminal.lines
        return
    zones = f"{STRINGS.main} in-distribution 100.0 %, transfer 75.0 %, beyond 25.0 %"
    assert f"step 10/12: loss 1.235, 4,321 examples/s; {zones}" in terminal.lines
    assert terminal.lines[-1].startswith("step 11 of 12")
    assert "loss 0.988, 5,678 examples/s" in terminal.lines[-1]


def test_words_wrap_between_words_in_a_terminal_and_not_in_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = "It lacks 12.5 % of its cells."
    say(sentence)
    print_parts([""])
    monkeypatch.setattr("lgbench.cli._console.PlainConsole", Terminal(14).console)
    say(sentence, indent="- ", hanging="  ")
    say("a\nb\n\nc", reflow=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [sentence, "", "- It lacks", "  12.5 % of", "  its cells.", "a b", "", "c"]


def test_a_table_is_made_to_fit_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long headings are broken, and a last column of words wraps in itself."""
    terminal = Terminal(40)
    monkeypatch.setattr("lgbench.cli._tables.wide_console", terminal.console)
    monkeypatch.setattr("lgbench.cli._tables.PlainConsole", lambda width: Terminal.console(terminal, width=width))
    print_parts([Table("", ("group", "a-longer-system", "another-system"), [("add-carry", "57.1", "+33.6 [-4, 70]")])])
    print_parts([Table("", ("name", "what it does"), [("ternary", "Weights are rounded, in training too.")], text=2)])
    print_parts(
        [
            Table(
                "Ends",
                ("trained", "task", "wrong"),
                [("add-carry, transfer", "reverse_add", each) for each in "12"],
                text=2,
            )
        ]
    )
    assert all(len(line) <= 40 for line in terminal.lines)
    assert "Ends (trained: add-carry, transfer)" in terminal.lines
    assert {"add-carry     57.1  +33.6 [-4, 70]", "ternary  Weights are rounded, in"} <= set(terminal.lines)


def test_a_bar_only_moves_while_it_is_unknown_how_much_there_is_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, totals = Terminal(60), list[float | None]()

    def drawn(column: BarColumn, task: Task) -> Text:
        totals.append(task.total)
        return Text("")

    monkeypatch.setattr("lgbench.cli._progress.PlainConsole", terminal.console)
    monkeypatch.setattr(BarColumn, "render", drawn)
    for again in (True, False):
        with reporter(quiet=False, again=again) as show:
            assert show is not None
            show(make_progress(done=1024))
        assert totals[-1] == (None if again else 1024)
    with counting("reading runs", quiet=False) as report:
        report(1, 3)
        assert totals[-1] in (None, 3)
        report(3, None, "drawing")
    assert totals[-1] is None
    assert terminal.lines[-1] == "drawing"
    assert not [line for line in terminal.lines if "None" in line]


@pytest.mark.parametrize("quiet", [False, True])
def test_what_is_counted_has_a_bar(monkeypatch: pytest.MonkeyPatch, quiet: bool) -> None:
    terminal = Terminal(60)
    monkeypatch.setattr("lgbench.cli._progress.PlainConsole", terminal.console)
    with counting("checking runs", quiet=quiet) as report:
        for _ in counted("abc", report):
            pass
        report(3, 3, "the rest")
    assert [line.split()[-1] for line in terminal.lines[-1:]] == ([] if quiet else ["3/3"])
    assert any(line.startswith("the rest") for line in terminal.lines) is not quiet
