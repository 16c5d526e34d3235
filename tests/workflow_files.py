"""The workflow files as data, and their shell steps as GitHub runs them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def load(name: str) -> dict[str, Any]:
    """A workflow. Its triggers are under `on`, which YAML 1.1 reads as true."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text("utf-8"))
    return {"on" if key is True else key: value for key, value in workflow.items()}


def jobs(workflow: str) -> dict[str, dict[str, Any]]:
    """The jobs of a workflow, by their keys."""
    return dict(load(workflow)["jobs"])


def job(workflow: str) -> dict[str, Any]:
    """The only job of a workflow."""
    (found,) = jobs(workflow).values()
    return found


def steps(workflow: str) -> Iterator[dict[str, Any]]:
    """The steps of a workflow, job by job."""
    for each in jobs(workflow).values():
        yield from each["steps"]


def step(workflow: str, name: str) -> dict[str, Any]:
    """The step of that name."""
    (found,) = [each for each in steps(workflow) if each.get("name") == name]
    return found


def run_step(script: str, folder: Path, values: Mapping[str, str]) -> tuple[int, str, dict[str, str]]:
    """Run the script of a step as `shell: bash` does.

    Args:
        script: What `run:` holds.
        folder: Where it runs; its outputs are written there too.
        values: Environment variables.

    Returns:
        Its exit status, what it printed, and its outputs.
    """
    output = folder / "github-output"
    output.write_text("", "utf-8")
    command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script]
    environment = {**os.environ, **values, "GITHUB_OUTPUT": str(output)}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    outputs = dict(line.split("=", 1) for line in output.read_text("utf-8").splitlines())
    return done.returncode, done.stdout, outputs
