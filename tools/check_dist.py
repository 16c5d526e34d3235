"""Build wheel and sdist into dist/, and try the wheel where there is no checkout: `poe dist`.

The wheel is built from the sdist, so that both are complete. Needs the extra `release`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
CONSTRAINTS = ROOT / "constraints.txt"
IN_WHEEL = ("lgbench/py.typed", "lgbench/data/locks/mini-v1.json", "lgbench/checkpoints/tiny/")
IN_SDIST = ("tests/conftest.py", "benchmarks/__main__.py", "tools/check_dist.py", "docs/README.md", "constraints.txt")


def run(*command: str | Path, folder: Path) -> None:
    """Run a command in a folder, with the versions that constraints.txt names wherever pip is called.

    Raises:
        SystemExit: It failed.
    """
    print("$", *command, flush=True)
    # Neither the checkout nor what is installed here may be found in place of what is tried.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"PIP_CONSTRAINT": str(CONSTRAINTS), "PIP_BUILD_CONSTRAINT": str(CONSTRAINTS)}
    done = subprocess.run(list(map(str, command)), cwd=folder, env=environment, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed with status {done.returncode}.")


def build() -> Path:
    """Build both, check what they hold and what an index would say to them; gives the wheel."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", DIST, ROOT, folder=ROOT)
    run(sys.executable, "-m", "twine", "check", "--strict", *sorted(DIST.iterdir()), folder=ROOT)
    (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        _check(wheel, archive.namelist(), IN_WHEEL)
        outside = {name.split("/")[0] for name in archive.namelist()} - {"lgbench"}
    if len(outside) != 1:  # what describes the wheel
        sys.exit(f"{wheel.name} installs more than lgbench: {', '.join(sorted(outside))}.")
    with tarfile.open(sdist) as archive:
        _check(sdist, [name.partition("/")[2] for name in archive.getnames()], IN_SDIST)
    return wheel


def _check(path: Path, names: list[str], wanted: tuple[str, ...]) -> None:
    missing = [each for each in wanted if not any(name.startswith(each) for name in names)]
    if missing:
        sys.exit(f"{path.name} lacks {', '.join(missing)}.")


def main() -> None:
    """Build, install into a new virtual environment, and evaluate there."""
    wheel = build()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        venv.create(folder / "venv", with_pip=True)
        programs = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
        run(programs / "python", "-m", "pip", "install", "--quiet", f"{wheel}[torch]", folder=folder)
        run(programs / "lgbench", "--version", folder=folder)
        run(programs / "python", "-I", ROOT / "tools" / "try_commands.py", folder, folder=folder)
        run(programs / "lgbench", "eval", "oracle", "--output", "oracle", folder=folder)
        run(programs / "lgbench", "demo", folder=folder)
    print(f"Ready: {', '.join(sorted(path.name for path in DIST.iterdir()))}, in {DIST}")


if __name__ == "__main__":
    main()
