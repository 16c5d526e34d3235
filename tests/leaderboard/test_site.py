"""The site as files: what each page holds, and nothing that a stranger's text could become."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytest.importorskip("plotly")
from typer.testing import CliRunner

from lgbench.cli import app
from lgbench.leaderboard.build import derive_files
from lgbench.leaderboard.site.build import site_files, write_site
from lgbench.leaderboard.site.cells import json_script
from lgbench.leaderboard.site.mistakes import Mistakes
from lgbench.util import extras
from lgbench.util.errors import LgbenchError
from tests.leaderboard.site import GROUP, Systems, made_systems, transfer_results
from tests.made_up import MINI

pytestmark = pytest.mark.slow


class Page(HTMLParser):
    """The elements of a page, the addresses that it names, and its text."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.feed(data.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("href", "src"):
                self.addresses.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def systems(tmp_path_factory: pytest.TempPathFactory) -> Systems:
    return made_systems(tmp_path_factory.mktemp("submissions"))


@pytest.fixture(scope="module")
def built(systems: Systems) -> dict[str, bytes]:
    with pytest.MonkeyPatch.context() as patch:
        patch_open_replies(patch)
        return dict(site_files(systems.submissions, systems.folder))


def patch_open_replies(patch: pytest.MonkeyPatch) -> None:
    """The made-up run of arm `open` has no replies."""
    table = Mistakes.table

    def without_open(self, results, **chosen):  # type: ignore[no-untyped-def]
        return None if results[0].arm == "open" else table(self, results, **chosen)

    patch.setattr(Mistakes, "table", without_open)


def pages(built: dict[str, bytes]) -> dict[str, Page]:
    return {path: Page(data) for path, data in built.items() if path.endswith(".html")}


def test_there_is_a_page_for_each_group_and_system(built: dict[str, bytes]) -> None:
    groups = {f"groups/mini-v1-{group.name}.html" for group in MINI.groups}
    assert set(pages(built)) == {
        "index.html",
        *groups,
        *(f"systems/{n}.html" for n in ("alpha", "beta", "hostile", "opened")),
    }


def test_every_link_leads_somewhere_and_nothing_is_of_another_host(built: dict[str, bytes]) -> None:
    found = pages(built)
    for path, page in found.items():
        assert len(page.ids) == len(set(page.ids)), path
        for address in page.addresses:
            parts = urlsplit(address)
            assert parts.scheme in ("", "data"), (path, address)
            if parts.scheme == "data":
                continue
            target = Path("/", path).parent.joinpath(parts.path).as_posix().lstrip("/") if parts.path else path
            target = str(Path("/", target).resolve()).lstrip("/")
            assert target in built, (path, address)
            if parts.fragment.startswith("?systems="):
                box = f'value="{unquote(parts.fragment.partition("=")[2])}"'
                assert box in built[target].decode(), (path, address)
            elif parts.fragment:
                assert parts.fragment in found[target].ids, (path, address)


def test_strangers_texts_stay_text(built: dict[str, bytes]) -> None:
    found = pages(built)
    hostile, other = found["systems/hostile.html"], found["systems/beta.html"]
    assert set(hostile.tags) == set(other.tags)
    assert hostile.tags.count("script") == other.tags.count("script")
    assert "<script>window.hacked = 1</script>" in hostile.text
    assert "</code></pre><script>window.hacked=3</script>\\x1b[31m\\u202e" in hostile.text
    assert not any(page.handlers for page in found.values())


def test_data_inside_a_page_ends_no_element() -> None:
    data = {"a": "</script><!--<script>", "b": "\u2028&"}
    text = str(json_script(data))
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == data


def test_the_downloads_are_the_files_of_the_board(systems: Systems, built: dict[str, bytes]) -> None:
    files = derive_files(systems.submissions)
    for name in ("board.json", "board.schema.json", "cells.csv"):
        assert built[f"data/{name}"] == files[name].encode()


def test_mistakes_are_counted_as_the_results_count_them(systems: Systems, built: dict[str, bytes]) -> None:
    page = built["systems/beta.html"].decode()
    table = re.search(r"kind of mistake.*?</table>", page, re.S)
    assert table is not None
    counted = {
        name: int(count.replace(",", "")) for name, count in re.findall(r'left">(\w+)</th><td>([\d,]+)</td>', table[0])
    }
    cells = [
        cell.counts
        for result in transfer_results(systems, "beta")
        for cell in result.cells
        if cell.task == GROUP.main and GROUP.zone(cell.length) == "transfer"
    ]
    assert sum(counted.values()) == sum(counts.total - counts.correct for counts in cells) > 0


def test_the_same_submissions_give_the_same_bytes(
    systems: Systems, built: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    patch_open_replies(monkeypatch)
    assert dict(site_files(systems.submissions[::-1], systems.folder)) == built


def test_pages_are_small(built: dict[str, bytes]) -> None:
    first = ("index.html", "assets/site.css", "assets/theme.js", "assets/board.js")
    assert sum(len(built[path]) for path in first) < 60_000


def test_a_site_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    site = tmp_path / "site"
    assert write_site([], tmp_path, site) > 5
    assert "No system has been submitted yet." in (site / "index.html").read_text("utf-8")
    (site / "groups").mkdir()
    (site / "groups" / "gone.html").write_text("old", encoding="utf-8")
    write_site([], tmp_path, site)
    assert not (site / "groups").exists()
    thesis = tmp_path / "work"
    thesis.mkdir()
    for name in ("index.html", "thesis.tex"):
        (thesis / name).write_text("years of work", encoding="utf-8")
        with pytest.raises(LgbenchError, match="holds something else than a site"):
            write_site([], tmp_path, thesis)
        assert (thesis / name).read_text("utf-8") == "years of work"
    (tmp_path / "link").symlink_to(site)
    with pytest.raises(LgbenchError, match="is a link"):
        write_site([], tmp_path, tmp_path / "link")


def test_site_as_typed(submissions: Path, tmp_path: Path) -> None:
    arguments = ["leaderboard", "site", str(tmp_path / "out"), "--submissions", str(submissions)]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert re.fullmatch(r"Wrote \d+ files\. Open .*index\.html in a browser\.\n", done.output)
    assert (tmp_path / "out" / "systems" / "my-system.html").exists()


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(extras.EXTRAS, "site", ("no_such_package",))
    with pytest.raises(LgbenchError, match=r"needs no_such_package.*'\.\[site\]'"):
        list(site_files([], tmp_path))
