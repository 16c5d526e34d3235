"""When audited and posted counts agree, and the tier that follows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from scipy.stats import fisher_exact, t
from scipy.stats.contingency import odds_ratio

from lgbench.data.suites import Cell
from lgbench.results.schema import Result
from lgbench.submissions.agreement import disagreements, is_among_seeds, share_tests
from lgbench.submissions.audit_record import AuditedCell, AuditedRun, AuditRecord, RetrainedRun, training_digest
from lgbench.submissions.checked import Submission
from lgbench.submissions.tiers import Tier, standing
from lgbench.training.record import TrainingRecord
from tests.made_up import MINI, make_counts, make_result
from tests.submissions.test_tiers import GROUP, recorded


def audited(run: str, result: Result, correct: Callable[[int, int], int], **changes: Any) -> AuditedRun:
    """An audit of 64 examples a cell; `correct` gives how many are right from what was posted of 256."""
    cells = [
        AuditedCell(task=cell.task, length=cell.length, correct=correct(number, cell.counts.correct), total=64)
        for number, cell in enumerate(result.cells)
    ]
    fields = {"run": run, "replies_sha256": result.replies_sha256, "weights_sha256": "0" * 64, "cells": tuple(cells)}
    return AuditedRun(**fields | {"asked_again": 160, "changed": 0} | changes)


def record(*runs: AuditedRun, retrained: tuple[RetrainedRun, ...] = (), nonce: str = "0" * 16) -> AuditRecord:
    return AuditRecord(
        system="mine",
        suite="mini-v1",
        auditor="A",
        moment=datetime(2026, 1, 1, tzinfo=UTC),
        lgbench="0.1.0",
        machine="a CPU",
        nonce=None if retrained else nonce,
        audited=runs,
        retrained=retrained,
    )


def whole(submission: Submission, correct: Callable[[int, int], int] = lambda _, posted: posted // 4) -> AuditRecord:
    return record(*(audited(run.folder, run.result, correct) for run in submission.runs))


@pytest.fixture
def system() -> Submission:
    """A recorded system whose runs have each their own replies."""
    made = recorded(seeds=range(5))
    runs = tuple(
        run._replace(result=run.result.model_copy(update={"replies_sha256": f"{number:064}"}))
        for number, run in enumerate(made.runs)
    )
    return replace(made, runs=runs)


def test_a_system_is_audited_only_when_every_run_is(system: Submission) -> None:
    assert standing(system, MINI).tier == Tier.RECORDED
    audit = whole(system)
    assert standing(replace(system, audits=(audit,)), MINI).tier == Tier.AUDITED
    fewer = audit.model_copy(update={"audited": audit.audited[1:]})
    found = standing(replace(system, audits=(fewer,)), MINI)
    assert (found.tier, found.missing) == (
        Tier.RECORDED,
        ("No maintainer has audited the weights of main_only-0.",),
    )
    rest = record(audit.audited[0], nonce="1" * 16)
    assert standing(replace(system, audits=(fewer, rest)), MINI).tier == Tier.AUDITED


def test_an_audit_of_other_replies_counts_for_nothing(system: Submission) -> None:
    other = record(*(each.model_copy(update={"replies_sha256": "f" * 64}) for each in whole(system).audited))
    assert standing(replace(system, audits=(other,)), MINI).tier == Tier.RECORDED
    elsewhere = whole(system).model_copy(update={"suite": "standard-v1"})
    assert standing(replace(system, audits=(elsewhere,)), MINI).tier == Tier.RECORDED


def test_no_audit_lifts_a_system_that_is_not_recorded(system: Submission) -> None:
    bare = replace(system, declaration=None, audits=(whole(system),))
    assert standing(bare, MINI).tier == Tier.SELF_REPORTED


def test_one_that_disagrees_is_never_outvoted(system: Submission) -> None:
    bad = record(audited("main_only-0", system.runs[0].result, lambda _, __: 0), nonce="1" * 16)
    found = standing(replace(system, audits=(whole(system), bad)), MINI)
    assert found.tier == Tier.RECORDED
    assert "main_only-0, capitalize_reverse at length 2: 0 of 64 right, posted 100 of 256" in found.missing[0]


@pytest.mark.parametrize(("changed", "agrees"), [(1, True), (2, False)])
def test_one_reply_in_a_hundred_may_come_out_otherwise(system: Submission, changed: int, *, agrees: bool) -> None:
    run = audited("a", system.runs[0].result, lambda _, posted: posted // 4, changed=changed)
    assert (list(disagreements([(system.runs[0].result, run)])) == []) is agrees


def test_an_audit_of_other_cells_does_not_agree(system: Submission) -> None:
    run = audited("a", system.runs[0].result, lambda _, posted: posted // 4)
    for cells in (run.cells[1:], (*run.cells, AuditedCell(task="reverse", length=2, correct=0, total=64))):
        (told,) = disagreements([(system.runs[0].result, run.model_copy(update={"cells": cells}))])
        assert told == "a: the audit does not cover the cells of the result."


def test_reproduced_needs_a_run_of_each_arm_and_equal_curves(system: Submission) -> None:
    def again(
        *arms: str, differing: int = 0, elsewhere: bool = False, right: int | None = None, until: int = 3000
    ) -> AuditRecord:
        runs = [run for run in system.runs if run.folder in [f"{arm}-1" for arm in arms]]
        return record(
            retrained=tuple(
                RetrainedRun(
                    run=run.folder,
                    training_sha256=training_digest(run.training),  # type: ignore[arg-type]
                    until=until,
                    points=until // 300,
                    differing=differing,
                    elsewhere=elsewhere,
                    zone_correct=right,
                )
                for run in runs
            )
        )

    def tier(*audits: AuditRecord) -> Tier:
        return standing(replace(system, audits=audits), MINI).tier

    audit = whole(system)
    assert tier(audit, again("main_only", "transfer", "control")) == Tier.REPRODUCED
    assert tier(audit, again("main_only"), again("transfer", "control")) == Tier.REPRODUCED
    assert tier(audit, again("main_only", "transfer")) == Tier.AUDITED
    assert tier(again("main_only", "transfer", "control")) == Tier.RECORDED
    assert tier(audit, again("main_only", "transfer"), again("control", differing=1)) == Tier.AUDITED
    early = again("main_only", "transfer", "control", until=2700)
    found = standing(replace(system, audits=(audit, early)), MINI)
    assert found.tier == Tier.AUDITED
    assert found.missing[0] == "main_only-1 was trained again up to step 2,700 of 3,000 only."
    # On another kind of machine, the accuracy must be that of one more seed: 0 of 256 here, in each of five seeds.
    for right, elsewhere, expected in [
        (0, True, Tier.REPRODUCED),
        (1, True, Tier.REPRODUCED),
        (3, True, Tier.AUDITED),
        (200, True, Tier.AUDITED),
        (None, True, Tier.AUDITED),
        (0, False, Tier.AUDITED),
    ]:
        last = again("control", differing=2, elsewhere=elsewhere, right=right)
        assert tier(audit, again("main_only", "transfer"), last) == expected
    found = standing(replace(system, audits=(audit, again("main_only", "transfer"))), MINI)
    assert found.missing == (f"No maintainer has trained a run of control of {GROUP.name} again.",)
    stale = again("control").retrained[0].model_copy(update={"training_sha256": "0" * 64})
    assert tier(audit, again("main_only", "transfer"), record(retrained=(stale,))) == Tier.AUDITED


def test_true_systems_fail_an_audit_at_most_once_in_a_hundred() -> None:
    """Posted and audited replies of the same chances: three runs of ten cells, in 60 audits."""
    generator = np.random.Generator(np.random.PCG64(1))
    chances = 1 / (1 + np.exp(np.arange(2, 21, 2) - 11.0))
    failed = 0
    template = make_result(lambda _: 0, arm="main_only", group=GROUP.name, seed=0)
    for _ in range(60):
        pairs = []
        for number in range(3):
            right = iter(generator.binomial(256, chances))
            cells = [each.model_copy(update={"counts": make_counts(int(next(right)), 256)}) for each in template.cells]
            fresh = generator.binomial(64, chances)
            result = template.model_copy(update={"cells": tuple(cells)})
            pairs.append((result, audited(str(number), result, lambda n, _, fresh=fresh: int(fresh[n]))))  # type: ignore[misc]
        failed += bool(list(disagreements(pairs)))
    assert failed <= 4  # of 60 at 1 %, more than 4 in fewer than one of two thousand trials


@pytest.mark.parametrize("added", [0.1, 0.2])
def test_replies_that_were_bettered_are_found_out(added: float) -> None:
    """A tenth or a fifth of all replies made right in three runs: the whole of a run tells what no cell does."""
    generator = np.random.Generator(np.random.PCG64(2))
    template = make_result(lambda _: 0, arm="main_only", group=GROUP.name, seed=0)
    found = 0
    for _ in range(5):
        pairs = []
        for number in range(3):
            right = iter(generator.binomial(256, np.full(10, 0.4 + added)))
            cells = [each.model_copy(update={"counts": make_counts(int(next(right)), 256)}) for each in template.cells]
            result = template.model_copy(update={"cells": tuple(cells)})
            fresh = generator.binomial(64, np.full(10, 0.4))
            pairs.append((result, audited(str(number), result, lambda n, _, fresh=fresh: int(fresh[n]))))  # type: ignore[misc]
        found += bool(list(disagreements(pairs)))
    assert found == 5


def test_the_tests_are_fishers_and_cochran_mantel_haenszels() -> None:
    """Of one cell: the first is SciPy's own, the second a chi-square by its textbook formula."""
    cell = Cell("reverse", 2)
    one, all_ = share_tests("a", {cell: ((20, 64), make_counts(130, 256))})
    table = np.array([[20, 44], [130, 126]])
    assert one.p == pytest.approx(float(fisher_exact(table).pvalue))
    assert odds_ratio(table).statistic < 1
    n = table.sum()
    statistic = (n - 1) * (20 * 126 - 44 * 130) ** 2 / (64 * 256 * 150 * 170)
    from scipy.stats import chi2

    assert all_.p == pytest.approx(float(chi2.sf(statistic, 1)))
    assert "fewer replies are right" in all_.what


def _of_seeds(*right: int) -> list[TrainingRecord]:
    """Records of `transfer` whose last points have so many of 256 dev examples of the transfer zone right."""
    (record,) = (run.training for run in recorded(arms=("transfer",), seeds=(0,)).runs)
    assert record is not None
    lengths = record.plan.suite_group.zone_lengths("transfer")
    assert len(lengths) == 4
    records = []
    for count in right:
        point = record.curve[-1].model_copy(deep=True)
        point.correct[GROUP.main].update({n: count // 4 + (place < count % 4) for place, n in enumerate(lengths)})
        records.append(record.model_copy(update={"curve": (*record.curve[:-1], point)}))
    return records


def test_one_more_seed_elsewhere_lies_in_the_prediction_interval() -> None:
    """For seeds that differ, by the formula of the page; where they are equal, by the binomial spread alone."""
    assert not is_among_seeds(88, _of_seeds(88, 88, 88)), "three are too few"
    right = [140, 150, 160, 170, 180]
    reach = t.ppf(0.995, 4) * np.std(right, ddof=1) * math.sqrt(1 + 1 / 5)
    assert [is_among_seeds(int(160 + off), _of_seeds(*right)) for off in (reach - 1, reach + 1)] == [True, False]
    equal = _of_seeds(88, 88, 88, 88, 88)
    share = 440.5 / 1281
    reach = t.ppf(0.995, 4) * np.sqrt(256 * share * (1 - share) * 1.2)
    assert [is_among_seeds(int(88 + off), equal) for off in (reach - 1, reach + 1)] == [True, False]
    perfect = _of_seeds(256, 256, 256, 256, 256)
    assert is_among_seeds(255, perfect)
    assert not is_among_seeds(250, perfect)
