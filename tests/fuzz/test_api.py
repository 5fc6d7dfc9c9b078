"""The API keeps to its own document, whatever it is asked: a seeded share of ``make fuzz-api``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.api import LEFT_OUT, ask, node_with_a_past

LEAST_QUESTIONS = 400
"""Fewer would mean that schemathesis no longer finds the paths."""


@pytest.mark.slow
def test_the_api_keeps_to_its_document(tmp_path: Path) -> None:
    # Given a real node
    with node_with_a_past(tmp_path) as (node, transaction_id):
        # When it is asked what its document allows and what it does not
        asked = ask(
            node, transaction_id, "--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--seed", "7"
        )
        # Then every answer is one that the document announces
        assert asked.found == [], asked.output[-6_000:]
        assert asked.report["test_cases"]["generated"] >= LEAST_QUESTIONS
        assert asked.report["operations"]["tested"] == asked.report["operations"]["total"] - len(LEFT_OUT)
        # And the node goes on
        node.until_height(node.status()["height"] + 2)
