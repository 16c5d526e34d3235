"""Where the command line begins, as `lgbench` and as `python -m lgbench`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line. Imports take a moment, and a Ctrl-C in it ends them as it would end a command."""
    try:
        from lgbench.cli import main as run
    except KeyboardInterrupt:
        print("Aborted.", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
