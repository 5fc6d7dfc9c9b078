"""The log: a line that cannot be written takes nothing down."""

from __future__ import annotations

import errno
import io
import json
import sys
from collections.abc import Iterator

import pytest
import structlog

from node import log


class FullDisk(io.StringIO):
    """Standard error that is a file on a disk without room."""

    def __init__(self) -> None:
        super().__init__()
        self.full = False

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


@pytest.fixture
def standard_error(monkeypatch: pytest.MonkeyPatch) -> Iterator[FullDisk]:
    file = FullDisk()
    monkeypatch.setattr(sys, "stderr", file)
    before = structlog.get_config()
    log.configure("info", True)
    yield file
    structlog.configure(**before)


def test_a_line_that_cannot_be_written_is_lost_and_the_next_one_is_not(standard_error: FullDisk) -> None:
    told = log.get("consensus")
    told.info("block", height=1)
    # When the disk that the log lies on is full
    standard_error.full = True
    told.info("block", height=2)
    # Then telling is no failure, and with room it goes on
    standard_error.full = False
    told.info("block", height=3)
    lines = [json.loads(line) for line in standard_error.getvalue().splitlines()]
    assert [line["height"] for line in lines] == [1, 3]


def test_a_stream_that_is_closed_takes_nothing_down(standard_error: FullDisk) -> None:
    told = log.get("consensus")
    standard_error.close()
    told.info("block", height=1)
