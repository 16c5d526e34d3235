"""Where the command line begins, as `lgbench` and as `python -m lgbench`."""

from __future__ import annotations

import sys
import traceback
from types import TracebackType


def main() -> None:
    """Run the command line. Imports take a moment, and a Ctrl-C in it ends them as it would end a command."""
    sys.excepthook = _show_bug  # before Typer is loaded, which remembers what it finds
    try:
        from lgbench.cli import main as run
    except KeyboardInterrupt:
        print("Aborted.", file=sys.stderr)
        sys.exit(130)
    run()


def _show_bug(kind: type[BaseException], error: BaseException, place: TracebackType | None) -> None:
    """Print a traceback as Python does, but for control characters in a message that holds a stranger's text."""
    from lgbench.util.text import plain_lines

    print(plain_lines("".join(traceback.format_exception(kind, error, place))), end="", file=sys.stderr)


if __name__ == "__main__":
    main()
