"""The files of the site, and a folder that holds exactly these.

index.html                 the systems of each suite, with filters
groups/SUITE-GROUP.html    the curves of all systems in a group
systems/NAME.html          a page for each system, with its pictures beside it
assets/                    style and scripts; the plotting library is loaded by the pages that draw
data/                      board.json with its schema, and cells.csv
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lgbench.data.suites import SUITES
from lgbench.leaderboard.build import BOARD_FILE, CELLS_FILE, SCHEMA_FILE, BoardFiles
from lgbench.leaderboard.derive import derive_data
from lgbench.leaderboard.scored import SuiteScores, score_submission
from lgbench.leaderboard.site import front, groups, systems
from lgbench.leaderboard.standings import list_systems
from lgbench.submissions.checked import Submission
from lgbench.util.counting import CountReport, counted, no_report
from lgbench.util.errors import LgbenchError
from lgbench.util.extras import require_extra
from lgbench.util.files import atomic_folder, write_errors
from lgbench.util.links import contents, is_folder, refuse_links
from lgbench.version import __version__

if TYPE_CHECKING:
    from jinja2 import Environment

_PACKAGE = "lgbench.leaderboard.site"
_ASSETS = ("site.css", "theme.js", "sort.js", "board.js", "group.js", "system.js", "statistics.js")
_MARK = "index.html"
_BEGINNING = b"<!doctype html>"


def site_files(
    submissions: Sequence[Submission], folder: Path, report: CountReport = no_report
) -> Iterator[tuple[str, bytes]]:
    """Every file of the site, with its path in it. The same submissions give the same bytes.

    Args:
        submissions: The systems.
        folder: Their folder, as their replies are shown.
        report: Called with the numbers of finished pages and of all pages of systems.

    Raises:
        LgbenchError: Replies cannot be read, or a package of the extra `site` is missing.
    """
    require_extra("site", purpose="The web page of the leaderboard")
    ordered = sorted(submissions, key=lambda submission: submission.system.name)
    scores = {each.system.name: score_submission(each) for each in ordered}
    flat = [each for of_system in scores.values() for each in of_system]
    listed = [found for suite in SUITES if (found := list_systems(suite, flat)).trained or found.opened]
    render = renderer([each.suite for each in listed])
    yield "index.html", render("index.html", "", **front.front_page(listed))
    for each in listed:
        for group in each.suite.groups:
            name = f"{each.suite.name}-{group.name}"
            yield f"groups/{name}.html", render("group.html", "../", here=name, **groups.group_page(each, group))
    for submission in counted(ordered, report):
        yield from _system(submission, scores[submission.system.name], folder, render)
    board = BoardFiles(derive_data(each, scores[each.system.name]) for each in ordered)
    for name in (BOARD_FILE, SCHEMA_FILE, CELLS_FILE):
        yield f"data/{name}", board[name].encode()
    for name in _ASSETS:
        yield f"assets/{name}", (files(_PACKAGE) / "assets" / name).read_bytes()
    yield "assets/plotly.min.js", (files("plotly") / "package_data" / "plotly.min.js").read_bytes()


def _system(
    submission: Submission, scores: Sequence[SuiteScores], folder: Path, render: Any
) -> Iterator[tuple[str, bytes]]:
    name = submission.system.name
    page = systems.system_page(submission, scores, folder / name)
    yield f"systems/{name}.html", render("system.html", "../", **page)
    for path, svg in systems.pictures(scores).items():
        yield f"systems/{path}", svg.encode()


def renderer(suites: Sequence[Any]) -> Any:
    """A function that renders a template, given the path to the site's root and the template's variables."""
    environment = _environment()

    def render(template: str, root: str, **variables: Any) -> bytes:
        common = {"root": root, "version": __version__, "suites": suites, "here": ""}
        return environment.get_template(template).render(common | variables).encode()

    return render


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(_PACKAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def write_site(submissions: Sequence[Submission], folder: Path, output: Path, report: CountReport = no_report) -> int:
    """Write the site into a folder, replacing an earlier one, and return the number of its files.

    Args:
        submissions: As `site_files` has it.
        folder: As `site_files` has it.
        output: The folder of the site.
        report: As `site_files` has it.

    Raises:
        LgbenchError: The folder holds something else, is a link, or cannot be written to.
    """
    refuse_links(output)
    if is_folder(output) and contents(output):
        _check_is_site(output)
        with write_errors(output):
            shutil.rmtree(output)
    count = 0
    with atomic_folder(output) as temporary:
        for path, data in site_files(submissions, folder, report):
            (temporary / path).parent.mkdir(parents=True, exist_ok=True)
            (temporary / path).write_bytes(data)
            count += 1
    return count


def _check_is_site(output: Path) -> None:
    """Refuse to remove a folder that `write_site` did not write."""
    page = output / _MARK
    names = {path.name for path in output.iterdir()}
    known = {_MARK, "assets", "data", "groups", "systems"}
    if names - known or not page.is_file() or not page.read_bytes().startswith(_BEGINNING):
        raise LgbenchError(f"{str(output)!r} holds something else than a site of lgbench. Choose another folder.")
