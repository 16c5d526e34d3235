"""A scratch git repository that holds two systems, for what pull requests may change."""

import json
import os
import shutil
import subprocess
from pathlib import Path

_SETTINGS = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_{what}": "x@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


class Repository:
    """A repository whose branch `main` has one commit, and whose branch `pull` is checked out, to be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def start(cls, folder: Path) -> "Repository":
        """Commit what a folder holds, and begin a branch."""
        repository = cls(folder)
        repository.git("init", "--quiet", "--initial-branch=main")
        repository.commit()
        repository.git("switch", "--quiet", "--create", "pull")
        return repository

    def git(self, *arguments: str | Path) -> str:
        """What git prints."""
        command = ["git", *map(str, arguments)]
        environment = {**os.environ, **_SETTINGS}
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, encoding="utf-8", check=False
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.strip()

    def commit(self) -> str:
        """Commit everything, an empty change too."""
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--allow-empty", "--message", "x")
        return self.git("rev-parse", "HEAD")

    def write(self, path: str, text: str = "x") -> Path:
        """Write a file, in folders that are made; what was in the way is removed."""
        target = self.folder / path
        for each in (target, *target.parents):
            if each.is_symlink() or (each.is_file() and each != target):
                each.unlink()
        if target.is_dir():
            shutil.rmtree(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
        return target

    def write_system(self, name: str, authors: str = "A") -> None:
        """Write a record and a run. They are no valid ones: only which files there are counts."""
        self.write(f"submissions/{name}/system.json", json.dumps({"name": name, "authors": [authors]}))
        self.write(f"submissions/{name}/run/result.json", f"a result of {name}")

    def merge(self) -> str:
        """Commit, and merge the branch into main as GitHub does: main is the first parent."""
        self.commit()
        self.git("switch", "--quiet", "main")
        self.git("merge", "--quiet", "--no-ff", "--message", "merge", "pull")
        return self.git("rev-parse", "HEAD")
