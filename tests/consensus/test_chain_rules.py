"""Blocks: one made by the rules is accepted, one that breaks any single rule is refused with that rule's name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from consensus.block import NO_HASH, Block, Certificate
from consensus.chain_rules import (
    BlockFault,
    InvalidBlock,
    OpenHeight,
    Parent,
    build_block,
    validate_block,
    verify_final,
)
from consensus.committee import Committee
from consensus.draw import MAX_VIEW, next_seed
from consensus.vrf import proof_to_hash, prove
from ledger.block import InvalidBlock as LedgerInvalidBlock
from ledger.committee import committee_at
from ledger.encoding import decode, encode
from ledger.execution import get_tip
from ledger.genesis import genesis_changes
from ledger.merkle import merkle_root
from ledger.parameters import Parameters
from ledger.records import CandidateStatus
from ledger.state import DictReader, State
from ledger.statements import SignedStatement, Statement, StatementKind
from ledger.transactions import (
    RegisterMember,
    Rejoin,
    ReportEquivocation,
    Signed,
    Token,
    Transaction,
    Transfer,
    decode_transaction,
    sign_transaction,
)
from storage.state_tree import update
from tests.support.chain import NAMES, PARAMETERS, Chain

OTHER = bytes(range(32))


def pay(chain: Chain, sender: str, recipient: str, *, ahead: int = 0, fee_uwatt: int = 1_000) -> Transaction:
    transfer = Transfer(recipient=chain.home(recipient).id, token=Token.WATT, amount=1_000_000, memo="")
    return chain.sign(sender, transfer, ahead=ahead, fee_uwatt=fee_uwatt)


def five_blocks(parameters: Parameters = PARAMETERS) -> Chain:
    made = Chain(parameters=parameters)
    for _ in range(5):
        made.produce()
    return made


@pytest.fixture
def chain() -> Chain:
    return five_blocks()


def with_header(block: Block, **changes: Any) -> Block:
    return replace(block, header=replace(block.header, **changes))


def with_certificate(block: Block, certificate: Certificate) -> Block:
    """The header names the certificate as it should, so that only the certificate is wrong."""
    changed = replace(block, parent_certificate=certificate)
    return with_header(changed, parent_certificate_hash=certificate.hash)


def with_transactions(block: Block, transactions: Sequence[Transaction]) -> Block:
    """The header's root is theirs, so that only what they are is wrong."""
    changed = replace(block, transactions=tuple(one.raw for one in transactions))
    return with_header(changed, transactions_root=merkle_root([one.id for one in transactions]))


def refused(chain: Chain, block: Block) -> BlockFault:
    with pytest.raises(InvalidBlock) as caught:
        chain.validate(block)
    assert isinstance(caught.value, LedgerInvalidBlock)
    assert str(caught.value) == f"{caught.value.fault}: {caught.value.detail}"
    assert caught.value.detail
    return caught.value.fault


class TestAccepted:
    def test_what_is_built_validates_to_the_same(self, chain: Chain) -> None:
        # Given transfers, a reading and a node's transaction waiting
        waiting = [
            pay(chain, "anne", "bob"),
            pay(chain, "anne", "carla", ahead=1),
            pay(chain, "carla", "anne"),
            chain.read("bob", 120, 0),
        ]
        # When the leader builds and anybody validates the encoded block
        built = chain.build(waiting)
        block = decode(encode(built.block), Block, 10**6)
        validated = chain.validate(block)
        # Then both have the same block, transactions, receipts, changes and state root
        assert validated == built
        assert validated.hash == block.hash
        assert {one.id for one in validated.transactions} == {one.id for one in waiting}
        assert all(receipt.refusal is None for receipt in validated.result.receipts)
        # And neither changed the state they read
        assert get_tip(State(chain.state)).height == 5

    def test_the_first_block_has_no_parent_certificate(self) -> None:
        chain = Chain()
        block = chain.produce().block
        assert block.parent_certificate is None
        assert block.header.parent_certificate_hash == NO_HASH
        assert block.header.parent_hash == chain.chain_id

    def test_the_seed_follows_from_the_producers_proof(self, chain: Chain) -> None:
        before = get_tip(State(chain.state)).seed
        beta = proof_to_hash(chain.produce().block.header.beacon_proof)
        assert get_tip(State(chain.state)).seed == next_seed(before, beta)

    def test_a_block_may_be_later_than_the_earliest(self, chain: Chain) -> None:
        late = chain.open.earliest_ms + 86_400_000
        assert chain.produce(time_ms=late).block.header.time_ms == late

    def test_the_certificate_of_any_view_and_with_just_a_quorum_will_do(self, chain: Chain) -> None:
        # Given a block made in view 0 and made final, repeated, in view 2 by three of four
        executed = chain.build()
        chain.commit(executed, chain.certify(executed.block, view=2, signers=("anne", "bob", "george")))
        # When the next block carries that certificate, then it is valid and only the fourth counts as missing
        signed = {name: chain.candidate(name).epoch_signed for name in NAMES}
        chain.produce()
        assert [name for name in NAMES if chain.candidate(name).epoch_signed == signed[name]] == ["carla"]

    def test_skipped_are_the_leaders_below_the_view_it_was_made_in(self, chain: Chain) -> None:
        # Given the leaders of views 0 and 1 stay silent, and the block made in view 2 is final only in view 3
        silent = {chain.leader(0).name, chain.leader(1).name}
        executed = chain.build(view=2)
        chain.commit(chain.validate(executed.block), chain.certify(executed.block, view=3))
        # Then those two and nobody else missed a turn
        assert {name for name in NAMES if chain.candidate(name).missed_total} == silent

    def test_signatures_are_left_to_the_check_that_is_handed_in(self, chain: Chain) -> None:
        waiting = [pay(chain, "anne", "bob"), pay(chain, "bob", "carla")]
        block = chain.build(waiting).block
        seen: list[bytes] = []

        def check(transactions: Sequence[Transaction]) -> bool:
            seen.extend(transaction.id for transaction in transactions)
            return True

        validate_block(chain.open, block, chain.verifier, chain.root_of, check)
        assert seen == [decode_transaction(raw).id for raw in block.transactions]

    def test_what_cannot_be_in_a_block_is_left_out_when_building(self, chain: Chain) -> None:
        good, gap = pay(chain, "anne", "bob"), pay(chain, "bob", "carla", ahead=5)
        assert [one.id for one in chain.build([gap, good]).transactions] == [good.id]


def _certificate(**changes: Any) -> Callable[[Chain], Block]:
    """A block whose parent certificate is another one for the parent."""

    def make(chain: Chain) -> Block:
        parent, committee = chain.blocks[-1].block, chain.open.parent_committee
        return with_certificate(chain.build().block, chain.certify(parent, committee=committee, **changes))

    return make


def _changed_certificate(**changes: Any) -> Callable[[Chain], Block]:
    return lambda chain: with_certificate(chain.build().block, replace(chain.certificates[-1], **changes))


def _header(**changes: Any) -> Callable[[Chain], Block]:
    return lambda chain: with_header(chain.build().block, **changes)


def _certificate_for_the_genesis(chain: Chain) -> Block:
    return with_certificate(
        chain.build().block, Certificate(StatementKind.FINALIZE, 0, 0, chain.chain_id, b"\x00", b"")
    )


def _too_many(chain: Chain) -> Block:
    return with_transactions(chain.build().block, [pay(chain, name, "anne") for name in ("bob", "carla", "george")])


def _too_large(chain: Chain) -> Block:
    transactions = [pay(chain, "anne", "bob", ahead=index) for index in range(100)]
    assert sum(len(one.raw) for one in transactions) > 16 * 1024
    return with_transactions(chain.build().block, transactions)


def _certificate_missing(chain: Chain) -> Block:
    block = replace(chain.build().block, parent_certificate=None)
    return with_header(block, parent_certificate_hash=NO_HASH)


def _of_the_grandparent(chain: Chain) -> Block:
    return with_certificate(chain.build().block, chain.certificates[-2])


def _another_producer(chain: Chain) -> Block:
    other = next(name for name in NAMES if name != chain.leader().name)
    return with_header(chain.build().block, producer=chain.home(other).id)


def _next_leaders_block_in_view_zero(chain: Chain) -> Block:
    return with_header(chain.build(view=1).block, view=0)


def _proof(by: int, view: int) -> Callable[[Chain], Block]:
    """The beacon proof of the leader of view ``by``, made for ``view``, in a block of view 0."""

    def make(chain: Chain) -> Block:
        proof = prove(chain.leader(by).node.seed, chain.open.alpha(view))
        return with_header(chain.build().block, beacon_proof=proof)

    return make


def _not_a_transaction(chain: Chain) -> Block:
    return replace(chain.build().block, transactions=(b"\x80",))


def _badly_signed(chain: Chain) -> Block:
    good = pay(chain, "anne", "bob")
    forged = bytes([good.signature[0] ^ 1]) + good.signature[1:]
    raw = encode(Signed(body=good.body, signature=forged))
    return with_transactions(chain.build().block, [decode_transaction(raw)])


def _transaction_dropped(chain: Chain) -> Block:
    block = chain.build([pay(chain, "anne", "bob"), pay(chain, "bob", "anne")]).block
    return replace(block, transactions=block.transactions[1:])


def _other_order(chain: Chain) -> Block:
    executed = chain.build([pay(chain, "anne", "bob"), pay(chain, "bob", "anne")])
    return with_transactions(executed.block, executed.transactions[::-1])


def _twice(chain: Chain) -> Block:
    one = pay(chain, "anne", "bob")
    return with_transactions(chain.build().block, [one, one])


def _another_chains(chain: Chain) -> Block:
    transfer = Transfer(recipient=chain.home("bob").id, token=Token.WATT, amount=1, memo="")
    foreign = sign_transaction(
        chain.home("anne").account, OTHER, transfer, nonce=0, fee_uwatt=1_000, valid_until_height=20
    )
    return with_transactions(chain.build().block, [foreign])


def _fee_nobody_can_pay(chain: Chain) -> Block:
    return with_transactions(chain.build().block, [pay(chain, "anne", "bob", fee_uwatt=10**12)])


def _refusable_reading(chain: Chain) -> Block:
    return with_transactions(chain.build().block, [chain.read("bob", 10**9, 0)])


def _late(chain: Chain) -> Block:
    return with_header(chain.build().block, time_ms=chain.open.earliest_ms - 1)


GIVEN: dict[str, Callable[[], Chain]] = {
    "three transactions of two": lambda: five_blocks(replace(PARAMETERS, max_block_transactions=2)),
    "too many bytes": lambda: five_blocks(replace(PARAMETERS, max_block_bytes=16 * 1024)),
    "a certificate of the genesis": Chain,
    "a certificate's hash and no certificate": Chain,
}
"""What a case is built on, where it is not ``five_blocks``."""

BROKEN: list[tuple[str, BlockFault, Callable[[Chain], Block]]] = [
    ("version 2", BlockFault.WRONG_VERSION, _header(version=2)),
    ("another chain", BlockFault.WRONG_CHAIN, _header(chain_id=OTHER)),
    ("the parent's height", BlockFault.WRONG_HEIGHT, _header(height=5)),
    ("a height in between left out", BlockFault.WRONG_HEIGHT, _header(height=7)),
    ("another parent", BlockFault.WRONG_PARENT, _header(parent_hash=OTHER)),
    ("a millisecond early", BlockFault.TOO_EARLY, _late),
    ("a view beyond all views", BlockFault.VIEW_TOO_HIGH, _header(view=MAX_VIEW + 1)),
    ("three transactions of two", BlockFault.TOO_MANY_TRANSACTIONS, _too_many),
    ("too many bytes", BlockFault.TOO_LARGE, _too_large),
    ("a certificate of the genesis", BlockFault.CERTIFICATE_AT_HEIGHT_ONE, _certificate_for_the_genesis),
    ("a certificate's hash and no certificate", BlockFault.CERTIFICATE_HASH, _header(parent_certificate_hash=OTHER)),
    ("no parent certificate", BlockFault.CERTIFICATE_MISSING, _certificate_missing),
    ("another certificate's hash", BlockFault.CERTIFICATE_HASH, _header(parent_certificate_hash=OTHER)),
    ("the parent notarized only", BlockFault.CERTIFICATE_FOR_ANOTHER, _certificate(kind=StatementKind.NOTARIZE)),
    ("the grandparent's certificate", BlockFault.CERTIFICATE_FOR_ANOTHER, _of_the_grandparent),
    ("a certificate for another hash", BlockFault.CERTIFICATE_FOR_ANOTHER, _changed_certificate(block_hash=OTHER)),
    ("half of the weight", BlockFault.CERTIFICATE_INVALID, _certificate(signers=("anne", "bob"))),
    ("nobody's signature", BlockFault.CERTIFICATE_INVALID, _certificate(signers=())),
    ("signatures for another view", BlockFault.CERTIFICATE_INVALID, _changed_certificate(view=1)),
    ("a bitmap of another size", BlockFault.CERTIFICATE_INVALID, _changed_certificate(signers=b"\x0f\x00")),
    ("a signature too few", BlockFault.CERTIFICATE_INVALID, _changed_certificate(signers=b"\x07")),
    ("forged signatures", BlockFault.CERTIFICATE_INVALID, _changed_certificate(signatures=bytes(256))),
    ("somebody else's turn", BlockFault.WRONG_PRODUCER, _another_producer),
    ("a later leader's block put first", BlockFault.WRONG_PRODUCER, _next_leaders_block_in_view_zero),
    ("a block moved to a later view", BlockFault.WRONG_PRODUCER, _header(view=1)),
    ("a producer nobody knows", BlockFault.WRONG_PRODUCER, _header(producer=OTHER)),
    ("another home's proof", BlockFault.BAD_BEACON, _proof(by=1, view=0)),
    ("a proof for another view", BlockFault.BAD_BEACON, _proof(by=0, view=1)),
    ("no proof at all", BlockFault.BAD_BEACON, _header(beacon_proof=bytes(80))),
    ("bytes that are no transaction", BlockFault.BAD_TRANSACTION, _not_a_transaction),
    ("a forged transaction", BlockFault.BAD_SIGNATURE, _badly_signed),
    ("a transaction dropped", BlockFault.TRANSACTIONS_ROOT, _transaction_dropped),
    ("another transactions root", BlockFault.TRANSACTIONS_ROOT, _header(transactions_root=OTHER)),
    ("another order", BlockFault.REFUSED_BY_LEDGER, _other_order),
    ("a transaction twice", BlockFault.REFUSED_BY_LEDGER, _twice),
    ("another chain's transaction", BlockFault.REFUSED_BY_LEDGER, _another_chains),
    ("a fee the sender cannot pay", BlockFault.REFUSED_BY_LEDGER, _fee_nobody_can_pay),
    ("a reading that is refused", BlockFault.REFUSED_BY_LEDGER, _refusable_reading),
    ("another receipts root", BlockFault.RECEIPTS_ROOT, _header(receipts_root=OTHER)),
    ("another state root", BlockFault.STATE_ROOT, _header(state_root=OTHER)),
    ("another next committee", BlockFault.COMMITTEE_HASH, _header(committee_hash=OTHER)),
]


class TestRefused:
    @pytest.mark.parametrize(("name", "fault", "make"), BROKEN, ids=[case[0] for case in BROKEN])
    def test_a_block_that_breaks_one_rule_is_refused_by_its_name(
        self, name: str, fault: BlockFault, make: Callable[[Chain], Block]
    ) -> None:
        chain = GIVEN.get(name, five_blocks)()
        assert refused(chain, make(chain)) == fault

    def test_every_fault_is_shown(self) -> None:
        assert {fault for _, fault, _ in BROKEN} == set(BlockFault)

    def test_only_the_drawn_leader_can_build(self, chain: Chain) -> None:
        # A defect of the caller, not of a block.
        wrong = chain.leader(1).node
        with pytest.raises(AssertionError, match="only the drawn leader"):
            build_block(chain.open, 0, chain.open.earliest_ms, wrong, chain.certificates[-1], (), chain.root_of)

    def test_the_state_of_another_height_is_a_defect(self, chain: Chain) -> None:
        grandparent = Parent.of(chain.blocks[-2].block.header)
        with pytest.raises(AssertionError, match="the state is the parent's"):
            OpenHeight(chain.chain_id, grandparent, chain.state)


class TestFinality:
    def test_a_quorum_of_the_heights_committee_makes_a_block_final(self, chain: Chain) -> None:
        committee = chain.open.committee
        block = chain.build().block
        good = chain.certify(block, view=4, signers=("anne", "carla", "george"))
        assert verify_final(block.header, good, committee, chain.verifier)

    def test_nothing_else_does(self, chain: Chain) -> None:
        committee = chain.open.committee
        block = chain.build().block
        good = chain.certify(block)
        for bad in (
            chain.certify(block, signers=("anne", "carla")),
            chain.certify(block, kind=StatementKind.NOTARIZE),
            replace(good, block_hash=OTHER),
            replace(good, height=7),
            replace(good, view=1),
            chain.certificates[-1],
        ):
            assert not verify_final(block.header, bad, committee, chain.verifier)
        strangers = Committee(replace(committee.snapshot, members=committee.snapshot.members[:3]))
        assert not verify_final(block.header, good, strangers, chain.verifier)


@dataclass(slots=True)
class Follower:
    """A node that starts from the genesis alone and believes nothing."""

    chain: Chain
    state: DictReader = field(default_factory=lambda: DictReader({}))
    tree: dict[bytes, bytes | None] = field(default_factory=dict)

    def follow(self) -> list[bytes]:
        """Validates and applies every block; returns the state root after each."""
        self._apply(genesis_changes(self.chain.genesis))
        parent = Parent(0, self.chain.chain_id, self.chain.genesis.time_ms)
        roots: list[bytes] = []
        for height in range(1, self.chain.height + 1):
            committed = self.chain.committed(height)
            opened = OpenHeight(self.chain.chain_id, parent, self.state)
            executed = validate_block(
                opened, committed.block, self.chain.verifier, lambda changes: update(self.tree.get, changes).root
            )
            assert verify_final(committed.block.header, committed.certificate, opened.committee, self.chain.verifier)
            self._apply(executed.result.changes)
            parent = Parent.of(committed.block.header)
            roots.append(executed.state_root)
        return roots

    def _apply(self, changes: dict[bytes, bytes | None]) -> None:
        self.tree.update(update(self.tree.get, changes).nodes)
        self.state.apply(changes)


class TestAChain:
    def test_fifty_blocks_with_everything_that_can_happen_to_a_committee(self) -> None:
        chain = Chain()
        committees = [chain.open.committee.hash]

        def produce(*transactions: Transaction, view: int = 0) -> None:
            executed = chain.produce(transactions, view=view)
            assert all(receipt.refusal is None for receipt in executed.result.receipts)
            assert executed.block.header.committee_hash == chain.open.committee.hash
            committees.append(chain.open.committee.hash)

        # Epoch 1: life as usual, and turns that are missed
        produce(pay(chain, "anne", "bob"), pay(chain, "george", "anne"))
        produce(view=view_after_turn_of(chain, "george"))
        produce(view=view_after_turn_of(chain, "george"))
        # of which george missed two in a row, is suspended, and rejoins
        assert chain.candidate("george").status == CandidateStatus.SUSPENDED
        assert chain.home("george").id not in first_round(chain)
        produce(chain.sign("george", Rejoin()))
        assert chain.candidate("george").status == CandidateStatus.ACTIVE
        produce()
        # a new node key, which signs once the next snapshot is in force
        old_key = chain.home("bob").node.public_key
        produce(chain.change_node_key("bob"))
        # a fifth home, registered and joined
        dora = chain.add_home("dora")
        produce(chain.sign("anne", RegisterMember(account=dora.id, name="dora", roles=0, feeder="oak street")))
        produce(pay(chain, "anne", "dora"))
        produce(chain.delegate("dora"))
        while chain.height < 17:
            assert chain.open.committee.index_of_node_key(old_key) is not None
            produce()
        # Epoch 2: both are in the committee from height 18 on
        assert chain.open.height == 18
        assert len(chain.open.committee) == 5
        assert chain.open.committee.index_of_node_key(old_key) is None
        assert chain.open.committee.index_of_node_key(chain.home("bob").node.public_key) is not None
        produce(view=1)
        # carla signs two blocks at one height, dora tells
        carla = chain.home("carla")
        statements = [Statement(StatementKind.FINALIZE, 18, 0, digest) for digest in (OTHER, bytes(32))]
        first, second = (
            SignedStatement(one, carla.node.sign(one.domain(), chain.chain_id, one.message())) for one in statements
        )
        produce(chain.sign("dora", ReportEquivocation(node_key=carla.node.public_key, first=first, second=second)))
        assert chain.candidate("carla").status == CandidateStatus.EXPELLED
        # she stays in the committee until the snapshot changes, is drawn in later rounds only
        assert carla.id not in first_round(chain)
        while chain.height < 29:
            produce()
        # Epoch 3: four left
        assert [chain.home(seat.account).name for seat in chain.open.committee.seats].count("carla") == 0
        assert len(chain.open.committee) == 4
        while chain.height < 50:
            readings = [chain.read("bob", chain.height, 0)] if chain.height % 5 == 0 else []
            produce(*readings, view=chain.height % 7 // 6)

        # Then a node that starts from the genesis follows to the same roots and the same state
        follower = Follower(chain)
        roots = follower.follow()
        assert roots == [executed.state_root for executed in chain.blocks]
        assert dict(follower.state.data) == dict(chain.state.data)
        # and a light client, who knows the first committee only, can follow from header to header
        assert len(set(committees)) == 4  # of the genesis and of heights 12, 24 and 36
        for height in range(1, 51):
            header = chain.committed(height).block.header
            assert header.committee_hash == committees[height]
        # and each home whose turns were not passed over until it was suspended has produced
        producers = {executed.block.header.producer for executed in chain.blocks}
        active = {
            home.id for home in chain.homes.values() if chain.candidate(home.name).status == CandidateStatus.ACTIVE
        }
        assert len(active) >= 3
        assert producers >= active

    def test_the_previous_committee_signs_the_last_block_before_a_change(self) -> None:
        # Given a chain whose committee changes at height 18
        chain = Chain()
        produced = chain.change_node_key("anne")
        chain.produce([produced])
        while chain.height < 17:
            chain.produce()
        before, after = chain.open.parent_committee, chain.open.committee
        assert before is not None
        assert before.hash != after.hash == committee_hash_of(chain, 18)
        # Then block 18 carries 17's certificate by the old one, and a certificate by the new one would be refused
        chain.validate(chain.build().block)
        parent = chain.blocks[-1].block
        wrong = with_certificate(chain.build().block, chain.certify(parent, committee=after))
        assert refused(chain, wrong) == BlockFault.CERTIFICATE_INVALID


def view_after_turn_of(chain: Chain, name: str) -> int:
    """The view in which the open height's block is made if that home lets its first turn pass."""
    account = chain.home(name).id
    return next(view + 1 for view in range(MAX_VIEW) if chain.open.draw.leader_account(view) == account)


def first_round(chain: Chain) -> set[bytes]:
    """Who enters the first view of the open height."""
    draw = chain.open.draw
    return {draw.members[index].account for index in draw.turn(0).entrants}


def committee_hash_of(chain: Chain, height: int) -> bytes:
    return Committee(committee_at(chain.state, height)).hash
