"""Genesis, committees, draws, blocks, certificates, transactions."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from node.client.models.base import Model, Party


class FeederInfo(Model, frozen=True, kw_only=True):
    feeder: str
    substation: str


class Genesis(Model, frozen=True, kw_only=True):
    """``document`` is the genesis file's canonical CBOR in hex; ``chain_id`` is its hash."""

    chain_id: str
    network: str
    time_ms: int
    time: str
    members: list[Party]
    feeders: list[FeederInfo]
    parameters: dict[str, int]
    document: str


class ParameterList(Model, frozen=True, kw_only=True):
    """Parameters in force. ``bounds``: name → [smallest, largest] value the members may vote for."""

    height: int
    parameters: dict[str, int]
    bounds: dict[str, Annotated[tuple[int, ...], msgspec.Meta(min_length=2, max_length=2)]]


class CommitteeMember(Model, frozen=True, kw_only=True):
    """``weight`` is the voting weight in agreement; ``index`` is the bit in a certificate's bitmap."""

    index: int
    account: Party
    node_key: str
    pool_mvote: int
    reputation_milli: int
    weight: int


class Committee(Model, frozen=True, kw_only=True):
    """Who votes at ``height``. A quorum needs at least ``quorum_weight`` of ``total_weight``."""

    height: int
    snapshot_height: int
    hash: str
    members: list[CommitteeMember]
    total_weight: int
    quorum_weight: int


class DrawEntry(Model, frozen=True, kw_only=True):
    """One committee member in a draw. The member wins if ``from_ticket`` ≤ ticket < ``to_ticket``.

    ``lottery_weight`` ℓ is 0 and the reason given when the member is not eligible in this view: ``produced_last``,
    ``suspended``, ``expelled``, ``led_earlier_view``.
    """

    account: Party
    pool_mvote: int
    age_blocks: int
    reputation_milli: int
    status: str
    eligible: bool
    reason: str | None
    lottery_weight: int
    chance_bps: int
    from_ticket: int
    to_ticket: int


class SkippedTurn(Model, frozen=True, kw_only=True):
    """The leader drawn for ``view``, who did not produce."""

    view: int
    leader: Party


class Draw(Model, frozen=True, kw_only=True):
    """Who was drawn, by which numbers: everything needed to draw again by hand (docs/protocol.md, Draw).

    u is the first 16 bytes of SHA-512("ecloud/draw/1" ‖ seed ‖ u64be(height) ‖ u64be(view)); ticket = (u · Σℓ) >> 128.
    ``is_next``: nobody has produced this height yet. ``producer``, ``produced_view``, ``beacon_proof`` (80 bytes) and
    ``beacon`` (β, 64 bytes) are then None, else they are the block's. ``entries`` are in the order of the draw.
    """

    height: int
    view: int
    is_next: bool
    seed: str
    u: str  # 16 bytes in hex
    u_fraction: str  # u / 2¹²⁸ with twelve decimals
    total_lottery_weight: int
    ticket: int
    winner: Party
    entries: list[DrawEntry]
    skipped: list[SkippedTurn]
    producer: Party | None
    produced_view: int | None
    beacon_proof: str | None
    beacon: str | None


class BlockSummary(Model, frozen=True, kw_only=True):
    """``skipped``: leaders of the views below the block's, ``view`` of them; empty if this node does not keep who they
    were. ``finality_ms``: None for blocks this node did not see open.
    """

    height: int
    hash: str
    view: int
    time_ms: int
    time: str
    producer: Party
    transaction_count: int
    refused_count: int
    reading_count: int
    size_bytes: int
    skipped: list[Party]
    finality_ms: int | None


class BlockPage(Model, frozen=True, kw_only=True):
    blocks: list[BlockSummary]
    next_before: int | None


class TransactionSummary(Model, frozen=True, kw_only=True):
    """One line of a block. ``refusal`` is None if the transaction took effect."""

    index: int
    id: str
    kind: str
    sender: Party
    refusal: str | None


class Block(Model, frozen=True, kw_only=True):
    """A block with its header's fields and one line per transaction."""

    summary: BlockSummary
    chain_id: str
    parent_hash: str
    beacon_proof: str
    transactions_root: str
    receipts_root: str
    state_root: str
    parent_certificate_hash: str
    committee_hash: str
    finalized_view: int
    signers: list[Party]
    signed_weight: int
    total_weight: int
    transactions: list[TransactionSummary]


class CertificateSigner(Model, frozen=True, kw_only=True):
    index: int
    account: Party
    node_key: str
    weight: int
    signature: str


class Certificate(Model, frozen=True, kw_only=True):
    """The quorum that made a block final. ``raw`` is its canonical CBOR in hex, ``header`` the block header's."""

    height: int
    view: int
    kind: str
    block_hash: str
    signers: list[CertificateSigner]
    signed_weight: int
    total_weight: int
    quorum_weight: int
    header: str
    raw: str


class AccountEffect(Model, frozen=True, kw_only=True):
    """What a block did to an account beside what its transactions say. ``balance_uwatt``: what the account's WATT rose
    or fell by. It stands at ``index`` of the account's history in the block, behind the block's transactions.

    ``kind``: ``order_placed`` (``order`` got its number; what was not filled at once is locked for), ``order_filled``
    (``energy_wh`` traded with ``other``), ``order_released`` (what was left of it was taken out, its lock came back),
    ``period_paid`` (settlement paid the escrow out), ``bill_paid`` (to ``other``, or by it). ``transaction`` is None
    for what the block itself did: at gate closure and settlement. ``order`` is None where an auction paired members.
    """

    height: int
    index: int
    time_ms: int
    time: str
    kind: str
    transaction: str | None
    account: Party
    other: Party | None
    period: int
    side: str | None
    order: int | None
    trade: int | None
    energy_wh: int
    price_uwatt_per_kwh: int | None
    rate_uwatt_per_kwh: int | None
    balance_uwatt: int


class Transaction(Model, frozen=True, kw_only=True):
    """A transaction, decoded. ``payload`` has its kind's fields by name, keys in hex, accounts as ``Party`` objects.

    ``state``: ``pending`` (in this node's mempool) or ``final``. ``sender`` is the account that pays; ``signed_by``
    says with which key: ``account``, ``node_key`` or ``meter``. ``refusal`` is None if it took effect. ``effects`` are
    given only where one transaction is asked for.
    """

    id: str
    kind: str
    state: str
    sender: Party
    signed_by: str
    sender_key: str
    nonce: int
    fee_uwatt: int
    valid_until_height: int
    payload: dict[str, Any]
    size_bytes: int
    raw: str
    height: int | None
    index: int | None
    block_hash: str | None
    time_ms: int | None
    time: str | None
    refusal: str | None
    note: str | None
    effects: list[AccountEffect] = msgspec.field(default_factory=list)


class ContradictingStatement(Model, frozen=True, kw_only=True):
    """``kind``: proposal, notarize, nullify or finalize. ``block_hash`` is None for nullify."""

    kind: str
    block_hash: str | None
    signature: str


class Conviction(Model, frozen=True, kw_only=True):
    """One equivocation that is in a block: the report ``transaction_id`` at ``height``, and what ``account`` signed.

    ``reporter``: who reported it. ``signed_height``, ``signed_view``: of the two statements. ``burned_mvote``: the pool
    with its frozen pots; None where the receipt does not say.
    """

    height: int
    time_ms: int
    time: str
    transaction_id: str
    account: Party
    node_key: str
    reporter: Party
    signed_height: int
    signed_view: int
    first: ContradictingStatement
    second: ContradictingStatement
    burned_mvote: int | None


class EvidenceList(Model, frozen=True, kw_only=True):
    """All convictions, newest first. ``complete``: False where older ones may be pruned, or lie further back in an
    account's history than is searched.
    """

    height: int
    convictions: list[Conviction]
    complete: bool


class TransactionPage(Model, frozen=True, kw_only=True):
    """Transactions that concern an account, and what blocks did to it beside, both newest first: by height and index
    they make one list. ``next_before`` is ``height:index``, to be sent back as ``before``.
    """

    transactions: list[Transaction]
    next_before: str | None
    effects: list[AccountEffect] = msgspec.field(default_factory=list)

    @property
    def entries(self) -> list[Transaction | AccountEffect]:
        """Both in one list, newest first."""
        both: list[Transaction | AccountEffect] = [*self.transactions, *self.effects]
        return sorted(both, key=lambda one: (one.height or 0, one.index or 0), reverse=True)


class PendingPage(Model, frozen=True, kw_only=True):
    """Waiting in this node's mempool, in the order of senders and nonces; ``total`` counts what the limit
    cut off too.
    """

    transactions: list[Transaction]
    total: int


class Accepted(Model, frozen=True, kw_only=True):
    """``POST /v1/transactions``: the node has it and passes it on; final it is when a block carries it."""

    id: str
