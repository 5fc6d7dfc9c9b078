"""What a node remembers of other peers, and across restarts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cbor2
import pytest

from p2p.limits import Limits
from p2p.network import Offence
from p2p.peer_book import PeerBook

ADDRESS = "/ip4/192.0.2.1/tcp/4001/p2p/bob"


@dataclass
class Clock:
    now_s: float = 1_000.0

    def wall_ms(self) -> int:
        return 1_700_000_000_000 + int(self.now_s * 1000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def book(clock: Clock, path: Path | None = None, **limits: float) -> PeerBook:
    return PeerBook(Limits(**limits), lambda: clock.now_s, clock.wall_ms, path)  # type: ignore[arg-type]


def test_offences_cost_their_price_and_time_heals(clock: Clock) -> None:
    peers = book(clock, score_recovery_per_minute=2)
    assert peers.score("bob") == 100
    assert peers.penalise("bob", Offence.INVALID_MESSAGE, "a test") is None
    assert peers.score("bob") == 90
    clock.now_s += 120
    assert peers.score("bob") == 94
    clock.now_s += 3_600
    assert peers.score("bob") == 100
    assert peers.counters["offence_invalid_message"] == 1


def test_the_last_straw_bans_once_and_for_a_time(clock: Clock) -> None:
    peers = book(clock, ban_s=60, score_recovery_per_minute=0)
    for _ in range(3):
        assert peers.penalise("bob", Offence.OVERSIZE, "too much") is None
    ban = peers.penalise("bob", Offence.OVERSIZE, "too much")
    assert ban is not None
    assert (ban.peer, ban.reason, ban.until_ms) == ("bob", "oversize: too much", clock.wall_ms() + 60_000)
    assert peers.score("bob") == 0
    # A banned peer's further offences are counted, but no further ban is spoken
    assert peers.penalise("bob", Offence.OVERSIZE, "again") is None
    assert peers.counters["bans"] == 1
    # When the ban is over, the peer starts again
    clock.now_s += 60
    assert peers.banned("bob") is None
    assert peers.score("bob") == 100


def test_one_peers_offences_are_not_anothers(clock: Clock) -> None:
    peers = book(clock)
    peers.penalise("bob", Offence.WRONG_CHAIN, "a test")
    assert (peers.score("bob"), peers.score("alice")) == (0, 100)


def test_budgets_are_kept_by_peer_and_come_back(clock: Clock) -> None:
    peers = book(clock, messages_per_second=1, messages_burst=2, bytes_per_second=10, bytes_burst=100)
    assert [peers.spend("bob", 10) for _ in range(3)] == [True, True, False]
    assert not peers.spend("alice", 101)
    clock.now_s += 1
    assert peers.spend("bob", 10)


def test_a_longer_ban_stands(clock: Clock) -> None:
    peers = book(clock)
    long = peers.ban("bob", 100, "long")
    assert peers.ban("bob", 10, "short") == long
    assert peers.ban("bob", 200, "longer").reason == "longer"


def test_a_pardon_ends_a_ban(clock: Clock) -> None:
    # Given
    peers = book(clock)
    peers.ban("bob", 100, "long")
    # When
    assert peers.pardon("bob")
    # Then bob starts again, and there is nothing more to pardon
    assert peers.banned("bob") is None
    assert peers.score("bob") == 100
    assert not peers.pardon("bob")


def test_bans_and_addresses_survive(clock: Clock, tmp_path: Path) -> None:
    first = book(clock, tmp_path / "peers")
    first.ban("mallory", 100, "r" * 1_000)
    first.remember("bob", ADDRESS)
    first.save()
    second = book(clock, tmp_path / "peers")
    assert second.banned("mallory") == first.banned("mallory")
    assert second.remembered() == {"bob": [ADDRESS]}
    clock.now_s += 100
    assert book(clock, tmp_path / "peers").banned("mallory") is None
    # And a banned peer's addresses are forgotten
    second.ban("bob", 10, "a test")
    assert second.remembered() == {}


def test_few_addresses_of_each_peer_and_few_peers_are_remembered(clock: Clock) -> None:
    peers = book(clock, max_remembered_peers=2)
    for number in range(6):
        peers.remember("bob", f"address {number}")
    peers.remember("bob", "address 4")
    assert peers.remembered() == {"bob": ["address 4", "address 5", "address 3", "address 2"]}
    peers.remember("alice", "a")
    peers.remember("carol", "c")
    assert list(peers.remembered()) == ["alice", "carol"]


def test_a_save_replaces_whole_files_only_when_something_changed(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "peers"
    peers = book(clock, path)
    peers.save()
    assert not path.exists()
    peers.remember("bob", ADDRESS)
    peers.save()
    before = path.stat().st_ino
    peers.save()
    assert path.stat().st_ino == before
    # A crash between writing and replacing leaves the old file in place
    (tmp_path / "peers.new").write_bytes(b"half a fi")
    assert book(clock, path).remembered() == {"bob": [ADDRESS]}
    peers.remember("alice", ADDRESS)
    peers.save()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["peers"]


DAMAGED = {
    "empty": b"",
    "not CBOR": b"\xff\xff\xff",
    "another format": cbor2.dumps({"format": 2, "bans": [], "peers": []}),
    "a list": cbor2.dumps([1, 2]),
    "without bans": cbor2.dumps({"format": 1, "peers": []}),
    "a ban that is none": cbor2.dumps({"format": 1, "bans": [["bob"]], "peers": []}),
    "a ban without end": cbor2.dumps({"format": 1, "bans": [["bob", "reason", "never"]], "peers": []}),
    "addresses that are numbers": cbor2.dumps({"format": 1, "bans": [], "peers": [["bob", [1]]]}),
    "addresses that are a number": cbor2.dumps({"format": 1, "bans": [], "peers": [["bob", 1]]}),
    "cut off": cbor2.dumps({"format": 1, "bans": [["bob", "reason", 1]], "peers": []})[:-3],
}


@pytest.mark.parametrize("octets", DAMAGED.values(), ids=DAMAGED)
def test_a_file_that_cannot_be_read_is_put_aside(clock: Clock, tmp_path: Path, octets: bytes) -> None:
    path = tmp_path / "peers"
    path.write_bytes(octets)
    peers = book(clock, path)
    assert peers.remembered() == {}
    assert peers.counters["peer_book_unreadable"] == 1
    assert (tmp_path / "peers.unreadable").read_bytes() == octets
    peers.remember("bob", ADDRESS)
    peers.save()
    assert book(clock, path).remembered() == {"bob": [ADDRESS]}


def test_a_disk_that_refuses_is_counted_and_tried_again(clock: Clock, tmp_path: Path) -> None:
    # Given a directory that does not take the file
    path = tmp_path / "away" / "peers.cbor"
    peers = book(clock, path)
    peers.ban("mallory", 60, "flood")
    peers.save()
    assert peers.counters["peer_book_unsaved"] == 1
    # When it does
    path.parent.mkdir()
    peers.save()
    # Then nothing is lost
    assert book(clock, path).banned("mallory") is not None
