"""Write the sums of tokens of the published streams: `python tools/count_tokens.py SUITE EXAMPLES [DOMAIN ...]`.

Lists that the table has already, as far as asked for, are left alone, so that it can be interrupted and extended.
"""

from __future__ import annotations

import json
import sys
from itertools import islice

from lgbench.data.stream import list_key
from lgbench.data.suites import load_suite
from lgbench.training.token_counts import EVERY, stream_rows_from, table_path
from lgbench.util.files import write_atomically


def main(suite_name: str, examples: int, domains: list[str]) -> None:
    """Count the tokens of every list of a suite up to a number of examples."""
    suite = load_suite(suite_name)
    path = table_path(suite.name)
    table: dict[str, list[list[int]]] = json.loads(path.read_text("ascii")) if path.exists() else {}
    for group in suite.groups:
        if domains and suite.domain(group).name not in domains:
            continue
        for arm in group.arms:
            parts = arm.mixture(group).parts
            sums = table.setdefault(list_key(suite, parts), [[0, 0]])
            rows = stream_rows_from(suite, parts, EVERY * (len(sums) - 1))
            while EVERY * len(sums) <= examples:
                tokens, target_tokens = sums[-1]
                for row in islice(rows, EVERY):
                    tokens += len(row.tokens)
                    target_tokens += len(row.tokens) - row.start
                sums.append([tokens, target_tokens])
            write_atomically(path, _text(table))
            print(group.name, arm.name, sums[-1], flush=True)


def _text(table: dict[str, list[list[int]]]) -> bytes:
    lines = (f"{json.dumps(key)}: {json.dumps(sums, separators=(',', ':'))}" for key, sums in table.items())
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode("ascii")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
