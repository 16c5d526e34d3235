"""The results of `lgbench analyze reuse` as tables and verdicts."""

from __future__ import annotations

from lgbench.analysis.reuse_record import FEWEST_SETS, LEAST_DAMAGE, Damage, OtherTask, ReuseRecord
from lgbench.util.tables import Table

LEVEL = 0.05
CAUSE = (
    "None of these tests shows that sharing heads causes transfer: that takes training with and without it. Each p is "
    "of one test of one checkpoint, not corrected for the number of tests."
)


def tabulate_reuse(record: ReuseRecord) -> list[Table | str]:
    """A table for each other task, and below it a verdict."""
    parts: list[Table | str] = []
    for each in record.others:
        parts += [_table(record, each), verdict(record, each)]
    if record.unrelated is None:
        parts.append(
            "No unrelated task was named (--unrelated), so that there is no floor: any two tasks may be as alike."
        )
    return [*parts, CAUSE]


def _table(record: ReuseRecord, each: OtherTask) -> Table:
    named = ", ".join(f"{layer}.{head}" for layer, head in each.heads)
    test = each.importance
    floor = "no floor" if test.floor is None else f"floor {test.floor:.2f}"
    rows = [
        ["1 rank correlation of the maps", f"{test.rho:.2f}", f"ceiling {test.ceiling:.2f}, {floor}", _p(test.p)],
        ["1 heads among the most important of both", f"{test.shared} of {test.size}", "", _p(test.p_shared)],
    ]
    for damage in each.necessity:
        bounds = f"own heads {damage.own:.2f}, least important {damage.least:.2f}"
        if damage.unrelated is not None:
            bounds += f", unrelated task {damage.unrelated:.2f}"
        zone = damage.zone.replace("_", "-")
        shown = f"{damage.lost:.2f} nats, {100 * damage.lost_exact:.0f} points"
        rows.append([f"2 lost without them, {zone}", shown, bounds, _p(damage.p)])
    found = each.sufficiency
    rows.append(["3 kept with them alone, area", f"{found.area:.2f}", f"own heads {found.own:.2f}", _p(found.p)])
    if each.interchange is not None:
        swap = each.interchange
        score = "-" if swap.score is None else f"{swap.score:.2f}"
        bounds = f"lost {swap.lost:.2f}, from another prompt {swap.resampled:.2f}"
        rows.append(["4 interchange on the same prompt", score, bounds, _p(swap.p)])
    return Table(
        f"{record.main} with the heads of {each.task} ({named})", ["test", "observed", "beside", "p"], rows, text=1
    )


def _p(p: float | None) -> str:
    return "-" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def verdict(record: ReuseRecord, each: OtherTask) -> str:
    """A sentence that says whether the main task needs the other task's heads."""
    zone = each.find("transfer") or each.find("in_distribution")
    sentences = []
    if zone is not None:
        sentences.append(_necessity(record, each, zone))
    swap = each.interchange
    if swap is None:
        sentences.append("The two tasks read different prompts, so that nothing can be interchanged.")
    elif swap.score is None:
        sentences.append(
            f"Interchange says nothing: outputs from another prompt cost under {LEAST_DAMAGE} nats a token already."
        )
    else:
        beside = (
            "" if swap.p is None or swap.p <= LEVEL else ", which is no more than other heads of the same layers do"
        )
        sentences.append(
            f"On the same prompt the outputs for {each.task} spare {100 * swap.score:.0f} % of what outputs from "
            f"another prompt cost {record.main}{beside}."
        )
    return " ".join(sentences)


def _necessity(record: ReuseRecord, each: OtherTask, damage: Damage) -> str:
    where = "in the transfer zone" if damage.zone == "transfer" else "in distribution"
    sets = f"{'all' if damage.complete else 'random'} {len(damage.null)} sets with as many heads in each layer"
    if len(damage.null) < FEWEST_SETS:
        return f"There are only {len(damage.null)} sets with as many heads in each layer: too few for a test {where}."
    if damage.p > LEVEL:
        return (
            f"It is not shown that {record.main} needs the heads of {each.task} {where}: {100 * damage.p:.0f} % of "
            f"{sets} cost it at least as much."
        )
    specific = ""
    if damage.unrelated is not None:
        less = damage.unrelated < damage.lost
        specific = f" An unrelated task loses {'less' if less else 'as much or more, so they may serve every task'}."
    return (
        f"{record.main} needs the heads of {each.task} {where} more than other heads of the same layers: only "
        f"{100 * damage.p:.1f} % of {sets}, this one included, cost it at least as "
        f"much.{specific}"
    )
