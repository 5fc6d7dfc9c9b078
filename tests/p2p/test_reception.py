"""What happens to a gossip message at arrival."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from p2p import reception as reception_module
from p2p.limits import Limits
from p2p.network import MAX_MESSAGE_BYTES, Offence, Validator, Verdict
from p2p.peer_book import PeerBook
from p2p.reception import Reception, message_id


class Desk:
    """A reception with its clock and the offences it reported."""

    def __init__(self, validator: Validator, **limits: float) -> None:
        self.now_s = 0.0
        self.offences: list[tuple[str, Offence]] = []
        self.asked: list[bytes] = []
        settings = Limits(**limits)  # type: ignore[arg-type]
        book = PeerBook(settings, lambda: self.now_s, lambda: 0)
        self.reception = Reception(
            book, settings, lambda: self.now_s, lambda peer, offence, _: self.offences.append((peer, offence))
        )

        def ask(peer: str, data: bytes) -> Verdict:
            self.asked.append(data)
            return validator(peer, data)

        self.queue = self.reception.subscribe("topic", ask)

    def receive(self, data: bytes, peer: str = "bob", authentic: Callable[[], bool] | None = None) -> bool:
        return self.reception.receive(peer, "topic", data, authentic)


def always(verdict: Verdict) -> Validator:
    return lambda *_: verdict


def test_accepted_once_forwarded_once() -> None:
    desk = Desk(always(Verdict.ACCEPT))
    assert desk.receive(b"one")
    assert not desk.receive(b"one", "alice")
    assert (desk.asked, len(desk.queue), desk.offences) == ([b"one"], 1, [])


@pytest.mark.parametrize("verdict", [Verdict.IGNORE, Verdict.REJECT])
def test_not_accepted_is_neither_delivered_nor_forwarded_nor_asked_again(verdict: Verdict) -> None:
    desk = Desk(always(verdict))
    assert not desk.receive(b"one")
    assert not desk.receive(b"one", "alice")
    assert (desk.asked, len(desk.queue)) == ([b"one"], 0)
    expected = [("bob", Offence.INVALID_MESSAGE), ("alice", Offence.INVALID_MESSAGE)]
    assert desk.offences == (expected if verdict is Verdict.REJECT else [])


def test_our_own_message_is_known() -> None:
    desk = Desk(always(Verdict.ACCEPT))
    assert desk.reception.sent("topic", b"ours")
    assert not desk.reception.sent("topic", b"ours")
    assert not desk.receive(b"ours")
    assert desk.asked == []


def test_a_topic_not_joined_is_dropped_unread() -> None:
    desk = Desk(always(Verdict.ACCEPT))
    assert not desk.reception.receive("bob", "other", b"one")
    assert desk.reception.counters["dropped_not_joined"] == 1


def test_the_same_data_in_another_topic_is_another_message() -> None:
    # Given data that was rejected in one topic
    desk = Desk(always(Verdict.REJECT))
    other = desk.reception.subscribe("other", always(Verdict.ACCEPT))
    desk.receive(b"data")
    # Then it is judged afresh in the other
    assert desk.reception.receive("bob", "other", b"data")
    assert len(other) == 1


def test_the_largest_message_is_accepted_and_a_larger_one_costs() -> None:
    desk = Desk(always(Verdict.ACCEPT))
    assert desk.receive(bytes(MAX_MESSAGE_BYTES))
    assert not desk.receive(bytes(MAX_MESSAGE_BYTES + 1))
    assert desk.offences == [("bob", Offence.OVERSIZE)]


def test_over_its_budget_a_peer_is_not_listened_to() -> None:
    desk = Desk(always(Verdict.ACCEPT), messages_per_second=1, messages_burst=2)
    assert [desk.receive(b"%d" % number) for number in range(3)] == [True, True, False]
    assert desk.offences == [("bob", Offence.FLOOD)]
    # And the message it was not heard for is not remembered
    assert desk.receive(b"2", "alice")


def test_a_forged_envelope_costs_its_bearer_and_does_not_censor() -> None:
    desk = Desk(always(Verdict.ACCEPT))
    assert not desk.receive(b"vote", "mallory", authentic=lambda: False)
    assert desk.offences == [("mallory", Offence.INVALID_MESSAGE)]
    assert desk.asked == []
    assert desk.receive(b"vote", "alice", authentic=lambda: True)


def test_a_validator_that_raises_costs_nobody() -> None:
    def broken(_: str, __: bytes) -> Verdict:
        raise ZeroDivisionError

    desk = Desk(broken)
    assert not desk.receive(b"one")
    assert desk.offences == []
    assert desk.reception.counters["validator_failed"] == 1


def test_messages_are_remembered_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(always(Verdict.ACCEPT))
    desk.receive(b"one")
    assert desk.reception.known("topic", message_id(b"one"))
    desk.now_s += 301
    assert not desk.reception.known("topic", message_id(b"one"))
    assert desk.receive(b"one")
    # And never more than so many
    monkeypatch.setattr(reception_module, "_REMEMBERED_MESSAGES", 10)
    for number in range(100):
        desk.receive(b"%d" % number)
    assert [desk.reception.known("topic", message_id(b"%d" % number)) for number in (89, 90, 99)] == [False, True, True]
