"""The mesh, in steps: who is grafted, pruned, told and answered."""

from __future__ import annotations

from random import Random

import pytest

from p2p.libp2p import gossip_mesh
from p2p.libp2p.gossip_mesh import (
    BACKOFF_S,
    DEGREE,
    DEGREE_HIGH,
    DEGREE_LOW,
    DEGREE_OUTBOUND,
    FLOOD_BYTES,
    MAX_ASKED,
    MAX_IHAVES,
    MAX_TOPICS_PER_PEER,
    Mesh,
    Outgoing,
)
from p2p.libp2p.gossip_wire import Controls

TOPIC = "topic"


class Clock:
    now_s = 1_000.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def mesh(clock: Clock) -> Mesh:
    mesh = Mesh(lambda: clock.now_s, Random(1))
    assert mesh.join(TOPIC) == {}
    return mesh


def subscribers(mesh: Mesh, count: int, dialled: bool = True, prefix: str = "peer") -> list[str]:
    names = [f"{prefix} {number}" for number in range(count)]
    for name in names:
        mesh.add(name, dialled)
        mesh.subscription(name, TOPIC, True)
    return names


def members(mesh: Mesh, names: list[str]) -> list[str]:
    return [name for name in names if TOPIC in mesh.meshes_of(name)]


def identifier(number: int) -> bytes:
    return number.to_bytes(32, "big")


def grafts(outgoing: Outgoing) -> dict[str, list[str]]:
    return {peer: controls.graft for peer, controls in outgoing.items() if controls.graft}


def test_a_subscriber_is_grafted_at_once_up_to_the_degree(mesh: Mesh) -> None:
    names = [f"peer {number}" for number in range(DEGREE + 3)]
    for name in names:
        mesh.add(name, dialled=True)
        grafted = grafts(mesh.subscription(name, TOPIC, True))
        assert set(grafted) <= set(names)
    assert len(members(mesh, names)) == DEGREE


def test_joining_announces_the_topic_and_grafts_its_subscribers(mesh: Mesh) -> None:
    mesh.add("bob", dialled=True)
    mesh.add("carol", dialled=True)
    mesh.subscription("bob", "later", True)
    assert mesh.join("later") == {
        "bob": Controls(subscribe=["later"], graft=["later"]),
        "carol": Controls(subscribe=["later"]),
    }
    assert mesh.hello("bob") == Controls(subscribe=[TOPIC, "later"], graft=["later"])


def test_an_empty_mesh_is_an_alarm_until_someone_is_in_it(mesh: Mesh) -> None:
    assert mesh.empty_meshes() == [TOPIC]
    subscribers(mesh, 1)
    assert mesh.empty_meshes() == []
    mesh.remove("peer 0")
    assert mesh.empty_meshes() == [TOPIC]


def test_a_graft_is_followed_unless_it_is_out_of_place(mesh: Mesh, clock: Clock) -> None:
    mesh.add("bob", dialled=False)
    assert mesh.grafted("bob", "not ours") == {}
    assert mesh.grafted("stranger", TOPIC) == {}
    assert mesh.grafted("bob", TOPIC) == {}
    assert members(mesh, ["bob", "stranger"]) == ["bob"]
    # When it prunes us, it stays out for as long as it said
    mesh.pruned("bob", TOPIC, 60)
    assert mesh.grafted("bob", TOPIC) == {"bob": Controls(prune=[(TOPIC, BACKOFF_S)])}
    clock.now_s += 61
    assert mesh.grafted("bob", TOPIC) == {}
    assert members(mesh, ["bob"]) == ["bob"]


@pytest.mark.parametrize(("said_s", "kept_s"), [(0, BACKOFF_S), (5, 5), (2**60, gossip_mesh.MAX_BACKOFF_S)])
def test_a_back_off_has_bounds(mesh: Mesh, clock: Clock, said_s: int, kept_s: int) -> None:
    subscribers(mesh, 1)
    mesh.pruned("peer 0", TOPIC, said_s)
    clock.now_s += kept_s - 0.1
    assert grafts(mesh.heartbeat()) == {}
    clock.now_s += 0.2
    assert grafts(mesh.heartbeat()) == {"peer 0": [TOPIC]}


def test_leaving_does_not_shorten_a_back_off(mesh: Mesh, clock: Clock) -> None:
    subscribers(mesh, 1)
    mesh.pruned("peer 0", TOPIC, 60)
    mesh.remove("peer 0")
    mesh.add("peer 0", dialled=False)
    assert grafts(mesh.subscription("peer 0", TOPIC, True)) == {}


def test_a_thin_mesh_is_filled_at_the_heartbeat(mesh: Mesh) -> None:
    names = subscribers(mesh, DEGREE + 4)
    for name in members(mesh, names)[: DEGREE - DEGREE_LOW + 1]:
        mesh.pruned(name, TOPIC, 60)
    before = members(mesh, names)
    assert len(before) == DEGREE_LOW - 1
    grafted = grafts(mesh.heartbeat())
    assert len(members(mesh, names)) == DEGREE
    assert set(grafted) == set(members(mesh, names)) - set(before)


def test_a_crowded_mesh_is_cut_back_and_keeps_peers_we_dialled(mesh: Mesh) -> None:
    # Given a mesh that strangers filled
    dialled = subscribers(mesh, DEGREE_OUTBOUND, dialled=True, prefix="dialled")
    strangers = subscribers(mesh, 100, dialled=False, prefix="stranger")
    for name in strangers:
        mesh.grafted(name, TOPIC)
    assert len(members(mesh, dialled + strangers)) > DEGREE_HIGH
    # When the heart beats
    outgoing = mesh.heartbeat()
    # Then it has its degree again, those we dialled are in it, and the others were told
    kept = members(mesh, dialled + strangers)
    assert len(kept) == DEGREE
    assert set(dialled) <= set(kept)
    pruned = {peer for peer, controls in outgoing.items() if controls.prune == [(TOPIC, BACKOFF_S)]}
    assert pruned == set(dialled + strangers) - set(kept)


def test_our_small_messages_go_to_all_and_large_ones_to_the_mesh(mesh: Mesh) -> None:
    names = subscribers(mesh, DEGREE + 5)
    mesh.add("not interested", dialled=True)
    assert set(mesh.recipients(TOPIC, FLOOD_BYTES, ours=True)) == set(names)
    in_mesh = set(members(mesh, names))
    assert set(mesh.recipients(TOPIC, FLOOD_BYTES + 1, ours=True)) == in_mesh
    bearer = min(in_mesh)
    assert set(mesh.recipients(TOPIC, 1, ours=False, without=[bearer])) == in_mesh - {bearer}


def test_without_a_mesh_some_subscribers_are_told(mesh: Mesh) -> None:
    for number in range(DEGREE + 5):
        mesh.add(f"peer {number}", dialled=True)
        mesh.subscription(f"peer {number}", "never joined", True)
    assert len(mesh.recipients("never joined", FLOOD_BYTES + 1, ours=True)) == DEGREE


def test_recent_messages_are_announced_outside_the_mesh_for_three_heartbeats(mesh: Mesh) -> None:
    names = subscribers(mesh, DEGREE + 2)
    outside = set(names) - set(members(mesh, names))
    mesh.remember(identifier(1), TOPIC, b"frame")
    for _ in range(3):
        told = {peer: controls.ihave for peer, controls in mesh.heartbeat().items() if controls.ihave}
        assert told == {peer: [(TOPIC, [identifier(1)])] for peer in outside}
    assert mesh.heartbeat() == {}


def test_a_late_subscriber_is_told_at_once(mesh: Mesh) -> None:
    mesh.remember(identifier(1), TOPIC, b"frame")
    mesh.remember(identifier(2), "other", b"frame")
    mesh.add("bob", dialled=True)
    outgoing = mesh.subscription("bob", TOPIC, True)
    assert outgoing == {"bob": Controls(graft=[TOPIC], ihave=[(TOPIC, [identifier(1)])])}


def test_what_is_wanted_is_sent_three_times_to_each_and_forgotten_after_five_heartbeats(mesh: Mesh) -> None:
    mesh.remember(identifier(1), TOPIC, b"frame")
    for peer in ("bob", "carol"):
        assert [mesh.wanted_by(peer, [identifier(1)]) for _ in range(4)] == [[b"frame"]] * 3 + [[]]
    assert mesh.wanted_by("bob", [identifier(2), b""]) == []
    for _ in range(5):
        mesh.heartbeat()
    assert mesh.wanted_by("dave", [identifier(1)]) == []


def test_the_cache_has_a_bound_in_bytes(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip_mesh, "CACHE_BYTES", 1_000)
    for number in range(5):
        mesh.remember(identifier(number), TOPIC, bytes(300))
        mesh.heartbeat()
    kept = [number for number in range(5) if mesh.wanted_by("bob", [identifier(number)])]
    assert kept == [2, 3, 4]


def test_only_the_unknown_is_asked_for_and_not_without_end(mesh: Mesh) -> None:
    subscribers(mesh, 1)

    def known(_: str, each: bytes) -> bool:
        return each == identifier(1)

    assert mesh.announced("peer 0", TOPIC, [identifier(1), identifier(2), b"short"], known) == [identifier(2)]
    assert mesh.announced("stranger", TOPIC, [identifier(2)], known) == []
    assert mesh.announced("peer 0", "not ours", [identifier(2)], known) == []
    many = [identifier(number) for number in range(10, 10 + 2 * MAX_ASKED)]
    assert len(mesh.announced("peer 0", TOPIC, many, known)) == MAX_ASKED - 1
    assert mesh.announced("peer 0", TOPIC, many, known) == []
    mesh.heartbeat()
    for _ in range(MAX_IHAVES):
        assert mesh.announced("peer 0", TOPIC, [identifier(2)], known) == [identifier(2)]
    assert mesh.announced("peer 0", TOPIC, [identifier(2)], known) == []


def test_few_topics_of_each_peer_are_remembered(mesh: Mesh) -> None:
    mesh.add("bob", dialled=True)
    for number in range(MAX_TOPICS_PER_PEER + 5):
        mesh.subscription("bob", f"topic {number}", True)
    mesh.subscription("bob", "x" * 200, True)
    assert len(mesh.topics_of("bob")) == MAX_TOPICS_PER_PEER
    mesh.subscription("bob", "topic 0", False)
    assert len(mesh.topics_of("bob")) == MAX_TOPICS_PER_PEER - 1


def test_neighbours_are_the_mesh_and_while_it_is_empty_the_same_few_subscribers(mesh: Mesh) -> None:
    names = subscribers(mesh, DEGREE + 3)
    assert mesh.neighbours(TOPIC) == sorted(members(mesh, names))
    for name in names:
        mesh.pruned(name, TOPIC, BACKOFF_S)
    assert members(mesh, names) == []
    alone = mesh.neighbours(TOPIC)
    assert len(alone) == DEGREE
    assert mesh.neighbours(TOPIC) == alone
    assert mesh.neighbours("another topic") == []
