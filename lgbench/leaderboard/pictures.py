"""The content of the pictures on a system's page, and their descriptions. `lgbench.leaderboard.svg` draws them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

from lgbench.data.groups import OPEN_ARM, Group
from lgbench.data.suites import Suite
from lgbench.leaderboard.scored import SuiteScores
from lgbench.leaderboard.svg import draw, draw_small
from lgbench.scoring.comparison import GroupScores
from lgbench.scoring.curves import Curve, curve
from lgbench.scoring.display import percent
from lgbench.scoring.styles import Style, arm_style
from lgbench.scoring.systems import OpenScores
from lgbench.submissions.system import SystemRecord

SMALL_END = "-small.svg"
"""How the names of small pictures end."""
# Of the palette of Okabe and Ito, whose colours people with any colour vision tell apart; one for each main task.
_TASK_LOOKS = (Style("#0072b2"), Style("#009e73"), Style("#d55e00"), Style("#56b4e9", (2, 2)), Style("#cc79a7"))


@dataclass(frozen=True, kw_only=True)
class SmallPicture:
    """Curves of accuracy by length, as small as a cell of a table.

    Attributes:
        path: From the front page.
        title: A description.
        curves: By how they look.
        group: Whose transfer zone is shaded.
    """

    path: str
    title: str
    curves: tuple[tuple[Curve, Style], ...]
    group: Group

    def svg(self) -> str:
        """The picture as an SVG file."""
        return draw_small(self.curves, title=self.title, group=self.group)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Curves of accuracy by length.

    Attributes:
        path: From the page that shows it.
        title: The text above the curves.
        curves: By how they look.
        group: Whose zones and training lengths are shown, if any.
        small: Its small pictures, for the front page.
    """

    path: str
    title: str
    curves: tuple[tuple[Curve, Style], ...]
    group: Group | None
    small: tuple[SmallPicture, ...]

    @cached_property
    def text(self) -> str:
        """A description of the picture. It contains nothing that is markup in Markdown."""
        return f"{self.title}, mean over seeds. " + " ".join(_sentence(drawn) for drawn, _ in self.curves)

    def svg(self) -> str:
        """The picture as an SVG file."""
        return draw(self.curves, title=self.title, description=self.text, group=self.group)


def _sentence(drawn: Curve) -> str:
    numbers = (f"{percent(share)} at {length}" for share, length in zip(drawn.mean, drawn.lengths, strict=True))
    return f"{drawn.label}: {', '.join(numbers)}."


def system_pictures(scores: SuiteScores) -> list[Picture]:
    """The pictures of a system on a suite: one for each group with runs, and one of its runs of arm `open`."""
    groups = scores.trained.groups if scores.trained else ()
    drawn = [group_picture(scores.system, scores.suite, group) for group in groups]
    return drawn + ([open_picture(scores.system, scores.suite, scores.untrained)] if scores.untrained else [])


def group_picture(system: SystemRecord, suite: Suite, scores: GroupScores) -> Picture:
    """The main task by length under each arm."""
    group = scores.group
    curves = [
        (curve(arm, [seed.result for seed in of_arm.seeds], group.main, group.grid), arm_style(group.arms, arm))
        for arm, of_arm in scores.arms.items()
    ]
    return Picture(
        path=picture_path(system, suite, group.name),
        title=f"{group.name} on {suite.name}: exact match of {group.main} in %",
        curves=tuple(curves),
        group=group,
        small=(_small(system, suite, group.name, tuple(curves), group),),
    )


def open_picture(system: SystemRecord, suite: Suite, scores: OpenScores) -> Picture:
    """The main tasks by length. There are no zones, as the training of such a model is unknown."""
    curves = [
        (curve(task, scores.results, task, suite.grid(task)), look)
        for task, look in zip(suite.main_tasks, itertools.cycle(_TASK_LOOKS), strict=False)
    ]
    small = [
        _small(system, suite, f"{OPEN_ARM}-{drawn.name}", ((drawn, _TASK_LOOKS[0]),), suite.home_group(drawn.name))
        for drawn, _ in curves
    ]
    return Picture(
        path=picture_path(system, suite, OPEN_ARM),
        title=f"Main tasks of {suite.name}: exact match in %",
        curves=tuple(curves),
        group=None,
        small=tuple(small),
    )


def picture_path(system: SystemRecord, suite: Suite, name: str) -> str:
    """The path of the picture of a group, or of the runs of arm `open`, from the system's page."""
    return f"{system.name}/{suite.name}-{name}.svg"


def small_path(system: SystemRecord, suite: Suite, name: str) -> str:
    """The path of the small picture of a group, or of a main task under `open`, from the front page."""
    return f"systems/{system.name}/{suite.name}-{name}{SMALL_END}"


def _small(
    system: SystemRecord, suite: Suite, name: str, curves: tuple[tuple[Curve, Style], ...], group: Group
) -> SmallPicture:
    title = f"{system.name} on {name}: accuracy by length"
    return SmallPicture(path=small_path(system, suite, name), title=title, curves=curves, group=group)
