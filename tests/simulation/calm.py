"""Small worlds without weather and enemies, for situations that are set up by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from consensus.block import Block, Certificate
from consensus.certificates import build_certificate
from consensus.committee import Committee, committee_of
from devnet.laboratory.chaos.founding import GENESIS_TIME_MS
from devnet.laboratory.chaos.parts import LabChain
from devnet.laboratory.chaos.setting import Setting
from devnet.laboratory.chaos.signatures import StubSigner, StubVerifier
from devnet.laboratory.chaos.world import World
from ledger.committee import committee_at
from ledger.statements import Statement, StatementKind
from node.gossip import SignatureCache
from storage.memory import MemoryChain

INTERVAL_MS = 5_000
CALM = Setting(homes=4, days=1.0, interval_ms=INTERVAL_MS, storminess=0.0, enemies=False, traffic=0.0, skew_ms=0)


def calm(**changes: object) -> World:
    return World(replace(CALM, **changes))  # type: ignore[arg-type]


def begin(world: World, *, but: frozenset[int] = frozenset(), skews_ms: Mapping[int, int] | None = None) -> None:
    for number, home in world.homes.items():
        home.skew_ms = (skews_ms or {}).get(number, 0)
        if number not in but:
            home.boot()


def heights(world: World) -> dict[int, int]:
    return {number: home.disk.height for number, home in world.homes.items()}


def chain_of(world: World, number: int) -> LabChain:
    """The chain of a home at the genesis, on a disk of its own."""
    founding = world.founding
    return LabChain(MemoryChain(), founding.genesis, founding.members[number].node, StubVerifier(), SignatureCache())


def first_leader(world: World) -> int:
    opened = chain_of(world, 0).open
    return world.numbers[opened.committee.seats[opened.draw.leader(0)].node_key]


def first_block(world: World) -> Block:
    """The block that the leader of view 0 would make at height 1."""
    built = chain_of(world, first_leader(world)).build(1, 0, GENESIS_TIME_MS + INTERVAL_MS, None, [])
    assert built is not None
    return built.block


def first_committee(world: World) -> Committee:
    return committee_of(committee_at(chain_of(world, 0).store, 1))


def certificate(world: World, kind: StatementKind, view: int, block_hash: bytes | None) -> Certificate:
    """Signed by everybody at height 1."""
    committee = first_committee(world)
    statement = Statement(kind, 1, view, block_hash)
    signatures = {index: StubSigner(seat.node_key).sign(statement) for index, seat in enumerate(committee.seats)}
    return build_certificate(statement, signatures, committee)
