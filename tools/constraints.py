"""Write constraints.txt: the versions that an installation of everything takes, from a new virtual environment.

`python tools/constraints.py` (or `poe constraints`) keeps the versions that constraints.txt names, adds what is new and
drops what nothing needs any more. `--upgrade NAME` frees one package, `--upgrade-all` all but those in `HELD`.
Needs Python and a package index; nothing of lgbench has to be installed.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
EXTRAS = "all,dev,docs,peers,release"
HEADER = "# Written by tools/constraints.py; CONTRIBUTING.md says how to raise a version.\n"
HELD = ("torch",)
"""Raised only by name: recorded curves are compared bit by bit, and a release of PyTorch may round differently."""
_OF_A_GPU = re.compile(r"(nvidia|cuda|triton)\b")  # PyTorch pins these itself, where it needs them
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;+]+)", re.MULTILINE)


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text: str) -> dict[str, str]:
    """The versions that lines such as `name==version` name, without local labels as in `2.13.0+cpu`."""
    return dict(_PIN.findall(text))


def kept(text: str, upgraded: set[str], *, upgrade_all: bool) -> str:
    """The lines of constraints.txt that stay in force while the new versions are chosen."""
    names = {normal(name) for name in upgraded}
    stay = {
        name: version
        for name, version in pins(text).items()
        if normal(name) not in names and (not upgrade_all or normal(name) in HELD)
    }
    return _lines(stay)


def frozen(listed: str) -> str:
    """The file for what `pip freeze --all` lists: this package and those of a GPU are left out."""
    return HEADER + _lines({name: version for name, version in pins(listed).items() if not _OF_A_GPU.match(name)})


def _lines(versions: dict[str, str]) -> str:
    return "".join(f"{name}=={versions[name]}\n" for name in sorted(versions, key=normal))


def install(folder: Path, constraints: Path) -> str:
    """Install everything into a new virtual environment, the build backend and pip included, and list it."""
    venv.create(folder, with_pip=True)
    python = str(folder / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    for wanted in (["--upgrade", "pip", "setuptools"], ["hatchling", "-e", f"{ROOT}[{EXTRAS}]"]):
        print(f"pip install {' '.join(wanted)}", file=sys.stderr)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-c", str(constraints), *wanted], check=True)
    listed = subprocess.run(
        [python, "-m", "pip", "freeze", "--all", "--exclude-editable"],
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    return listed.stdout


def main() -> None:
    """Write the file, and say which lines changed."""
    parser = argparse.ArgumentParser(description="Write constraints.txt from a new virtual environment.")
    parser.add_argument("--upgrade", action="append", default=[], metavar="NAME", help="Free this package's version.")
    parser.add_argument("--upgrade-all", action="store_true", help=f"Free all versions but that of {', '.join(HELD)}.")
    options = parser.parse_args()
    before = CONSTRAINTS.read_text("utf-8")
    with tempfile.TemporaryDirectory() as place:
        constraints = Path(place) / "constraints.txt"
        constraints.write_text(kept(before, set(options.upgrade), upgrade_all=options.upgrade_all), "utf-8")
        after = frozen(install(Path(place) / "venv", constraints))
    CONSTRAINTS.write_text(after, "utf-8", newline="\n")
    old, new = pins(before), pins(after)
    for name in sorted(old.keys() | new.keys(), key=normal):
        if old.get(name) != new.get(name):
            print(f"{name}: {old.get(name, 'new')} -> {new.get(name, 'dropped')}")


if __name__ == "__main__":
    main()
