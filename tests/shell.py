"""Command lines of lgbench, run in the process of the test: what the fixture `lgbench` is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from lgbench.cli import main


class Done(NamedTuple):
    status: int
    out: str
    err: str


class Shell:
    """Runs a command line in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: str | Path) -> Done:
        self._monkeypatch.setattr(sys, "argv", ["lgbench", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = self._capsys.readouterr()
        return Done(int(stop.value.code or 0), out, err)
