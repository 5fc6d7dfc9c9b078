"""The situations every implementation has to master, each set up by hand in the laboratory's world. (Those of a single
node are in ``tests/consensus/test_engine_*.py``.)
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from consensus.block import MAX_BLOCK_BYTES, MAX_CERTIFICATE_BYTES, Block, Certificate
from consensus.certificates import signers
from consensus.chain_rules import OpenHeight, Parent
from consensus.messages import Vote
from devnet.laboratory.chaos.founding import COMMITTEE_DELAY_BLOCKS, EPOCH_BLOCKS
from devnet.laboratory.chaos.home import Home
from devnet.laboratory.chaos.parts import LabChain, Parts
from devnet.laboratory.chaos.signatures import StubSigner
from devnet.laboratory.chaos.world import World
from ledger.encoding import decode, encode
from ledger.records import CANDIDATES, TIP, CandidateStatus
from ledger.state import State
from ledger.statements import Statement, StatementKind
from node.journal import to_record
from tests.simulation.calm import (
    CALM,
    INTERVAL_MS,
    begin,
    calm,
    certificate,
    chain_of,
    first_block,
    first_leader,
    heights,
)

NOTARIZE, NULLIFY, FINALIZE = StatementKind.NOTARIZE, StatementKind.NULLIFY, StatementKind.FINALIZE


def stored_block(home: Home, height: int) -> Block:
    data = home.disk.chain.block(height)
    assert data is not None
    return decode(data, Block, MAX_BLOCK_BYTES)


def is_signed_by(world: World, home: Home, found: Certificate, number: int) -> bool:
    """Whether a home's signature is in a certificate; the committee never changes its members here."""
    committee = world.turns[max(world.turns)].committee
    seat = committee.index_of_node_key(world.founding.members[number].node_key)
    return seat in (signers(found, committee) or ())


def test_a_gap_in_every_path_is_filled() -> None:
    # Given four homes, one silent; the others hold notarization 0 and voted nullify 0; nullifications 1 to 4 exist
    world = calm()
    leader = first_leader(world)
    silent = next(number for number in world.homes if number != leader)
    block = first_block(world)
    others = [home for home in world.homes.values() if home.number != silent]
    for missing, home in enumerate(others, 1):
        statement = Statement(NULLIFY, 1, 0, None)
        vote = Vote(statement, home.node_key, StubSigner(home.node_key).sign(statement))
        nullifications = [certificate(world, NULLIFY, view, None) for view in (1, 2, 3, 4) if view != missing]
        # ... and the first lacks nullification 1, the second 2, the third 3
        records = (vote, block, certificate(world, NOTARIZE, 0, block.hash), *nullifications)
        home.disk.journal.write([to_record(record) for record in records])
    # When they are connected
    world.run_until(INTERVAL_MS)
    begin(world, but=frozenset({silent}))
    world.run_until(INTERVAL_MS + 30_000)
    # Then they commit, and the very block that was notarized
    assert world.report.fault is None
    assert {home.disk.chain.block_hash(1) for home in others} == {block.hash}


def test_the_draw_traps_nobody() -> None:
    # Given that A produced last, B and C are suspended, and D, the only one left for round one, is silent
    world = calm()
    last, one, other, silent = world.founding.members

    class Trapped(LabChain):
        def _open_on(self, parent: Parent) -> OpenHeight:
            if parent.height == 0:
                state = State(self.store)
                for member in (one, other):
                    candidate = CANDIDATES.get(state, member.id)
                    assert candidate is not None
                    suspended = msgspec.structs.replace(candidate, status=CandidateStatus.SUSPENDED)
                    CANDIDATES.put(state, suspended, member.id)
                tip = TIP.get(state)
                assert tip is not None
                TIP.put(state, msgspec.structs.replace(tip, previous_producer=last.id))
                self.store._tables.state.update(state.changes())  # type: ignore[attr-defined]
            return super()._open_on(parent)

    world.parts = Parts(chain_type=Trapped)
    # When the height opens
    begin(world, but=frozenset({silent.number}))
    entrants = world.turns[1].draw.turn(0).entrants
    assert [world.numbers[world.turns[1].committee.seats[seat].node_key] for seat in entrants] == [silent.number]
    world.run_until(INTERVAL_MS + 30_000)
    # Then it commits
    assert world.report.fault is None
    assert all(home.disk.height >= 1 for home in world.homes.values() if home.up)


def test_an_equivocating_proposer_in_a_divided_house_gets_one_notarization() -> None:
    # Given seven homes, two of them byzantine, and the honest five divided into three and two for a minute
    world = next(
        world
        for seed in range(20)
        if len((world := World(replace(CALM, homes=7, seed=seed, enemies=True, style="Equivocator", days=0.01))).homes)
        == 5
    )
    three, two = list(world.homes)[:3], list(world.homes)[3:]
    world.network.cut({pair for one in three for other in two for pair in ((one, other), (other, one))})
    world.weather.storming = True  # so that nobody is asked for progress meanwhile
    world.progress.disturbed()

    def unite() -> None:
        world.network.mend()
        world.weather.storming = False
        world.progress.healed()

    world.at(60_000, unite)
    # When it runs, then the checker sees at most one block notarized per view, and the house goes on once united
    report = world.run()
    assert report.fault is None
    assert report.heights >= 10
    assert report.equivocations > 0


def test_a_leader_whose_clock_is_fast_is_waited_for() -> None:
    # Given that the leader of view 0 is 8 s fast
    world = calm()
    leader = first_leader(world)
    # When height 1 is agreed on
    begin(world, skews_ms={leader: 8_000})
    world.run_until(INTERVAL_MS + 3_000)
    # Then its block is final, made in view 0, and so costs it no turn
    for home in world.homes.values():
        header = stored_block(home, 1).header
        assert (header.view, header.producer) == (0, world.founding.members[leader].id)


def test_a_laggard_of_twenty_heights_and_two_committees_catches_up_with_one_vote() -> None:
    # Given a home that was away for 20 heights, in which the committee changed twice
    world = calm()
    away = 3
    begin(world, but=frozenset({away}))
    while min(height for number, height in heights(world).items() if number != away) < 20:
        world.run_until(world.now_ms + 100)
    assert 2 * EPOCH_BLOCKS + COMMITTEE_DELAY_BLOCKS < 20
    assert len({world.turns[height].committee.hash for height in range(1, 21) if height in world.turns}) >= 3
    # When it comes back and votes for height 1, which its clock says is long open
    laggard = world.homes[away]
    came_back_ms = world.now_ms
    laggard.boot()
    world.run_until(came_back_ms + 10_000)
    # Then within 10 s it stands where the others stand, and its votes are in the certificates that follow
    assert world.report.fault is None
    assert laggard.disk.height >= max(heights(world).values()) - 1
    assert laggard.disk.height >= 20
    world.run_until(came_back_ms + 40_000)
    carried = stored_block(laggard, laggard.disk.height).parent_certificate
    assert carried is not None
    assert is_signed_by(world, laggard, carried, away)


def test_a_home_alone_makes_its_chain() -> None:
    world = calm(homes=1)
    begin(world)
    world.run_until(60 * INTERVAL_MS + 20_000)
    assert heights(world)[0] >= 60


def test_with_more_than_a_third_gone_nothing_is_final_and_with_their_return_it_goes_on() -> None:
    # Given four equal homes, two of them gone from the start
    world = calm()
    begin(world, but=frozenset({2, 3}))
    world.run_until(600_000)
    assert set(heights(world).values()) == {0}
    # When one of the two comes back, then the chain goes on
    world.homes[2].boot()
    world.run_until(660_000)
    assert all(height >= 5 for number, height in heights(world).items() if number != 3)


def test_a_late_home_is_counted_present() -> None:
    # Given a home whose votes reach the others only after they have closed the height
    world = calm(seed=4)
    slow = 0
    world.network.late_ms[slow] = 700
    begin(world)
    world.run_until(60_000)
    # Then the next block carries its signature all the same
    watching = world.homes[1]
    blocks = [stored_block(watching, height) for height in range(2, watching.disk.height + 1)]
    assert len(blocks) >= 8
    counted = 0
    for block in blocks:
        assert block.parent_certificate is not None
        counted += is_signed_by(world, watching, block.parent_certificate, slow)
    assert counted >= len(blocks) - 1


def test_what_makes_a_block_final_is_what_a_home_stores() -> None:
    # Given some heights of a calm neighbourhood
    world = calm()
    begin(world)
    world.run_until(40_000)
    home = world.homes[0]
    stored = home.disk.chain.certificate(3)
    assert stored is not None
    found = decode(stored, Certificate, MAX_CERTIFICATE_BYTES)
    # Then the certificate beside a block is of that block, and every home's chain is the same
    assert (found.kind, found.height, found.block_hash) == (FINALIZE, 3, home.disk.chain.block_hash(3))
    assert len({encode(stored_block(other, 3)) for other in world.homes.values()}) == 1
    assert chain_of(world, 0).height == 0
