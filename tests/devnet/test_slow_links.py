"""Agreement over slow lines, in virtual time: few homes, few blocks; ``make slow-links`` has the many."""

from __future__ import annotations

import pytest

from devnet.laboratory.slow_links import LineSpeed, Setting, World
from devnet.laboratory.slow_links.lines import Line, acknowledgement_octets, stream_octets, wire_octets


def test_ten_homes_on_256_kbit_lines_agree_in_the_first_view() -> None:
    figures = World(Setting(homes=10, blocks=5)).run()
    assert (figures.blocks, figures.behind, figures.views_above_zero, figures.lost) == (5, 0, 0, 0)
    assert figures.finality_p95_s < 2.0
    # And each of them sends a fraction of what its line carries in the time: 480 kB
    assert figures.up_octets < 40_000
    assert figures.busiest_up_share < 0.15


def test_twenty_homes_of_which_two_are_away_agree() -> None:
    figures = World(Setting(homes=20, blocks=4, offline=2, seed=3)).run()
    assert (figures.blocks, figures.behind) == (4, 0)
    assert figures.up_octets < 60_000


def test_the_same_seed_gives_the_same_history() -> None:
    first, second = (World(Setting(homes=7, blocks=3, seed=5)).run() for _ in range(2))
    assert (first.finality_p50_s, first.up_octets, first.messages) == (
        second.finality_p50_s,
        second.up_octets,
        second.messages,
    )


def test_lines_that_lose_most_of_what_is_sent_only_delay_agreement() -> None:
    # Given queues that hold hardly more than one message
    figures = World(Setting(homes=4, blocks=3, speed=LineSpeed(queue_octets=1_700))).run()
    assert figures.lost > 0
    assert (figures.blocks, figures.behind) == (3, 0)


def test_a_line_carries_one_thing_after_the_other_and_loses_what_does_not_fit() -> None:
    line = Line(bits=80_000, queue_octets=5_000)
    assert line.carry(1_000, 0.0) == (pytest.approx(0.1), pytest.approx(0.1))
    assert line.carry(3_000, 0.0) == (pytest.approx(0.25), pytest.approx(0.4))  # a packet through, and the whole
    assert line.carry(2_000, 0.0) is None
    assert line.carry(2_000, 0.35) is not None
    assert (line.octets, line.lost) == (6_000, 1)


def test_what_a_message_weighs_grows_with_its_packets() -> None:
    assert stream_octets(100) == 100 + 12 + 18
    assert wire_octets(100) == 130 + 52
    assert wire_octets(3_000) == 3_030 + 3 * 52
    assert acknowledgement_octets(100) == 52
    assert acknowledgement_octets(3_000) == 2 * 52
