"""The tables of `lgbench analyze confidence`, as data."""

from __future__ import annotations

from statistics import mean

from lgbench.analysis.confidence_record import ConfidenceRecord, Known
from lgbench.analysis.scored import SCORES
from lgbench.util.tables import Table


def tabulate_confidence(record: ConfidenceRecord) -> list[Table | str]:
    """A table for each question, of the main task where it is long."""
    parts: list[Table | str] = [_calibration(record)]
    parts += [_selection(record)] if record.selection else ["No cell has 5 to 95 % right: nothing to choose from."]
    main = record.tasks[0]
    if any(each.task == main for each in record.novelty):
        parts += [
            _novelty(record, main),
            "Counting tokens tells lengths apart without a model: a score that does so no better than `length` shows "
            "nothing about the model.",
        ]
    return [*parts, "Intervals are over examples, of this model alone; seeds differ more."]


def _calibration(record: ConfidenceRecord) -> Table:
    rows = []
    for each in record.calibration:
        shown = [f"{100 * each.accuracy:.1f}", f"{100 * each.confidence:.1f}"]
        shown += [_points(each.over_confidence), _points(each.ece), f"{each.brier.value:.3f}"]
        rows.append([each.task, each.zone.replace("_", "-"), "fitted" if each.tempered else "1", *shown])
    columns = ["task", "zone", "temperature", "right", "confidence", "confidence - right", "ECE", "Brier"]
    title = (
        f"Is the probability of a reply its chance of being right? In %; fitted temperature: {record.temperature:.2f}"
    )
    return Table(title, columns, rows, text=3)


def _selection(record: ConfidenceRecord) -> Table:
    cells = list(dict.fromkeys((each.task, each.length) for each in record.selection))
    wrong = mean(each.wrong for each in record.selection)
    rows = []
    for score in SCORES:
        of_score = [each for each in record.selection if each.score == score]
        aurocs = [each.auroc.value for each in of_score]
        means = [mean(getattr(each, name).value for each in of_score) for name in ("auroc", "aupr", "fpr95", "aurc")]
        rows.append([score.replace("_", " "), *(f"{value:.3f}" for value in means), f"{min(aurocs):.3f}"])
    named = ", ".join(f"{task} {length}" for task, length in cells[:6]) + (", ..." if len(cells) > 6 else "")
    title = (
        f"Right against wrong replies of the same task and length: mean over {len(cells)} cells with 5 to 95 % right\n"
        f"({named}); {100 * wrong:.0f} % are wrong"
    )
    return Table(title, ["score", "AUROC", "AUPR of wrong", "FPR95", "AURC", "lowest AUROC"], rows)


def _novelty(record: ConfidenceRecord, task: str) -> Table:
    rows = [
        [each.score.replace("_", " "), *(_known(value) for value in (each.auroc, each.aupr, each.fpr95))]
        for each in record.novelty
        if each.task == task
    ]
    title = f"Lengths of {task} up to {record.source.tasks[task]} against longer ones, with 95 % intervals"
    return Table(title, ["score", "AUROC", "AUPR", "FPR95"], rows)


def _known(value: Known) -> str:
    return f"{value.value:.3f} ({value.low:.3f}-{value.high:.3f})"


def _points(value: Known) -> str:
    return f"{100 * value.value:z.1f} ({100 * value.low:z.1f} to {100 * value.high:z.1f})"
