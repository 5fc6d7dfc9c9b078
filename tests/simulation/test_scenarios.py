"""The situations every implementation has to master, each set up by hand. (Those of a single node are in
``tests/consensus/test_engine_*.py``.)
"""

from __future__ import annotations

from dataclasses import replace

from consensus.block import Certificate
from consensus.certificates import build_certificate, signers
from consensus.messages import Vote
from ledger.statements import Statement, StatementKind
from tests.simulation.chain import GENESIS_HASH, INTERVAL_MS, account_of, node_key_of
from tests.simulation.signatures import StubSigner
from tests.simulation.world import Setting, World

NOTARIZE, NULLIFY, FINALIZE = StatementKind.NOTARIZE, StatementKind.NULLIFY, StatementKind.FINALIZE
CALM = Setting(homes=4, equal=True, byzantine=False, faults=False, skew_ms=0)


def certificate(
    world: World, kind: StatementKind, view: int, block_hash: bytes | None, homes: list[int]
) -> Certificate:
    statement = Statement(kind, 1, view, block_hash)
    committee = world.chain.committee(1)
    signatures = {home: StubSigner(node_key_of(home)).sign(statement) for home in homes}
    return build_certificate(statement, signatures, committee)


def quiet(world: World) -> World:
    world.slow_work_ms = world.disk_ms = 0
    return world


def begin(world: World, *, but: frozenset[int] = frozenset()) -> None:
    for number, home in world.homes.items():
        if number not in but:
            home.boot()


def test_a_gap_in_every_path_is_filled() -> None:
    # Given four homes, one silent; the others hold notarization 0 and voted nullify 0; nullifications 1 to 4 exist
    world = quiet(World(replace(CALM, offline=1)))
    leader = world.chain.facts(GENESIS_HASH).leader(0)
    block = world.chain.make_block(GENESIS_HASH, 0, INTERVAL_MS, None, world.rng)
    assert world.chain.home_of_seat(1, leader) == block.header.producer[0] - 1
    for missing, home in enumerate(world.homes.values(), 1):
        statement = Statement(NULLIFY, 1, 0, None)
        vote = Vote(statement, home.node_key, StubSigner(home.node_key).sign(statement))
        nullifications = [
            certificate(world, NULLIFY, view, None, [0, 1, 2, 3]) for view in (1, 2, 3, 4) if view != missing
        ]
        # ... and the first lacks nullification 1, the second 2, the third 3
        home.disk.write((vote, block, certificate(world, NOTARIZE, 0, block.hash, [0, 1, 2, 3]), *nullifications))
    # When they are connected
    world.now_ms = INTERVAL_MS
    begin(world)
    world.run_until(INTERVAL_MS + 30_000)
    # Then they commit, and the very block that was notarized
    assert {home.disk.chain[0][1] for home in world.homes.values()} == {block.hash}


def test_the_draw_traps_nobody() -> None:
    # Given that A produced last, B and C are suspended, and D, the only one left for round one, is silent
    world = quiet(World(replace(CALM, offline=1)))
    (silent,) = world.offline
    last, *suspended = world.homes
    genesis = world.chain.tips[GENESIS_HASH]
    world.chain.tips[GENESIS_HASH] = replace(genesis, producer=account_of(last), suspended=frozenset(suspended))
    facts = world.chain.facts(GENESIS_HASH)
    assert facts.draw.turn(0).entrants == (silent,)
    # When the height opens
    begin(world)
    world.run_until(INTERVAL_MS + 30_000)
    # Then it commits
    assert all(home.disk.height >= 1 for home in world.homes.values())


def test_an_equivocating_proposer_in_a_divided_house_gets_one_notarization() -> None:
    # Given seven homes, two of them byzantine, and the honest five divided into three and two for a minute
    world = World(replace(CALM, homes=7, byzantine=True, style="Equivocator", end_ms=200_000))
    three, two = list(world.homes)[:3], list(world.homes)[3:]
    assert len(two) == 2
    world.cut = {pair for one in three for other in two for pair in ((one, other), (other, one))}
    world.at(60_000, world.cut.clear)
    # When it runs, then the checker sees at most one block notarized per view, and the house goes on once united
    report = world.run()
    assert report.heights >= 10
    assert report.evidence > 0


def test_a_leader_whose_clock_is_fast_is_waited_for() -> None:
    # Given that the leader of view 0 is 8 s fast
    world = quiet(World(CALM))
    leader = world.chain.home_of_seat(1, world.chain.facts(GENESIS_HASH).leader(0))
    world.homes[leader].skew_ms = 8_000
    # When height 1 is agreed on
    begin(world)
    world.run_until(INTERVAL_MS + 3_000)
    # Then its block is final, made in view 0, and so costs it no turn
    for home in world.homes.values():
        block, _, _ = home.disk.chain[0]
        assert (block.header.view, block.header.producer) == (0, account_of(leader))


def test_a_laggard_of_twenty_heights_and_two_committees_catches_up_with_one_vote() -> None:
    # Given a home that was away for 20 heights, in which the committee changed twice
    seed = next(
        seed
        for seed in range(100)
        if len({World(replace(CALM, equal=False, seed=seed)).chain.committee(height).hash for height in range(1, 21)})
        >= 3
    )
    world = quiet(World(replace(CALM, equal=False, seed=seed, end_ms=10**6)))
    away = min(world.homes, key=lambda number: world.chain.committee(1).weights[number])
    begin(world, but=frozenset({away}))
    while min(home.disk.height for number, home in world.homes.items() if number != away) < 20:
        world.run_until(world.now_ms + 100)
    # When it comes back and votes for height 1, which its clock says is long open
    laggard = world.homes[away]
    came_back_ms = world.now_ms
    laggard.boot()
    world.run_until(came_back_ms + 10_000)
    # Then within 10 s it stands where the others stand, and its votes are in the certificates that follow
    assert laggard.disk.height >= max(home.disk.height for home in world.homes.values()) - 1
    assert laggard.disk.height >= 20
    world.run_until(came_back_ms + 40_000)
    _, _, last = laggard.disk.chain[-1]
    block, _, _ = laggard.disk.chain[-2]
    assert last.height > 20
    carried = laggard.disk.chain[-1][0].parent_certificate
    assert carried is not None
    assert away in (signers(carried, world.chain.committee(block.header.height)) or ())


def test_a_home_alone_makes_its_chain() -> None:
    world = World(replace(CALM, homes=1, seed=1))
    assert world.run().heights >= 60


def test_with_more_than_a_third_gone_nothing_is_final_and_with_their_return_it_goes_on() -> None:
    # Given four equal homes, two of them gone from the start
    world = quiet(World(CALM))
    gone = frozenset(list(world.homes)[2:])
    begin(world, but=gone)
    world.run_until(600_000)
    assert all(home.disk.height == 0 for home in world.homes.values())
    # When one of the two comes back, then the chain goes on
    world.homes[min(gone)].boot()
    world.run_until(660_000)
    assert all(home.disk.height >= 5 for number, home in world.homes.items() if number != max(gone))


def test_a_late_home_is_counted_present() -> None:
    # Given a home whose votes reach the others only after they have closed the height
    world = quiet(World(replace(CALM, seed=4)))
    slow = 0
    world.extra_ms[slow] = 700
    begin(world)
    world.run_until(60_000)
    # Then the next block carries its signature all the same
    blocks = [block for block, _, _ in world.homes[1].disk.chain[1:]]
    assert len(blocks) >= 8
    counted = 0
    for block in blocks:
        assert block.parent_certificate is not None
        counted += slow in (signers(block.parent_certificate, world.chain.committee(block.header.height - 1)) or ())
    assert counted >= len(blocks) - 1
