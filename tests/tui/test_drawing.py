"""Pictures made of characters never overflow, never lie about the winner."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tui.drawing import Segment, bar, lane, ruler
from tui.palette import member_colours
from tui.widgets.chart import round_ticks

WEIGHTS = st.lists(st.integers(min_value=0, max_value=10**12), min_size=1, max_size=40).filter(any)


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(1, 200))
def test_a_bar_has_its_width_and_grows_with_its_part(part: int, whole: int, width: int) -> None:
    text = bar(part, whole, width, "red")
    assert text.cell_len == width
    if whole and part >= whole:
        assert text.plain == "━" * width


@given(WEIGHTS, st.data(), st.integers(10, 200))
def test_the_pointer_stands_in_the_winners_part(weights: list[int], data: st.DataObject, width: int) -> None:
    total = sum(weights)
    ticket = data.draw(st.integers(0, total - 1))
    segments, running = [], 0
    for place, weight in enumerate(weights):
        segments.append(Segment(f"home {place}", f"#{place:06x}", running, running + weight))
        running += weight
    lines = ruler(segments, total, ticket, width).split("\n")
    assert [line.cell_len for line in lines] == [width, width, width]
    pointer = lines[0].plain.index("▼")
    winner = next(part for part in segments if part.from_ticket <= ticket < part.to_ticket)
    spans = {str(span.style): (span.start, span.end) for span in lines[1].spans}
    if winner.colour in spans:  # a part narrower than a cell may have none
        start, end = spans[winner.colour]
        assert start <= pointer < end


def test_a_lane_tells_blocks_and_skipped_turns_apart() -> None:
    assert lane([True, False, False], [False, False, True], "red").plain == "▇·×"


@given(st.floats(min_value=1e-6, max_value=1e9), st.integers(1, 5))
def test_ticks_are_few_begin_at_zero_and_reach_into_the_upper_half(top: float, parts: int) -> None:
    ticks = round_ticks(top, parts)
    assert ticks[0] == 0
    assert 2 <= len(ticks) <= parts + 1
    assert all(one < other for one, other in pairwise(ticks))
    assert top / 2.6 <= ticks[-1] <= top * 1.0001


def test_neighbours_have_different_colours() -> None:
    colours = member_colours(["d", "a", "c", "b"])
    assert len(set(colours.values())) == 4
    assert colours == member_colours(["a", "b", "c", "d", "a"])
