"""Facts of the moment, and warnings that are said once."""

from __future__ import annotations

from node.live import FINALITY_REMEMBERED, HEIGHTS_REMEMBERED, RATE_WINDOW_BLOCKS, FinalityLog, Warnings


def test_finality_is_of_blocks_that_were_seen_open_only() -> None:
    log = FinalityLog()
    log.committed(1, 400, 1_000)
    log.committed(2, None, 1_100)
    log.committed(3, 500, 1_200)
    assert list(log.last) == [400, 500]
    assert [log.of_height(height) for height in range(4)] == [None, 400, None, 500]


def test_the_rate_counts_all_commits_of_the_last_second() -> None:
    log = FinalityLog()
    for number in range(10):
        log.committed(number, None, 1_000 + 300 * number)
    assert log.blocks_per_second(3_700) == 4
    assert log.blocks_per_second(10_000) == 0


def test_what_is_remembered_is_bounded() -> None:
    log = FinalityLog()
    count = HEIGHTS_REMEMBERED + 5
    for height in range(count):
        log.committed(height, 100, height)
    assert len(log.last) == FINALITY_REMEMBERED
    assert log.of_height(4) is None
    assert log.of_height(5) == log.of_height(count - 1) == 100
    assert log.blocks_per_second(count) <= RATE_WINDOW_BLOCKS


def test_a_warning_is_new_once_and_cleared_once() -> None:
    warnings = Warnings()
    assert warnings.update("the disk is full", None) == (["the disk is full"], [])
    assert warnings.update("the disk is full", "no peers") == (["no peers"], [])
    assert warnings.current == ("the disk is full", "no peers")
    assert warnings.update(None, "no peers") == ([], ["the disk is full"])
    assert warnings.update(None, None) == ([], ["no peers"])
    assert warnings.current == ()
