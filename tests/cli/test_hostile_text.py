"""What strangers wrote reaches no terminal as it is: names, results, records and servers full of control characters."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lgbench.cli._console import PlainConsole
from lgbench.cli._streams import plain_streams, stdout_to_stderr
from lgbench.util.text import json_text, plain, plain_lines
from tests.loopback import Serve, failure
from tests.shell import Shell
from tests.submitted import RUN, edit

pytestmark = pytest.mark.slow

# A colour, a link, a title, a cleared line, a reversed direction, an 8-bit control sequence, DEL, and forged lines.
HOSTILE = (
    "evil\x1b[35m\x1b]8;;http:x\x07\x1b]0;x\x07\x1b[2K\x1b[1A\u202egnp\u2066\x9b2J\x7f[red]b[link=x]"
    "\r\nError: forged\u2028"
)
STYLES = re.compile(r"\x1b\[[0-9;]*m|\x1b\[[0-9]*[AK]|\x1b\[\?25[hl]")
MODEL = f"""
class M:
    def predict(self, prompts, task):
        raise RuntimeError({HOSTILE!r})

class Prints(M):
    def predict(self, prompts, task):
        print({HOSTILE!r})
        return [""] * len(prompts)
"""


def unfit(text: str) -> list[str]:
    return sorted({each for each in text if not each.isprintable() and each not in "\n\t"})


def test_one_line_and_several() -> None:
    assert unfit(plain(HOSTILE) + plain_lines(HOSTILE)) == []
    assert plain(HOSTILE).count("\n") == 0
    assert plain_lines("a\tb\nc é █ ≥\n") == "a\tb\nc é █ ≥\n"
    assert plain(Path("x" * 600)) == "x" * 500 + "..."
    assert plain_lines("\udcff") == "\\udcff"


def test_json_stays_json() -> None:
    text = json_text({HOSTILE: HOSTILE})
    assert unfit(text) == []
    assert json.loads(text) == {HOSTILE: HOSTILE}


@pytest.fixture(name="evil")
def _evil(run_folders: dict[str, Path], tmp_path: Path) -> Path:
    """A finished run in a folder with such a name, which says such things of itself."""
    folder = Path(shutil.copytree(run_folders[RUN], tmp_path / HOSTILE / "run"))

    def spoil(result: dict[str, Any]) -> None:
        result["system"].update(model=HOSTILE, kind="hf", options={"revision": HOSTILE, HOSTILE: HOSTILE})
        result["system"]["prompt"] = {"style": "raw", "chat": False, "template": HOSTILE, "shots": None}
        result["environment"].update(platform=HOSTILE, packages={HOSTILE[:20]: HOSTILE[:20]})

    edit(folder / "result.json", spoil)
    return folder


def first_nonfinite(**fields: object) -> Callable[[dict[str, Any]], object]:
    return lambda result: result.update(fields)


def with_task(result: dict[str, Any]) -> None:
    result["cells"][0]["task"] = HOSTILE[:100]


CHANGES = {
    "none": first_nonfinite(),
    "suite": first_nonfinite(suite=HOSTILE[:90]),
    "group": first_nonfinite(group=HOSTILE[:90]),
    "arm": first_nonfinite(arm=HOSTILE),
    "task": with_task,
    "field": lambda result: result.update({HOSTILE: HOSTILE}),
    "number": first_nonfinite(seed=HOSTILE),
    "counts": lambda result: result["cells"][0]["counts"].update({HOSTILE: 1}),
    "partial": lambda result: result["cells"].pop(),
}
COMMANDS = (
    ("show", "--lengths", "."),
    ("rescore", "."),
    ("compare", "."),
    ("compare", "--json", "."),
    ("plot", ".", "-o", "x.svg"),
    ("plot", ".", "--kind", "series", "-o", "x.svg"),
    ("plot", ".", "--kind", "training", "-o", "x.svg"),
    ("submit", ".", "--name", "new", "--description", HOSTILE, "--licence", HOSTILE, "--authors", HOSTILE),
    ("validate", "."),
    ("validate", HOSTILE, "--json"),
    ("leaderboard", "build", "--submissions", HOSTILE),
    ("export", "eee", "out", f"{HOSTILE}/run"),
    ("export", "hf", HOSTILE, "out"),
    ("eval", f"replay:{HOSTILE}", "-o", f"{HOSTILE}/run"),
    ("eval", "echo", "--arm", "main_only", "--group", "add-multiply", "--resume", "-o", f"{HOSTILE}/run"),
    ("retrain", HOSTILE),
    ("data", "export", "--task", "mqar", "-o", f"{HOSTILE}/x"),
    ("data", "export", "--task", HOSTILE),
    ("eval", HOSTILE),
    ("doctor", f"{HOSTILE}.py:M"),
    (HOSTILE,),
    ("show", f"--{HOSTILE}"),
    ("eval", "echo", "--limit", HOSTILE),
    ("eval", "echo", "--model-option", HOSTILE),
)


@pytest.mark.parametrize("change", CHANGES)
def test_no_command_prints_what_a_stranger_wrote_as_it_is(change: str, lgbench: Shell, evil: Path) -> None:
    edit(evil / "result.json", CHANGES[change])
    for command in COMMANDS:
        done = lgbench(*command)
        assert unfit(done.out + done.err) == [], command
        assert "\nError: forged" not in done.out, command
        if command[-1] == "--json" and done.out:
            json.loads(done.out)


def test_a_submission_and_a_board_of_hostile_text(lgbench: Shell, submissions: Path) -> None:
    shutil.copytree(submissions / "my-system", submissions / HOSTILE)
    (submissions / "my-system" / HOSTILE).touch()
    edit(submissions / "my-system" / "system.json", lambda system: system.update(name=HOSTILE, description=HOSTILE))
    for command in (("validate",), ("leaderboard", "build"), ("leaderboard", "build", "--check"), ("submit", ".")):
        done = lgbench(*command, *(("--name", HOSTILE) if command[0] == "submit" else ()))
        assert unfit(done.out + done.err) == [], command
    found = lgbench("validate", "--json")
    assert any(HOSTILE in problem["path"] for problem in json.loads(found.out)["problems"])
    assert unfit(found.out) == []


def test_a_board_that_is_compared(lgbench: Shell, submissions: Path) -> None:
    assert lgbench("leaderboard", "build").status == 0
    Path("leaderboard", "systems", f"{HOSTILE}.md").write_text(HOSTILE, encoding="utf-8")
    Path("leaderboard", "README.md").write_text(HOSTILE, encoding="utf-8")
    for more in ((), ("--check",)):
        done = lgbench("leaderboard", "build", *more)
        assert done.status == 1
        assert unfit(done.out + done.err) == []


@pytest.mark.parametrize("command", [("eval", "--limit", "1", "-o", "out"), ("doctor",)])
def test_what_a_users_model_raises_and_prints(command: tuple[str, ...], lgbench: Shell) -> None:
    Path("m.py").write_text(MODEL, encoding="utf-8")
    for name in ("M", "Prints"):
        done = lgbench(command[0], f"m.py:{name}", *command[1:])
        assert unfit(done.out + done.err) == []
        assert "evil\\x1b[35m" in done.out + done.err


def test_what_a_server_says(lgbench: Shell, serve: Serve) -> None:
    _, server = serve(lambda *_: failure(400, HOSTILE, HOSTILE))
    for command in (("eval", "-o", "out"), ("eval", "-o", "out", "--resume"), ("doctor",)):
        done = lgbench(command[0], "api:tiny", "--model-option", f"base_url={server.url}", *command[1:])
        assert done.status == 1
        assert "evil" in done.err or command[0] == "doctor"
        assert unfit(done.out + done.err) == []


def test_logs_and_streams_are_made_plain(capsys: pytest.CaptureFixture[str]) -> None:
    with plain_streams():
        logger = logging.getLogger("a-library")
        logger.propagate = False  # pytest's own handler is further up
        logger.warning("said %s", HOSTILE)
        print(HOSTILE, file=sys.stderr)
        sys.stdout.writelines([HOSTILE, HOSTILE])
        with stdout_to_stderr():
            print(HOSTILE)
            print("10 %\r20 %\r", file=sys.stderr)
            logger.warning(HOSTILE)
    out, err = capsys.readouterr()
    assert unfit(out + err) == []
    assert err.count("evil\\x1b[35m") == 4
    assert "\n10 %\n20 %\n" in err
    print(HOSTILE)
    assert capsys.readouterr().out == HOSTILE + "\n", "streams and handlers are as before"


def test_a_console_shows_no_sequences_but_its_own(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    with plain_streams():
        PlainConsole(width=300).print(f"[bold]{plain_lines('x')}[/bold]", HOSTILE, style="bold", markup=False)
        PlainConsole(width=300).print("[bold]x[/bold]")
    out = capsys.readouterr().out
    assert "\x1b[1mx\x1b[0m" in out
    assert "\x1b[35m" not in out
    assert unfit(STYLES.sub("", out)) == []


def in_terminal(*arguments: str, folder: Path) -> str:
    """What a command writes to a terminal."""
    import pty

    master, slave = pty.openpty()
    command = [sys.executable, "-m", "lgbench", *arguments]
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "200"}
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, cwd=folder, env=environment)
    os.close(slave)
    written = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # Linux says so at the end
            piece = b""
        if not piece:
            break
        written += piece
    process.wait()
    os.close(master)
    return written.decode().replace("\r\n", "\n")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(
    "command",
    [
        ("show", "--lengths", "."),
        ("rescore", "."),
        ("show", f"--{HOSTILE}"),
        ("eval", "m.py:M", "--limit", "1", "-o", HOSTILE),
        ("eval", "m.py:Prints", "--limit", "1", "--task", "mqar", "-o", HOSTILE),
    ],
)
def test_in_a_terminal_only_styles_of_ours_are_seen(command: tuple[str, ...], evil: Path, tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(MODEL, encoding="utf-8")
    edit(evil / "result.json", with_task)
    written = in_terminal(*command, folder=tmp_path)
    assert "evil" in written
    if "m.py:Prints" not in command:  # code that a user runs may style what it prints
        assert "\x1b[35m" not in written
    assert unfit(STYLES.sub("", written).replace("\r", "")) == []


def test_a_bug_of_ours_is_told_in_plain_text(tmp_path: Path) -> None:
    code = (
        "import sys, lgbench.data.cells\n"
        "from lgbench.__main__ import main\n"
        "sys.argv = ['lgbench', 'tasks', 'show', 'mqar']\n"
        f"def bug(*_, **__): raise RuntimeError({HOSTILE!r})\n"
        "lgbench.data.cells.draw_cell = bug\n"
        "main()\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "evil\\x1b[35m" in done.stderr
    assert unfit(done.stderr) == []
