"""Asks a real node's API everything its own document allows and much that it does not: ``make fuzz-api``.

Exit status 1 and schemathesis' own story of each finding, with the request that repeats it, if there is one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from bench.report import Table, save
from tests.fuzz.api import LEFT_OUT, ask, node_with_a_past


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max-examples", type=int, default=500, help="questions of each sort for each path")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    flags = ("--max-examples", str(arguments.max_examples), "--seed", str(arguments.seed))
    with tempfile.TemporaryDirectory() as directory, node_with_a_past(Path(directory)) as (node, transaction_id):
        before_kib = node.resident_kib()
        asked = ask(node, transaction_id, *flags, quiet=False)
        grown_kib = node.resident_kib() - before_kib
        node.until_height(node.status()["height"] + 2)
    cases = asked.report["test_cases"]
    save(
        Table(
            name="fuzz-api",
            title="Questions to the API",
            command="make fuzz-api",
            columns=("paths", "questions", "findings", "seconds", "memory grown by, MiB"),
            rows=[
                (
                    str(asked.report["operations"]["tested"]),
                    int(cases["generated"]),
                    len(asked.found),
                    float(asked.report["running_time"]),
                    grown_kib / 1024,
                )
            ],
            notes=(
                f"Left out: {' and '.join(LEFT_OUT)}, of which one stops the node and the other never ends.",
                f"schemathesis {asked.report['schemathesis_version']}, seed {asked.report['seed']}, all of its checks.",
            ),
        )
    )
    return 1 if asked.found else 0


if __name__ == "__main__":
    sys.exit(main())
