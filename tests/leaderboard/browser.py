"""A browser for tests: Debian's `chromium`, or the program that LGBENCH_CHROMIUM names.

Without one these tests skip, but not where LGBENCH_BROWSER_TESTS is `required`, as in CI.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
PATIENCE = 240_000
"""Milliseconds that a page may take on a busy machine."""
Scheme = Literal["light", "dark"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, with a fresh profile."""
    program = os.environ.get("LGBENCH_CHROMIUM") or shutil.which("chromium")
    if program is None:
        message = "no browser: install Debian's package chromium, or name one in LGBENCH_CHROMIUM"
        if os.environ.get("LGBENCH_BROWSER_TESTS") == "required":
            pytest.fail(message)
        pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_ARGUMENTS), timeout=PATIENCE)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """A page that was opened, and what went on behind it.

    Attributes:
        page: The page.
        complaints: What the console said, exceptions, and requests that failed or left the folder.
    """

    page: Page
    root: str
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        """Open a page of the site, and wait until its scripts ran."""
        self.page.goto(f"{self.root}/{path}")
        return self.page

    def shown(self, selector: str) -> list[str]:
        """The text of the visible elements."""
        return [each.inner_text() for each in self.page.locator(selector).all() if each.is_visible()]

    def violations(self) -> list[Any]:
        """What axe-core finds."""
        from axe_playwright_python.sync_playwright import Axe

        # `preload` would fetch the style again, which the page itself forbids.
        found = Axe().run(self.page, options={"preload": False}).response
        assert found["passes"]
        return [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found["violations"]]


@contextmanager
def visit(browser: Browser, site: Path, *, width: int = 1200, scheme: Scheme = "light") -> Iterator[Visit]:
    """A visitor who sees no error, and whose browser asks for nothing outside the site's folder."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    visitor = Visit(page, site.as_uri())
    told = visitor.complaints
    page.on("console", lambda message: told.append(f"console {message.type}: {message.text}"))
    page.on("pageerror", lambda error: told.append(f"exception: {error}"))
    page.on("requestfailed", lambda request: told.append(f"failed: {request.url}"))
    page.on("request", lambda request: told.append(f"left: {request.url}") if _leaves(request.url, site) else None)
    try:
        yield visitor
    finally:
        context.close()
    assert told == []


def _leaves(url: str, site: Path) -> bool:
    return not url.startswith((f"{site.as_uri()}/", "data:"))
