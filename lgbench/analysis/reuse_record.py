"""The record of `analyze reuse`: the four tests of each other task, with their null distributions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from lgbench.analysis.ablation import Ablation
from lgbench.analysis.records import AnalysisRecord, DataCell, ModelSource, Share, Strict
from lgbench.data.groups import Zone
from lgbench.results.schema import Count, Name

if TYPE_CHECKING:
    import pandas as pd

Finite = Annotated[float, Field(allow_inf_nan=False)]
LEAST_DAMAGE = 0.05
"""Nats a token that resampling must cost before an interchange is compared with it."""
FEWEST_SETS = 19
"""With fewer sets, no p-value can be 0.05."""


class SharedImportance(Strict):
    """Test 1: do the same heads matter?

    Attributes:
        rho: Spearman's correlation of the maps of both tasks over all heads.
        ceiling: That of the maps of the main task on two halves of its examples.
        floor: That of the main task and an unrelated one; null if none was given.
        p: Of `rho`, against heads exchanged within their layer.
        null: The null distribution.
        size: Heads in the sets of those that matter most.
        shared: Heads that are in both.
        p_shared: The chance of sharing at least as many (hypergeometric).
    """

    rho: Finite
    ceiling: Finite
    floor: Finite | None
    p: Share
    null: tuple[Finite, ...]
    size: Count
    shared: Count
    p_shared: Share


class Damage(Strict):
    """What the main task loses in one zone when a set of heads is replaced, in nats a token.

    Attributes:
        zone: Where.
        lengths: The lengths of it.
        lost: With the heads that matter most to the other task.
        lost_exact: The same as a share of right targets.
        own: With as many that matter most to the main task itself.
        least: With as many that matter least to it.
        unrelated: What the unrelated task loses with the heads of `lost`; null if none was given.
        complete: Whether the null holds all sets with the same number of heads in each layer.
        null: What such sets cost.
        p: The share of them that cost at least as much.
    """

    zone: Zone
    lengths: tuple[Count, ...]
    lost: Finite
    lost_exact: Finite
    own: Finite
    least: Finite
    unrelated: Finite | None
    complete: bool
    null: tuple[Finite, ...]
    p: Share


class Sufficiency(Strict):
    """Test 3: what can the main task do with the other task's heads alone?

    Attributes:
        area: The mean, over sizes, of the share of log-probability that is kept: 1 as the whole model, 0 as none.
        own: The same for the main task's own heads.
        sizes: How many heads were kept.
        null: Areas of orders with the heads of each layer exchanged.
        p: The share of them that is at least as large.
    """

    area: Finite
    own: Finite
    sizes: tuple[Count, ...]
    null: tuple[Finite, ...]
    p: Share


class Interchange(Strict):
    """Test 4: are the other task's outputs of the heads as good as the main task's own, on the same prompt?

    Attributes:
        lost: What the main task loses with those outputs, in nats a token.
        resampled: With outputs from another prompt.
        score: 1 - lost / resampled: 1 where they are as good, 0 where they are no better than another prompt's; null
            where resampling costs too little to be compared with.
        null: Scores of sets with as many heads in each layer that resampling costs enough.
        p: The share of them that is at least as large; null where there are too few.
    """

    lost: Finite
    resampled: Finite
    score: Finite | None
    null: tuple[Finite, ...]
    p: Share | None


class OtherTask(Strict):
    """The tests for one other task.

    Attributes:
        task: The task.
        heads: Those that matter most to it, as (layer, head).
        importance: Test 1.
        necessity: Test 2, by zone.
        sufficiency: Test 3.
        interchange: Test 4, in distribution; null where the two tasks do not read the same prompts.
    """

    task: Name
    heads: tuple[tuple[Count, Count], ...]
    importance: SharedImportance
    necessity: tuple[Damage, ...]
    sufficiency: Sufficiency
    interchange: Interchange | None

    def find(self, zone: Zone) -> Damage | None:
        """Test 2 in a zone."""
        return next((each for each in self.necessity if each.zone == zone), None)


class ReuseRecord(AnalysisRecord):
    """The content of `reuse.json`.

    Attributes:
        analysis: Always `reuse`.
        source: The model.
        examples: Of each task and length.
        ablation: What heads are replaced by.
        main: The main task.
        tasks: The other tasks that are tested.
        unrelated: A trained task that the user calls unrelated.
        lengths: Ascending.
        primary: Those in distribution that all tasks have learned, which importance is measured at.
        size: Heads of a set.
        data: What was asked.
        others: The tests of those that are done.
    """

    analysis: Literal["reuse"] = "reuse"
    source: ModelSource
    examples: Count
    ablation: Ablation
    main: Name
    tasks: tuple[Name, ...]
    unrelated: Name | None
    lengths: tuple[Count, ...]
    primary: tuple[Count, ...]
    size: Count
    data: tuple[DataCell, ...]
    others: tuple[OtherTask, ...] = ()

    def done(self, task: str) -> bool:
        """Whether the tests of a task are done."""
        return any(each.task == task for each in self.others)

    def frame(self) -> pd.DataFrame:
        """A row for each test of each other task, with what was observed and its p-value."""
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for each in self.others:
            test = each.importance
            rows.append({"other": each.task, "test": "rank correlation", "observed": test.rho, "p": test.p})
            rows.append({"other": each.task, "test": "shared heads", "observed": test.shared, "p": test.p_shared})
            for damage in each.necessity:
                row = {"other": each.task, "test": f"necessity, {damage.zone}"}
                rows.append(row | {"observed": damage.lost, "p": damage.p})
            found = each.sufficiency
            rows.append({"other": each.task, "test": "sufficiency", "observed": found.area, "p": found.p})
            if each.interchange is not None:
                row = {"other": each.task, "test": "interchange"}
                rows.append(row | {"observed": each.interchange.score, "p": each.interchange.p})
        return pd.DataFrame(rows)
