"""The document of reliability says what the campaigns stored."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench import reliability, report
from bench.report import Table, save, text

ROOT = Path(__file__).parents[2]


def test_the_document_is_the_one_the_stored_results_make() -> None:
    # Then nobody has changed a figure by hand, and no result waits to be published
    assert reliability.DOCUMENT.read_text() == reliability.render(), "run: make reliability-document"


def test_every_stored_result_has_its_chapter() -> None:
    names = {path.stem for path in report.RESULTS.glob("*.json")}
    # What is no campaign is told of in docs/performance.md
    told_elsewhere = re.findall(r"`make ([a-z-]+)`", (ROOT / "docs" / "performance.md").read_text("utf-8"))
    assert names <= set(reliability.CHAPTERS) | set(told_elsewhere)


def test_a_result_becomes_a_chapter_with_its_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a campaign that stored its result
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    save(
        Table("kills", "Kills", "make kills", ("nodes", "kills", "lost"), [("four", 1200, 0)], notes=("On loopback.",))
    )
    # When the document is made
    document = reliability.render(tmp_path)
    # Then it has the figures, the command and the machine, and names what has not been measured
    assert "| four | 1,200 | 0 |" in document
    assert "`make kills` on 20" in document
    assert report.machine() in document
    assert "On loopback." in document
    assert document.count("Not measured yet.") == len(reliability.CHAPTERS) - 1


def test_a_row_needs_a_cell_for_every_column() -> None:
    with pytest.raises(AssertionError):
        Table("kills", "Kills", "make kills", ("nodes", "kills"), [(4,)])


@pytest.mark.parametrize(
    ("cell", "shown"), [(1234567, "1,234,567"), (0.5, "0.5"), (12.0, "12"), (1234.56, "1,235"), ("never", "never")]
)
def test_cells_are_written_for_people(cell: str | int | float, shown: str) -> None:
    assert text(cell) == shown
