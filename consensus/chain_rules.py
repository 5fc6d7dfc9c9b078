"""What makes a block valid, and how one is made.

A block at height h on the parent at h − 1, whose state is ``base``, is valid if all of this holds, checked in this
order, cheap before dear. ``committee(x)`` is the one in force at height x.

1. ``version`` is 1; the chain id is this chain's; the height is the parent's + 1; the parent hash is the parent's (at
   height 1: the chain id, the hash of the genesis).
2. ``time_ms`` is at least the parent's + ``block_interval_ms``. That it is not in the future is for the voter to see,
   who has a clock.
3. ``view`` is at most ``MAX_VIEW``; there are at most ``max_block_transactions`` transactions, of at most
   ``max_block_bytes`` together.
4. At height 1 there is no parent certificate and its hash is ``NO_HASH``. At every other the certificate's hash is in
   the header, and it is a quorum's of committee(h − 1) on FINALIZE for (h − 1, parent hash), in any view.
5. The producer is the leader drawn for (h, view), and the beacon proof is by its node key, as committee(h) has it.
6. Every transaction decodes and is signed by its sender; ``transactions_root`` is the Merkle root (RFC 6962) of their
   ids.
7. The ledger takes the block: transactions for this chain in prescribed order, no refusable reading, everyone can pay
   the fee (``ledger.execute``).
8. ``receipts_root``, ``state_root`` and ``committee_hash``, of committee(h + 1), are what follows from executing it.

``view`` is the view the block was *made* in, and skipped are the leaders of the views below it. A block repeated in a
later view is unchanged, and the views in between cost nobody.

Making a block is the same reckoning with the blanks filled in, so what ``build_block`` returns passes
``validate_block``. Signatures are checked through what is handed in, which may know them already; so is the beacon,
which is the VRF everywhere but in the laboratory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, Self

from consensus import vrf
from consensus.block import NO_HASH, VERSION, Block, Certificate, Header
from consensus.certificates import signers, verify_certificate
from consensus.committee import Committee, Seat, committee_of
from consensus.draw import MAX_VIEW, Draw, beacon_alpha, draw_for, next_seed
from consensus.verifier import Verifier
from ledger.block import BlockContext, BlockResult
from ledger.block import InvalidBlock as LedgerInvalidBlock
from ledger.committee import committee_at
from ledger.encoding import decode, encode
from ledger.execute import execute_block, execute_onto, select_transactions
from ledger.execution import get_parameters, get_tip
from ledger.keys import SigningKey
from ledger.merkle import merkle_root
from ledger.parameters import Parameters
from ledger.records import PARAMETERS, SNAPSHOTS
from ledger.refusal import TransactionRefused
from ledger.state import MAX_RECORD_BYTES, Base, State
from ledger.statements import StatementKind
from ledger.transactions import Transaction, decode_transaction

RootOf = Callable[[dict[bytes, bytes | None]], bytes]
"""State changes of a block → the root of the state after it, 32 bytes, given the parent's state."""
SignatureCheck = Callable[[Sequence[Transaction]], bool]
"""True if every one of the transactions is signed by its sender."""


class Beacon(Protocol):
    """Proves and checks the random number that the producer of a turn adds (``consensus.draw``, rule 5)."""

    def prove(self, key: SigningKey, alpha: bytes) -> bytes:
        """The 80-byte proof of ``alpha`` under the key."""

    def verify(self, public_key: bytes, alpha: bytes, proof: bytes) -> bytes:
        """β, 64 bytes. Errors: VrfError if it does not belong to the key and ``alpha``."""

    def output(self, proof: bytes) -> bytes:
        """β of a proof made here."""


class VrfBeacon:
    """The beacon of every real chain; see ``consensus.vrf``."""

    def prove(self, key: SigningKey, alpha: bytes) -> bytes:
        return vrf.prove(key.seed, alpha)

    def verify(self, public_key: bytes, alpha: bytes, proof: bytes) -> bytes:
        return vrf.verify(public_key, alpha, proof)

    def output(self, proof: bytes) -> bytes:
        return vrf.proof_to_hash(proof)


VRF_BEACON: Final = VrfBeacon()


class BlockFault(StrEnum):
    """Which rule a block breaks."""

    WRONG_VERSION = "wrong_version"
    WRONG_CHAIN = "wrong_chain"
    WRONG_HEIGHT = "wrong_height"
    WRONG_PARENT = "wrong_parent"
    TOO_EARLY = "too_early"
    VIEW_TOO_HIGH = "view_too_high"
    TOO_MANY_TRANSACTIONS = "too_many_transactions"
    TOO_LARGE = "too_large"
    CERTIFICATE_AT_HEIGHT_ONE = "certificate_at_height_one"
    CERTIFICATE_MISSING = "certificate_missing"
    CERTIFICATE_HASH = "certificate_hash"
    CERTIFICATE_FOR_ANOTHER = "certificate_for_another"
    CERTIFICATE_INVALID = "certificate_invalid"
    WRONG_PRODUCER = "wrong_producer"
    BAD_BEACON = "bad_beacon"
    BAD_TRANSACTION = "bad_transaction"
    BAD_SIGNATURE = "bad_signature"
    TRANSACTIONS_ROOT = "transactions_root"
    REFUSED_BY_LEDGER = "refused_by_ledger"
    RECEIPTS_ROOT = "receipts_root"
    STATE_ROOT = "state_root"
    COMMITTEE_HASH = "committee_hash"


class InvalidBlock(LedgerInvalidBlock):
    """The block breaks a rule. Whoever made it knew better, or runs another program."""

    def __init__(self, fault: BlockFault, detail: str) -> None:
        super().__init__(f"{fault.value}: {detail}")
        self.fault = fault
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Parent:
    """What a block is built on. The genesis has height 0 and, as its hash, the chain id."""

    height: int
    hash: bytes
    time_ms: int

    @classmethod
    def of(cls, header: Header) -> Self:
        return cls(header.height, header.hash, header.time_ms)


@dataclass(frozen=True, slots=True)
class ExecutedBlock:
    """A valid block and what it does. ``transactions``: those of ``block``, decoded; ``hash``: the block's."""

    block: Block
    hash: bytes
    transactions: tuple[Transaction, ...]
    result: BlockResult
    state_root: bytes


def every_signature_is_good(transactions: Sequence[Transaction]) -> bool:
    """The ``SignatureCheck`` of whoever has verified nothing yet."""
    return all(transaction.has_valid_signature() for transaction in transactions)


class OpenHeight:
    """Height h on its parent: the draw, both committees, the parameters, and the contexts of blocks made here.

    ``committee`` is committee(h); ``parent_committee`` is committee(h − 1), None at height 1, whose parent is the
    genesis.
    """

    def __init__(self, chain_id: bytes, parent: Parent, base: Base) -> None:
        state = State(base)
        tip = get_tip(state)
        assert (tip.height, tip.time_ms) == (parent.height, parent.time_ms), "the state is the parent's"
        self.chain_id = chain_id
        self.parent = parent
        self.base = base
        self.height = parent.height + 1
        self.parameters: Parameters = get_parameters(state)
        self.draw: Draw = draw_for(state, self.height)
        self.committee = committee_of(committee_at(state, self.height))
        self.parent_committee = committee_of(committee_at(state, parent.height)) if parent.height else None

    @property
    def earliest_ms(self) -> int:
        """The earliest time a block may carry."""
        return self.parent.time_ms + self.parameters.block_interval_ms

    def alpha(self, view: int) -> bytes:
        return beacon_alpha(self.chain_id, self.draw.seed, self.height, view)

    def context(self, view: int, time_ms: int, beta: bytes, parent_certificate: Certificate | None) -> BlockContext:
        """What the ledger is told of a block made in ``view``. The certificate has passed ``verify_certificate``."""
        signed: frozenset[bytes] = frozenset()
        could_sign: frozenset[bytes] = frozenset()
        if self.parent_committee is not None:
            assert parent_certificate is not None
            seats = self.parent_committee.seats
            indices = signers(parent_certificate, self.parent_committee)
            assert indices is not None
            signed = frozenset(seats[index].account for index in indices)
            could_sign = frozenset(seat.account for seat in seats)
        return BlockContext(
            chain_id=self.chain_id,
            height=self.height,
            time_ms=time_ms,
            producer=self.draw.leader_account(view),
            skipped=tuple(self.draw.leader_account(earlier) for earlier in range(view)),
            signers=signed,
            committee=could_sign,
            beacon=beta,
            seed=next_seed(self.draw.seed, beta),
        )


def build_block(
    height: OpenHeight,
    view: int,
    time_ms: int,
    node_key: SigningKey,
    parent_certificate: Certificate | None,
    candidates: Sequence[Transaction],
    root_of: RootOf,
    beacon: Beacon = VRF_BEACON,
) -> ExecutedBlock:
    """Makes the block of (height, view) with as many of ``candidates`` (their signatures verified) as fit.

    ``node_key`` is the drawn leader's as the committee has it; ``time_ms`` is at least ``height.earliest_ms``;
    ``parent_certificate`` is valid and carries every signature known, None at height 1 and only there.
    """
    parameters = height.parameters
    assert time_ms >= height.earliest_ms
    assert (parent_certificate is None) == (height.height == 1)
    leader = height.committee.seats[height.draw.leader(view)]
    assert leader.node_key == node_key.public_key, "only the drawn leader makes the block, with its committee key"
    proof = beacon.prove(node_key, height.alpha(view))
    context = height.context(view, time_ms, beacon.output(proof), parent_certificate)
    chosen, result = select_transactions(
        height.base, context, candidates, parameters.max_block_bytes, parameters.max_block_transactions
    )
    header = Header(
        version=VERSION,
        chain_id=height.chain_id,
        height=height.height,
        view=view,
        time_ms=time_ms,
        parent_hash=height.parent.hash,
        producer=leader.account,
        beacon_proof=proof,
        transactions_root=_transactions_root(chosen),
        receipts_root=_receipts_root(result),
        state_root=root_of(result.changes),
        parent_certificate_hash=NO_HASH if parent_certificate is None else parent_certificate.hash,
        committee_hash=_next_committee(height, result).hash,
    )
    block = Block(header, parent_certificate, tuple(transaction.raw for transaction in chosen))
    return ExecutedBlock(block, header.hash, tuple(chosen), result, header.state_root)


def validate_block(
    height: OpenHeight,
    block: Block,
    verifier: Verifier,
    root_of: RootOf,
    signatures: SignatureCheck = every_signature_is_good,
    beacon: Beacon = VRF_BEACON,
) -> ExecutedBlock:
    """Checks every rule above. Errors: InvalidBlock, with the first rule broken."""
    header = block.header
    _check_place(height, header)
    _check_size(height, block)
    _check_parent_certificate(height, block, verifier)
    beta = _check_producer(height, header, beacon)
    transactions = _check_transactions(height, block, signatures)
    context = height.context(header.view, header.time_ms, beta, block.parent_certificate)
    try:
        result = execute_block(height.base, context, transactions)
    except LedgerInvalidBlock as error:
        raise InvalidBlock(BlockFault.REFUSED_BY_LEDGER, str(error)) from error
    _require(header.receipts_root == _receipts_root(result), BlockFault.RECEIPTS_ROOT, "executing it gives another")
    _require(header.state_root == root_of(result.changes), BlockFault.STATE_ROOT, "executing it gives another")
    _require(
        header.committee_hash == _next_committee(height, result).hash,
        BlockFault.COMMITTEE_HASH,
        "the next height's committee is another",
    )
    return ExecutedBlock(block, header.hash, transactions, result, header.state_root)


def follow_block(
    height: OpenHeight, block: Block, block_hash: bytes, transactions: tuple[Transaction, ...], beacon: Beacon
) -> ExecutedBlock:
    """Executes a block that is known to be final, one of several in a row: ``height.base`` is the ``State`` after its
    parent, and becomes the one after it.

    It is known to be final because a quorum's certificate names it, or a descendant of it. That vouches for what every
    voter has checked and the hash covers; so not checked again are the beacon's proof, the signatures in the parent's
    certificate, and ``state_root``, which the caller compares after the last block of the row. What the hash does not
    cover the caller has checked: ``transactions`` are those of the header's root, each signed by its sender, and the
    parent's certificate is the one the header names. Errors: InvalidBlock.
    """
    header, state = block.header, height.base
    assert isinstance(state, State)
    _check_place(height, header)
    _check_size(height, block)
    if height.parent_committee is not None:
        parent = height.parent
        certificate = block.parent_certificate
        _require(
            certificate is not None
            and certifies(certificate, parent.height, parent.hash)
            and signers(certificate, height.parent_committee) is not None,
            BlockFault.CERTIFICATE_FOR_ANOTHER,
            "it does not make the parent final",
        )
    _check_leader(height, header)
    try:
        beta = beacon.output(header.beacon_proof)
    except vrf.VrfError as error:
        raise InvalidBlock(BlockFault.BAD_BEACON, str(error)) from error
    context = height.context(header.view, header.time_ms, beta, block.parent_certificate)
    try:
        result = execute_onto(state, context, transactions)
    except LedgerInvalidBlock as error:
        raise InvalidBlock(BlockFault.REFUSED_BY_LEDGER, str(error)) from error
    _require(header.receipts_root == _receipts_root(result), BlockFault.RECEIPTS_ROOT, "executing it gives another")
    following = committee_of(committee_at(state, height.height + 1))
    _require(header.committee_hash == following.hash, BlockFault.COMMITTEE_HASH, "the next height's is another")
    return ExecutedBlock(block, block_hash, transactions, result, header.state_root)


def verify_final(header: Header, certificate: Certificate, committee: Committee, verifier: Verifier) -> bool:
    """True if ``certificate`` makes the block of ``header`` final: all that a light client asks.

    ``committee`` is the one of the header's height: the parent header's ``committee_hash`` is its hash.
    """
    return certifies(certificate, header.height, header.hash) and verify_certificate(certificate, committee, verifier)


def certifies(certificate: Certificate, height: int, block_hash: bytes) -> bool:
    """True if the certificate speaks of this block being final. Says nothing about who signed it."""
    return (certificate.kind, certificate.height, certificate.block_hash) == (
        StatementKind.FINALIZE,
        height,
        block_hash,
    )


def _require(holds: bool, fault: BlockFault, detail: str) -> None:
    if not holds:
        raise InvalidBlock(fault, detail)


def _check_place(height: OpenHeight, header: Header) -> None:
    """Rules 1, 2 and the view of 3."""
    parent = height.parent
    _require(header.version == VERSION, BlockFault.WRONG_VERSION, f"{header.version}, this node speaks {VERSION}")
    _require(header.chain_id == height.chain_id, BlockFault.WRONG_CHAIN, f"chain {header.chain_id.hex()}")
    _require(header.height == height.height, BlockFault.WRONG_HEIGHT, f"{header.height} on {parent.height}")
    _require(header.parent_hash == parent.hash, BlockFault.WRONG_PARENT, f"names {header.parent_hash.hex()}")
    _require(
        header.time_ms >= height.earliest_ms,
        BlockFault.TOO_EARLY,
        f"at {header.time_ms} ms, {height.earliest_ms - header.time_ms} ms before it may be",
    )
    _require(header.view <= MAX_VIEW, BlockFault.VIEW_TOO_HIGH, f"view {header.view} of at most {MAX_VIEW}")


def _check_size(height: OpenHeight, block: Block) -> None:
    """The rest of rule 3."""
    count, most = len(block.transactions), height.parameters.max_block_transactions
    _require(count <= most, BlockFault.TOO_MANY_TRANSACTIONS, f"{count} of at most {most}")
    size, largest = sum(map(len, block.transactions)), height.parameters.max_block_bytes
    _require(size <= largest, BlockFault.TOO_LARGE, f"{size} bytes of at most {largest}")


def _check_parent_certificate(height: OpenHeight, block: Block, verifier: Verifier) -> None:
    """Rule 4."""
    certificate, named = block.parent_certificate, block.header.parent_certificate_hash
    if height.parent_committee is None:
        _require(certificate is None, BlockFault.CERTIFICATE_AT_HEIGHT_ONE, "the genesis needs none")
        _require(named == NO_HASH, BlockFault.CERTIFICATE_HASH, "there is no certificate to name")
        return
    if certificate is None:
        raise InvalidBlock(BlockFault.CERTIFICATE_MISSING, "every block after the first carries its parent's")
    _require(named == certificate.hash, BlockFault.CERTIFICATE_HASH, "the header names another certificate")
    _require(
        certifies(certificate, height.parent.height, height.parent.hash),
        BlockFault.CERTIFICATE_FOR_ANOTHER,
        "it does not make the parent final",
    )
    _require(
        verify_certificate(certificate, height.parent_committee, verifier),
        BlockFault.CERTIFICATE_INVALID,
        "it does not hold good signatures of a quorum",
    )


def _check_leader(height: OpenHeight, header: Header) -> Seat:
    """The first half of rule 5. Returns the leader's seat."""
    leader = height.committee.seats[height.draw.leader(header.view)]
    _require(
        header.producer == leader.account,
        BlockFault.WRONG_PRODUCER,
        f"view {header.view} is {leader.account.hex()}'s turn, not {header.producer.hex()}'s",
    )
    return leader


def _check_producer(height: OpenHeight, header: Header, beacon: Beacon) -> bytes:
    """Rule 5. Returns β."""
    leader = _check_leader(height, header)
    try:
        return beacon.verify(leader.node_key, height.alpha(header.view), header.beacon_proof)
    except vrf.VrfError as error:
        raise InvalidBlock(BlockFault.BAD_BEACON, str(error)) from error


def _check_transactions(height: OpenHeight, block: Block, signatures: SignatureCheck) -> tuple[Transaction, ...]:
    """Rule 6."""
    transactions: list[Transaction] = []
    for index, raw in enumerate(block.transactions):
        try:
            transactions.append(decode_transaction(raw))
        except TransactionRefused as error:
            raise InvalidBlock(BlockFault.BAD_TRANSACTION, f"number {index}: {error}") from error
    _require(
        block.header.transactions_root == _transactions_root(transactions),
        BlockFault.TRANSACTIONS_ROOT,
        "the header is for other transactions",
    )
    _require(signatures(transactions), BlockFault.BAD_SIGNATURE, "a transaction is not signed by its sender")
    return tuple(transactions)


def _transactions_root(transactions: Sequence[Transaction]) -> bytes:
    return merkle_root([transaction.id for transaction in transactions])


def _receipts_root(result: BlockResult) -> bytes:
    return merkle_root([encode(receipt) for receipt in result.receipts])


def _next_committee(height: OpenHeight, result: BlockResult) -> Committee:
    after = State(height.base)
    for key, data in result.changes.items():
        for table in (PARAMETERS, SNAPSHOTS):
            if key[:1] == table.prefix and data is not None:
                after.write(key, decode(data, table.record, MAX_RECORD_BYTES), table.record)
    return committee_of(committee_at(after, height.height + 1))
