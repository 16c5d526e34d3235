"""A Sphinx extension for the documentation site: its first page, generated pages, and links to files of the repository.

The pages in docs/ are plain Markdown, made to be read in the repository. What the site needs beyond that is added when
they are read:

- index.md is the project's README, and the parts of docs/README.md are the table of contents;
- `<!-- commands -->` and `<!-- api -->` in a page become the reference of the commands and of the Python names;
- a link to a file that is not a page leads to the file in the repository, after a check that it exists.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import quote

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

from tools import site_reference

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
GENERATED = {"<!-- commands -->": site_reference.commands, "<!-- api -->": site_reference.api}
_LOG = logging.getLogger(__name__)


def parts(listing: str) -> dict[str, list[str]]:
    """The parts of the site, each with its pages in order, as docs/README.md lists them."""
    found = {
        title: re.findall(r"^- \[[^]]*\]\(([\w-]+)\.md\)", body, flags=re.M)
        for title, body in re.findall(r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", listing, flags=re.M | re.S)
    }
    return {title: pages for title, pages in found.items() if pages}


def contents(listing: str) -> str:
    """The table of contents of the site, in MyST's Markdown."""
    return "\n".join(
        "\n".join(["```{toctree}", ":hidden:", f":caption: {title}", "", *pages, "```", ""])
        for title, pages in parts(listing).items()
    )


def home(readme: str) -> str:
    """The README as a page in docs/: links that were relative to the root of the repository lead there still."""
    return re.sub(r"\]\((?!https?:|#)", "](../", readme)


def fill(_app: Sphinx, page: str, source: list[str]) -> None:
    """Add to a page what is generated."""
    if page == "index":
        listing = (DOCS / "README.md").read_text("utf-8")
        source[0] = home((ROOT / "README.md").read_text("utf-8")) + "\n" + contents(listing)
    for mark, make in GENERATED.items():
        if mark in source[0]:
            source[0] = source[0].replace(mark, make())


def repository() -> str | None:
    """The address of the repository: of `[project.urls]`, or the variable REPOSITORY_URL; None if unknown."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    address = project.get("urls", {}).get("Repository") or os.environ.get("REPOSITORY_URL")
    return address.rstrip("/") if address else None


def file_address(path: Path, output: Path) -> str:
    """Where a link to a file or folder of the repository leads: to its page there, or else to the file on this disk."""
    address = repository()
    if address is None:
        return quote(os.path.relpath(path, output).replace(os.sep, "/"))
    kind = "tree" if path.is_dir() else "blob"
    return f"{address}/{kind}/main/{quote(path.relative_to(ROOT).as_posix())}"


class RepositoryLinks(SphinxTransform):
    """Has links that lead to no page of the site lead to the repository."""

    default_priority = 5  # before Sphinx takes a file for a download, and copies it
    output: Path
    """Where the site is written."""

    def apply(self, **_: Any) -> None:
        """Change the links of one page."""
        for kind in (addnodes.download_reference, addnodes.pending_xref):
            for node in list(self.document.findall(kind)):
                if node.get("reftype") == "myst":
                    self._change(node)

    def _change(self, node: nodes.Element) -> None:
        target, _, anchor = node["reftarget"].partition("#")
        is_page = node.get("refdomain") == "doc"
        if not target or (is_page and target in self.env.found_docs):
            return
        path = (DOCS / f"{target}.md" if is_page else DOCS / target).resolve()
        if path in (ROOT / "README.md", DOCS / "README.md", DOCS):
            node.attributes.update(refdomain="doc", reftarget="index", reftargetid=None)
        elif not path.exists() or not path.is_relative_to(ROOT):
            _LOG.warning("%r leads to no file of the repository", node["reftarget"], location=node, type="lgbench")
        else:
            address = file_address(path, self.output) + (f"#{anchor}" if anchor else "")
            node.replace_self(nodes.reference("", "", *node.children, refuri=address, internal=False))


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls first."""
    site_reference.connect(app)
    app.connect("source-read", fill)
    RepositoryLinks.output = Path(app.outdir)
    app.add_transform(RepositoryLinks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
