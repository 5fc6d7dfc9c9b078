"""The plan of a download: who is asked for what, when there are slow peers, liars, and peers that come and go."""

from __future__ import annotations

from heapq import heappop, heappush
from random import Random

import pytest

from node.download import (
    ASKED_FOR_ONE,
    FIRST_COUNT,
    MAX_AHEAD,
    MAX_ANSWER_BYTES,
    MAX_COUNT,
    MAX_HELD_BYTES,
    MAX_IN_FLIGHT,
    PASSED_OVER_MS,
    PER_PEER,
    RESERVED_BYTES,
    Ask,
    Blame,
    Download,
    Misconduct,
    Served,
)


def blocks(ask: Ask, count: int | None = None) -> tuple[int, ...]:
    """Blocks are their heights here."""
    return tuple(range(ask.first, ask.first + (ask.count if count is None else count)))


def fresh(*peers: str, height: int = 10_000, applied: int = 0) -> Download[int]:
    download = Download[int](applied, Random(1))
    for peer in peers:
        download.claims(peer, height)
    return download


def only(asks: list[Ask]) -> Ask:
    (ask,) = asks
    return ask


# -- asking


def test_nobody_ahead_means_nothing_to_ask() -> None:
    download = fresh("bob", height=7, applied=7)
    assert download.plan(0) == []
    assert download.wake_at_ms(0) is None
    assert download.target == 7


def test_several_peers_are_asked_at_once_for_ranges_side_by_side() -> None:
    download = fresh("bob", "carla")
    asks = download.plan(0)
    assert sorted(ask.peer for ask in asks) == ["bob"] * PER_PEER + ["carla"] * PER_PEER
    assert [ask.first for ask in asks] == [1 + FIRST_COUNT * number for number in range(4)]
    assert download.plan(1) == [], "nothing is asked for twice"


def test_no_more_is_in_flight_than_is_allowed() -> None:
    asks = fresh(*"abcdefghijkl").plan(0)
    assert len(asks) == MAX_IN_FLIGHT


def test_a_claim_is_a_bound_and_so_is_what_was_pruned() -> None:
    download = Download[int](0, Random(1))
    download.claims("bob", 5)
    download.claims("carla", 100, floor=6)
    asks = download.plan(0)
    assert [(ask.first, ask.last) for ask in asks if ask.peer == "bob"] == [(1, 5)]
    assert {ask.peer for ask in asks if ask.first > 5} == {"carla"}


def test_nothing_above_the_last_wanted_height_is_asked_for() -> None:
    download = Download[int](0, Random(1), last_wanted=20)
    download.claims("bob", 10**12)
    assert [(ask.first, ask.last) for ask in download.plan(0)] == [(1, 16), (17, 20)]
    assert download.target == 20


def test_a_huge_claim_makes_no_more_work_than_the_window() -> None:
    download = fresh("bob", height=10**15)
    for _ in range(MAX_AHEAD):
        for ask in download.plan(0):
            assert ask.last <= MAX_AHEAD
            download.answered(ask, blocks(ask), 1, 1)
    assert download.held_bytes <= MAX_AHEAD
    assert download.plan(2) == [], "nothing beyond the window until something is applied"


def test_the_size_of_a_request_follows_the_answers() -> None:
    download = fresh("bob")
    counts = []
    for _ in range(4):
        ask = download.plan(0)[0]
        counts.append(ask.count)
        download.answered(ask, blocks(ask), 1, 1)
    assert counts[0] == FIRST_COUNT
    assert max(counts) <= MAX_COUNT
    # Given large blocks, of which an answer holds three
    large = fresh("bob")
    first = large.plan(0)[0]
    large.answered(first, blocks(first, 3), 1_000_000, 1)
    following = large.plan(1)
    assert following[0].first == 4
    assert following[0].count == 6


def test_what_fails_is_asked_for_in_smaller_pieces() -> None:
    download = fresh("bob")
    ask = download.plan(0)[0]
    download.failed(ask, 10_000)
    again = download.plan(10_000 + PASSED_OVER_MS)
    assert again[0].first == 1
    assert again[0].count == FIRST_COUNT // 2


# -- holding and taking


def test_ranges_are_taken_in_order_whatever_order_they_come_in() -> None:
    download = fresh("bob", "carla")
    asks = download.plan(0)
    for ask in reversed(asks):
        assert download.take() is None
        download.answered(ask, blocks(ask), 100, 1)
    taken: list[int] = []
    while (served := download.take()) is not None:
        taken += served.blocks
    assert taken == list(range(1, 4 * FIRST_COUNT + 1))


def test_a_short_answer_leaves_the_rest_to_be_asked_for() -> None:
    download = fresh("bob", height=20)
    first, second = download.plan(0)
    download.answered(first, blocks(first, 10), 100, 1)
    download.answered(second, blocks(second), 100, 1)
    rest = only(download.plan(1))
    assert (rest.first, rest.last) == (11, 16)
    download.answered(rest, blocks(rest), 100, 2)
    heights = [height for served in iter(download.take, None) for height in served.blocks]
    assert heights == list(range(1, 21))


def test_held_bytes_are_bounded_but_the_lowest_missing_range_is_always_asked_for() -> None:
    download = fresh(*"abcdefgh")
    lowest, *others = download.plan(0)
    held = 0
    for _ in range(50):
        for ask in others:
            download.answered(ask, blocks(ask), MAX_ANSWER_BYTES, 1)
            held += MAX_ANSWER_BYTES
        others = download.plan(1)
        assert download.held_bytes <= MAX_HELD_BYTES + MAX_IN_FLIGHT * (MAX_ANSWER_BYTES - RESERVED_BYTES)
        if not others:
            break
    assert others == []
    # When the lowest fails, it is asked for again although there is no room for anything else
    download.failed(lowest, 2)
    assert only(download.plan(2)).first == 1


def test_what_is_applied_from_elsewhere_is_not_fetched() -> None:
    download = fresh("bob", height=64)
    first, second = download.plan(0)
    # Given consensus commits up to the middle of the first range
    download.applied(10)
    download.answered(first, blocks(first), 100, 1)
    served = download.take()
    assert served is not None
    assert served.blocks == tuple(range(11, 17))
    download.applied(40)
    download.answered(second, blocks(second), 100, 2)
    assert download.take() is None
    rest = download.plan(3)
    assert [(ask.first, ask.last) for ask in rest] == [(41, 64)]


# -- the slow, the silent, the gone


def test_a_silent_peer_lets_others_be_asked_for_its_range() -> None:
    # Given the silent peer was asked for the lowest range, and another is quick with all others
    download = fresh("silent")
    silent = download.plan(0)[0]
    download.claims("bob", 10_000)
    now_ms = 0
    while (asks := [ask for ask in download.plan(now_ms) if ask.first != silent.first]) and now_ms < 200:
        now_ms += 10
        for ask in asks:
            download.answered(ask, blocks(ask), 100, now_ms)
    # When it has let wait for long enough, then bob is asked for it too
    wake_ms = download.wake_at_ms(now_ms)
    assert wake_ms is not None
    assert wake_ms <= 8_000
    again = next(ask for ask in download.plan(wake_ms) if ask.first == silent.first)
    assert again.peer == "bob"
    download.answered(again, blocks(again), 100, wake_ms + 5)
    served = download.take()
    assert served is not None
    assert (served.peer, served.first) == ("bob", silent.first)
    # And the late answer changes nothing, and costs nothing
    assert download.answered(silent, blocks(silent), 100, wake_ms + 9_000) is None
    heights = [height for following in iter(download.take, None) for height in following.blocks]
    assert silent.first not in heights


def test_no_range_is_asked_of_more_than_a_few() -> None:
    download = fresh(*"abcdefgh", height=1)
    now_ms, asked = 0, 0
    for _ in range(20):
        asked += len(download.plan(now_ms))
        now_ms += 8_000
    assert asked == ASKED_FOR_ONE


def test_who_is_much_slower_is_not_asked_while_a_quicker_one_can_be() -> None:
    download = fresh("slow", "quick")
    now_ms = 0
    for ask in download.plan(now_ms):
        download.answered(ask, blocks(ask), 100, now_ms + (5_000 if ask.peer == "slow" else 10))
    assert {ask.peer for ask in download.plan(6_000)} == {"quick"}
    # When the quick one is gone, the slow one will do
    download.gone("quick")
    assert {ask.peer for ask in download.plan(6_000)} == {"slow"}


def test_what_a_gone_peer_was_asked_is_asked_of_others_at_once() -> None:
    download = fresh("bob", "carla", height=64)
    asks = download.plan(0)
    download.gone("bob")
    lost = {ask.first for ask in asks if ask.peer == "bob"}
    for ask in asks:
        if ask.peer == "carla":
            download.answered(ask, blocks(ask), 1, 1)
    assert {ask.first for ask in download.plan(1)} <= lost
    # And its answer, should one still come, is nobody's
    late = next(ask for ask in asks if ask.peer == "bob")
    assert download.answered(late, blocks(late), 1, 2) is None
    download.failed(late, 3)


def test_a_refusal_passes_to_another_peer() -> None:
    download = fresh("pruned", "archive", height=16)
    ask = only(download.plan(0))
    download.refused(ask, 5)
    again = only(download.plan(5))
    assert again.peer != ask.peer
    assert download.is_passed_over(ask.peer, 5)
    assert not download.is_passed_over(ask.peer, 5 + PASSED_OVER_MS)


def test_when_all_are_passed_over_there_is_a_time_to_try_again() -> None:
    download = fresh("bob", height=16)
    download.failed(only(download.plan(0)), 100)
    assert download.plan(100) == []
    wake_ms = download.wake_at_ms(100)
    assert wake_ms == 100 + PASSED_OVER_MS
    assert download.plan(wake_ms)[0].first == 1


# -- liars


@pytest.mark.parametrize(
    ("count", "size_bytes", "misconduct"),
    [
        (0, 1, Misconduct.EMPTY),
        (FIRST_COUNT + 1, 1, Misconduct.TOO_MANY),
        (FIRST_COUNT, MAX_ANSWER_BYTES + 1, Misconduct.TOO_LARGE),
    ],
)
def test_an_answer_no_honest_peer_gives_is_blamed(count: int, size_bytes: int, misconduct: Misconduct) -> None:
    download = fresh("mallory", "bob")
    ask = next(ask for ask in download.plan(0) if ask.peer == "mallory")
    blame = download.answered(ask, blocks(ask, count), size_bytes, 1)
    assert isinstance(blame, Blame)
    assert (blame.peer, blame.misconduct) == ("mallory", misconduct)
    again = [later for later in download.plan(1) if later.first == ask.first]
    # Its range waits for bob, who is busy, and nothing more is asked of the liar
    assert all(later.peer == "bob" for later in again)
    assert all(later.peer == "bob" for later in download.plan(1 + PASSED_OVER_MS))
    # Until it claims anew
    download.claims("mallory", 10_000)
    assert any(later.peer == "mallory" for later in download.plan(2 + PASSED_OVER_MS))


def test_a_wrong_block_is_the_fault_of_who_served_it_and_all_else_of_its_is_forgotten() -> None:
    download = fresh("mallory", "bob", height=64)
    asks = download.plan(0)
    for ask in asks:
        download.answered(ask, blocks(ask), 100, 1)
    first = download.take()
    second = download.take()
    assert first is not None
    assert second is not None
    download.applied(first.last)
    blame = download.wrong(second.first + 3, "bad signature", 2)
    assert blame is not None
    assert (blame.peer, blame.misconduct) == (second.peer, Misconduct.WRONG)
    # Then what is not applied is asked for anew, of the other
    assert download.take() is None or second.peer != "mallory"
    anew = download.plan(3)
    assert min(ask.first for ask in anew) == second.first
    assert all(ask.peer != second.peer for ask in anew)


def test_what_was_taken_by_a_consumer_that_failed_is_fetched_again_and_nobody_pays() -> None:
    download = fresh("bob", height=16)
    ask = only(download.plan(0))
    download.answered(ask, blocks(ask), 100, 1)
    assert download.take() is not None
    download.restart()
    assert only(download.plan(2)).first == 1


# -- whole downloads


class Street:
    """Peers with a way to answer each, on a heap of events; what they serve is (height, is it right)."""

    def __init__(self, seed: int, height: int) -> None:
        self.random = Random(seed)
        self.height = height
        self.download = Download[tuple[int, bool]](0, Random(seed))
        self.now_ms = 0
        self.events: list[tuple[int, int, Ask]] = []
        self.kinds = {"honest": "honest", "liar": "liar", "silent": "silent", "slow": "slow", "stingy": "stingy"}
        for peer in self.kinds:
            self.download.claims(peer, height if peer != "silent" else 10**9)
        self.applied = 0
        self.blamed: list[Blame] = []
        self.most_in_flight = 0

    def run(self) -> None:
        steps = 0
        while self.applied < self.height:
            steps += 1
            assert steps < 20_000, "the download does not come to an end"
            for ask in self.download.plan(self.now_ms):
                delay_ms = {"slow": 9_000, "silent": 10_000}.get(self.kinds[ask.peer], self.random.randrange(5, 200))
                heappush(self.events, (self.now_ms + delay_ms, ask.number, ask))
            self.most_in_flight = max(self.most_in_flight, self.download.in_flight)
            wake_ms = self.download.wake_at_ms(self.now_ms)
            if self.events and (wake_ms is None or self.events[0][0] <= wake_ms):
                self.now_ms, _, ask = heappop(self.events)
                self.answer(ask)
            else:
                assert wake_ms is not None, "nothing in flight, nothing to wait for, and not done"
                self.now_ms = wake_ms
            self.apply()

    def answer(self, ask: Ask) -> None:
        kind = self.kinds[ask.peer]
        served = tuple((height, kind != "liar") for height in range(ask.first, min(ask.last, self.height) + 1))
        if kind == "silent":
            self.download.failed(ask, self.now_ms)
            return
        blame = self.download.answered(ask, served[:1] if kind == "stingy" else served, 1_000, self.now_ms)
        assert blame is None

    def apply(self) -> None:
        while (served := self.download.take()) is not None:
            assert served.first == self.applied + 1, "in order, without a gap"
            for height, is_right in served.blocks:
                if not is_right:
                    blame = self.download.wrong(height, "wrong", self.now_ms)
                    assert blame is not None
                    self.blamed.append(blame)
                    self.download.claims("liar", self.height)  # it tries again
                    break
                self.applied = height
                self.download.applied(height)


@pytest.mark.parametrize("seed", range(30))
def test_one_honest_peer_among_liars_and_the_slow_is_enough(seed: int) -> None:
    street = Street(seed, 2_000)
    street.run()
    assert {blame.peer for blame in street.blamed} <= {"liar"}
    assert street.most_in_flight <= MAX_IN_FLIGHT + ASKED_FOR_ONE
    assert street.now_ms < 60_000, "the slow delay it, but not for ever"


def test_the_same_seed_gives_the_same_story() -> None:
    ends = []
    for _ in range(2):
        street = Street(7, 500)
        street.run()
        ends.append((street.now_ms, len(street.blamed)))
    assert ends[0] == ends[1]


def test_served_says_what_it_holds() -> None:
    assert Served("bob", 5, (5, 6, 7), 10).last == 7
