"""The documentation site: it builds without a warning, its links lead somewhere, and it loads nothing from afar."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import lgbench
from lgbench.cli import app as commands
from tests.workflow_files import jobs
from tools import draw_arms

pytest.importorskip("sphinx")

from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

from tools import site

# MyST-Parser 5.2 calls what Sphinx 11 will no longer have.
pytestmark = pytest.mark.filterwarnings("ignore:'myst_parser[^']*' is deprecated")

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


class Page(HTMLParser):
    """What a page links to, what it loads, and the places in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if "id" in found:
            self.places.add(found["id"])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        self.loaded += [value for name, value in found.items() if tag != "a" and name in ("href", "src", "srcset")]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as `poe docs` builds it."""
    pytest.importorskip("torch")  # the reference of Python names shows hooks and the trainer
    output = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--fresh-env", "--quiet", str(DOCS), str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return output


@pytest.fixture(scope="module")
def pages(built: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text("utf-8")) for path in built.glob("**/*.html")}


def test_a_page_shows_what_it_links_to_and_loads() -> None:
    page = Page('<link href="//x/a.css"><h1 id="b"><a href="c.html#d">e</a></h1><img src="f.svg">')
    assert (page.links, page.loaded, page.places) == (["c.html#d"], ["//x/a.css", "f.svg"], {"b"})


@pytest.mark.nightly
@pytest.mark.slow
def test_every_page_of_the_documentation_is_on_the_site(pages: dict[Path, Page]) -> None:
    names = {path.name for path in pages}
    assert {f"{page.stem}.html" for page in DOCS.glob("*.md")} - names == {"README.html"}
    home = next(page for path, page in pages.items() if path.name == "index.html")
    listed = [f"{page}.html" for part in site.parts((DOCS / "README.md").read_text("utf-8")).values() for page in part]
    assert len(listed) > 15
    assert set(listed) <= set(home.links)


@pytest.mark.nightly
@pytest.mark.slow
def test_every_link_leads_somewhere(built: Path, pages: dict[Path, Page]) -> None:
    checked = 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or path.name in ("search.html", "genindex.html"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.exists(), f"{path.name} links to {link}"
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].places, f"{path.name} links to {link}"
            checked += 1
    assert checked > 1000


@pytest.mark.nightly
@pytest.mark.slow
def test_nothing_is_loaded_from_another_host(built: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        for address in page.loaded:
            assert not re.match(r"(https?:)?//", address), f"{path.name} loads {address}"
    sheets = [*built.glob("**/*.css")]
    assert sheets
    for sheet in sheets:
        assert not re.search(r"(@import|url\()[\s\"']*(https?:)?//", sheet.read_text("utf-8")), sheet.name


@pytest.mark.nightly
@pytest.mark.slow
def test_the_reference_has_every_command_and_every_public_name(built: Path) -> None:
    import typer.main

    group = typer.main.get_command(commands)
    context = group.make_context("lgbench", [], resilient_parsing=True)
    shown = (built / "commands.html").read_text("utf-8")
    names = group.list_commands(context)  # type: ignore[attr-defined]
    assert len(names) > 15
    assert [name for name in names if f'<section id="lgbench-{name}">' not in shown] == []
    assert all(text in shown for text in ("--model-option", "--seeds", 'id="lgbench-export-hf"'))
    api = (built / "api.html").read_text("utf-8")
    assert [name for name in lgbench.__all__ if name != "__version__" and f'id="lgbench.{name}"' not in api] == []
    assert 'id="lgbench.training.hooks.Hook.point"' in api
    assert not re.search(r"at 0x|<function|Alias for field", api)


@pytest.mark.slow
def test_the_search_knows_the_pages(built: Path) -> None:
    index = (built / "searchindex.js").read_text("utf-8")
    assert index.startswith("Search.setIndex(")
    assert all(f'"{page}"' in index for page in ("phenomenon", "protocol", "commands", "api"))


def warnings_of(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What Sphinx says of a page with this text, in a repository with a file `code.py`."""
    (folder / "docs").mkdir()
    (folder / "code.py").touch()
    (folder / "docs" / "index.md").touch()
    (folder / "docs" / "page.md").write_text(f"# Page\n\n{text}\n", encoding="utf-8")
    (folder / "docs" / "README.md").write_text("## Start\n\n- [page](page.md)\n", encoding="utf-8")
    (folder / "README.md").write_text("# Home\n", encoding="utf-8")
    (folder / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    monkeypatch.setattr(site, "ROOT", folder)
    monkeypatch.setattr(site, "DOCS", folder / "docs")
    said = io.StringIO()
    options = {
        "extensions": ["myst_parser", "sphinx.ext.autodoc", "tools.site"],
        "exclude_patterns": ["README.md"],
        "myst_heading_anchors": 4,
    }
    output = folder / "output"
    with patch_docutils(), docutils_namespace():
        builder = Sphinx(
            str(folder / "docs"), None, str(output), str(output), "html", options, status=None, warning=said
        )
        builder.build()
    return said.getvalue()


def test_links_to_pages_and_files_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "[a](../code.py) [b](../docs) [c](../README.md) [d](#page) [e](page.md#page) [f](README.md) [g](../output)"
    (tmp_path / "output").mkdir()
    assert warnings_of(text, tmp_path, monkeypatch) == ""
    links = Page((tmp_path / "output" / "page.html").read_text("utf-8")).links
    assert {"../code.py", "index.html", "#page"} <= set(links)


@pytest.mark.parametrize("link", ["../gone.py", "gone.md", "../../outside.py", "page.md#gone", "#gone", "../gone/"])
def test_a_dead_link_is_a_warning(link: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "WARNING" in warnings_of(f"[a]({link})", tmp_path, monkeypatch)


def test_a_file_has_an_address_where_the_repository_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REPOSITORY_URL", raising=False)
    output = ROOT / "build" / "site"
    assert site.file_address(ROOT / "examples" / "my_model.py", output) == "../../examples/my_model.py"
    monkeypatch.setenv("REPOSITORY_URL", "https://example.org/a/b/")
    assert site.file_address(ROOT / "examples", output) == "https://example.org/a/b/tree/main/examples"
    assert site.file_address(ROOT / "README.md", output) == "https://example.org/a/b/blob/main/README.md"


def test_the_readme_is_the_first_page() -> None:
    text = "[a](docs/b.md) ![c](docs/d.svg) [e](https://f) [g](#h)"
    assert site.home(text) == "[a](../docs/b.md) ![c](../docs/d.svg) [e](https://f) [g](#h)"


def test_the_drawing_of_the_arms_is_as_its_program_draws_it() -> None:
    assert draw_arms.PICTURE.read_text("utf-8") == draw_arms.drawing()
    assert draw_arms.drawing(name="copy-mqar") != draw_arms.drawing()


def test_the_glossary_is_in_order_and_names_what_exists() -> None:
    import importlib

    text = (DOCS / "glossary.md").read_text("utf-8")
    terms = re.findall(r"^- \*\*(.*?)\*\*: ", text, flags=re.M)
    assert terms == sorted(set(terms), key=str.lower)
    named = re.findall(r"`(lgbench(?:\.\w+)*)\.(\w+)`", text)
    assert len(named) > 8
    assert [name for module, name in named if not hasattr(importlib.import_module(module), name)] == []


def test_the_workflow_publishes_what_is_built_and_nothing_else() -> None:
    build, publish = jobs("site")["build"], jobs("site")["publish"]
    assert ".venv/bin/poe docs" in " ".join(each.get("run", "") for each in build["steps"])
    assert [each["with"]["path"] for each in build["steps"] if "upload-pages-artifact@" in each.get("uses", "")] == [
        "build/site"
    ]
    assert (publish["needs"], publish["environment"]["name"]) == (["build"], "github-pages")
    assert len(publish["steps"]) == 1
