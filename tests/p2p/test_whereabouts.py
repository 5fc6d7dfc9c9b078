"""What a node says of where it is."""

from __future__ import annotations

from p2p.addresses import CircuitAddress, TcpAddress
from p2p.peer_record import MAX_ADDRESSES, unseal
from p2p.whereabouts import CIRCUITS, Source, Whereabouts
from tests.p2p.hostile import peer_id, seed


def address(number: int) -> TcpAddress:
    return TcpAddress("ip4", f"8.8.8.{number}", 4001)


def test_each_change_makes_a_newer_record_and_no_change_none() -> None:
    # Given a clock that stands still, or is set back
    changes: list[int] = []
    where = Whereabouts(seed("me"), lambda: 1_000, lambda: changes.append(1))
    sequences = [where.record.sequence]
    where.put(Source.INTERFACES, [address(1)])
    sequences.append(where.record.sequence)
    where.put(Source.INTERFACES, [address(1)])
    assert len(changes) == 1
    where.put(Source.MAPPED, [address(2)])
    sequences.append(where.record.sequence)
    assert sequences == sorted(set(sequences))
    assert unseal(where.record.envelope).addresses == (address(2), address(1))
    # And what is gone is gone
    where.put(Source.MAPPED, [])
    assert where.record.addresses == (address(1),)


def test_circuits_keep_their_place_however_many_addresses_there_are() -> None:
    where = Whereabouts(seed("me"), lambda: 1_000, lambda: None)
    circuits = [CircuitAddress(TcpAddress("ip4", "9.9.9.9", port, peer_id("relay"))) for port in range(4001, 4009)]
    where.put(Source.INTERFACES, [address(number) for number in range(20)])
    where.put(Source.CIRCUITS, circuits)
    assert len(where.record.addresses) == MAX_ADDRESSES
    assert list(where.record.addresses[-CIRCUITS:]) == circuits[:CIRCUITS]
