"""What happens, as it happens: the items of ``GET /v1/events`` and of ``NodeClient.events()``.

1. The stream is server-sent events: ``event:`` is the type's tag, ``data:`` the struct as JSON with the same tag in
   ``type``.
2. Only ``block_final`` carries an ``id:``, its height. A client that comes back with ``Last-Event-ID`` first gets the
   blocks it missed (at most ``MAX_REPLAYED_BLOCKS``, else ``missed`` says from which height on it must read itself),
   then what happens from then on. Between blocks nothing else is replayed.
3. A subscriber that does not keep up is told ``dropped`` and its stream ends; it may come back.
4. ``Away`` and ``Back`` are made by the client and never travel.
"""

from __future__ import annotations

from typing import Final

import msgspec

from node.client.models import Model, Party, SettledPeriod, SkippedTurn, Trade

MAX_REPLAYED_BLOCKS: Final = 500


class BlockFinal(Model, frozen=True, kw_only=True, tag="block_final"):
    """``finality_ms``: from the block's time to its commit here; None for a block that was fetched, not seen open."""

    height: int
    hash: str
    producer: Party
    view: int
    time_ms: int
    time: str
    finality_ms: int | None
    transaction_count: int
    reading_count: int
    skipped: list[SkippedTurn]


class TransactionFinal(Model, frozen=True, kw_only=True, tag="transaction_final"):
    """One transaction of a final block, readings excepted; ``accounts`` are addresses of all it concerns."""

    id: str
    kind: str
    height: int
    refusal: str | None
    note: str
    accounts: list[str]


class TransactionPending(Model, frozen=True, kw_only=True, tag="transaction_pending"):
    """Accepted into this node's mempool, from a wallet or a peer."""

    id: str
    kind: str
    sender: Party


class ReadingAccepted(Model, frozen=True, kw_only=True, tag="reading_accepted"):
    """A reading in a final block: what passed since the meter's reading before."""

    transaction_id: str
    meter: str
    owner: Party
    period: int
    imported_wh: int | None
    exported_wh: int | None
    height: int


class PeerConnected(Model, frozen=True, kw_only=True, tag="peer_connected"):
    peer: str
    address: str


class PeerDisconnected(Model, frozen=True, kw_only=True, tag="peer_disconnected"):
    peer: str


class PeerBanned(Model, frozen=True, kw_only=True, tag="peer_banned"):
    peer: str
    reason: str
    until_ms: int


class JoinRequested(Model, frozen=True, kw_only=True, tag="join_requested"):
    """A newcomer asks to become a member; ``id`` is its request's in ``GET /v1/join-requests``."""

    id: str
    name: str
    address: str


class JoinEnded(Model, frozen=True, kw_only=True, tag="join_ended"):
    """``outcome``: ``granted`` in a final block, ``denied`` by an approver for ``reason``, or ``expired``."""

    id: str
    name: str
    address: str
    outcome: str
    reason: str


class Equivocation(Model, frozen=True, kw_only=True, tag="equivocation"):
    """``convicted``: the report is in a final block and the pool burned; else it was seen and is being reported."""

    account: Party
    height: int
    convicted: bool


class CandidateSuspended(Model, frozen=True, kw_only=True, tag="candidate_suspended"):
    account: Party
    height: int


class CandidateRejoined(Model, frozen=True, kw_only=True, tag="candidate_rejoined"):
    account: Party
    height: int


class LowParticipation(Model, frozen=True, kw_only=True, tag="low_participation"):
    """At an epoch's end: of ``counted`` blocks it could have signed, it signed ``signed``, fewer than half.

    ``leaves``: from ``weights_height`` on it has no vote; else it keeps it, for too much weight would leave at once.
    """

    account: Party
    height: int
    signed: int
    counted: int
    leaves: bool
    weights_height: int


class ViewChanged(Model, frozen=True, kw_only=True, tag="view_changed"):
    """A turn of the open height passed without a block."""

    height: int
    view: int
    leader: Party | None


class SyncProgress(Model, frozen=True, kw_only=True, tag="sync_progress"):
    """``done``: caught up; the node agrees on new blocks again."""

    height: int
    target_height: int
    blocks_per_second: int
    done: bool


class Warned(Model, frozen=True, kw_only=True, tag="warning"):
    """A sentence of ``Status.warnings`` that is new; ``cleared`` when it no longer holds."""

    text: str
    cleared: bool


class TradeMade(Model, frozen=True, kw_only=True, tag="trade_made"):
    """Energy changed hands in a final block: the tape of all trades, and the fills of one's own orders."""

    trade: Trade


class BookTop(Model, frozen=True, kw_only=True):
    """A book's best prices after a block, None where nobody bids or asks, and its trades so far."""

    period: int
    best_bid_uwatt_per_kwh: int | None
    best_ask_uwatt_per_kwh: int | None
    last_price_uwatt_per_kwh: int | None
    trades: int
    energy_wh: int


class BooksChanged(Model, frozen=True, kw_only=True, tag="books_changed"):
    """Orders of these periods were placed, filled or taken out by a block. Once a block, ascending."""

    height: int
    books: list[BookTop]


class BookClosed(Model, frozen=True, kw_only=True, tag="book_closed"):
    """Gate closure: from this block on the period takes no orders."""

    height: int
    book: BookTop


class AuctionCleared(Model, frozen=True, kw_only=True, tag="auction_cleared"):
    """The period's auction was held, and energy was traded at one price."""

    height: int
    period: int
    price_uwatt_per_kwh: int
    trades: int
    energy_wh: int


class PeriodSettled(Model, frozen=True, kw_only=True, tag="period_settled"):
    settled: SettledPeriod


class PoolChanged(Model, frozen=True, kw_only=True, tag="pool_changed"):
    """``change``: ``opened``, ``joined``, ``left``, ``rule_set``, or ``ended`` for all, by ``member``. It counts from
    ``from_period`` on.
    """

    pool: int
    name: str
    change: str
    member: Party
    from_period: int
    height: int


class ContractChanged(Model, frozen=True, kw_only=True, tag="contract_changed"):
    """``change``: ``offered``, ``subscribed``, ``price_changed`` or ``ended`` early, by ``member``, from
    ``from_period`` on; ``over`` when the last period in which the offer could count is settled: stake and collaterals
    are given back.
    """

    offer: int
    change: str
    seller: Party
    member: Party
    from_period: int
    height: int


class CycleClosed(Model, frozen=True, kw_only=True, tag="cycle_closed"):
    """The cycle's last period was settled: its bills can be recorded."""

    height: int
    cycle: int


class BillRecorded(Model, frozen=True, kw_only=True, tag="bill_recorded"):
    """``to_pay_uwatt`` and ``to_receive_uwatt``: what is left after setting off. Paid already if nothing is to pay."""

    height: int
    member: Party
    cycle: int
    to_pay_uwatt: int
    to_receive_uwatt: int
    due_ms: int


class BillPaid(Model, frozen=True, kw_only=True, tag="bill_paid"):
    height: int
    member: Party
    cycle: int
    amount_uwatt: int


class BillInArrears(Model, frozen=True, kw_only=True, tag="bill_in_arrears"):
    """The bill is past its due time and not paid."""

    height: int
    member: Party
    cycle: int
    amount_uwatt: int


class Missed(Model, frozen=True, kw_only=True, tag="missed"):
    """More blocks passed than are replayed: read ``GET /v1/blocks`` for those up to ``up_to_height``."""

    from_height: int
    up_to_height: int


class Dropped(Model, frozen=True, kw_only=True, tag="dropped"):
    """The last word to a subscriber that did not keep up."""

    detail: str


NodeEvent = (
    BlockFinal
    | TransactionFinal
    | TransactionPending
    | ReadingAccepted
    | PeerConnected
    | PeerDisconnected
    | PeerBanned
    | JoinRequested
    | JoinEnded
    | Equivocation
    | CandidateSuspended
    | CandidateRejoined
    | LowParticipation
    | ViewChanged
    | SyncProgress
    | Warned
    | TradeMade
    | BooksChanged
    | BookClosed
    | AuctionCleared
    | PeriodSettled
    | PoolChanged
    | ContractChanged
    | CycleClosed
    | BillRecorded
    | BillPaid
    | BillInArrears
    | Missed
    | Dropped
)


class Away(Model, frozen=True, kw_only=True):
    """The node does not answer; the client keeps trying. ``detail`` is a sentence for the screen."""

    detail: str
    retry_in_ms: int


class Back(Model, frozen=True, kw_only=True):
    """The stream is open: at the start, and each time after ``Away``."""

    height: int


ClientEvent = NodeEvent | Away | Back

_DECODER: Final = msgspec.json.Decoder(NodeEvent)


def event_tag(event: NodeEvent) -> str:
    """The word in ``event:`` and ``type``."""
    tag = event.__struct_config__.tag
    assert isinstance(tag, str)
    return tag


def encode_event(event: NodeEvent) -> bytes:
    """One line of JSON."""
    return msgspec.json.encode(event)


def decode_event(data: str | bytes) -> NodeEvent | None:
    """None for a type this client does not know. Errors: msgspec.DecodeError for what is no event at all."""
    try:
        event: NodeEvent = _DECODER.decode(data)
    except msgspec.ValidationError:
        tag = msgspec.json.decode(data, type=dict).get("type")
        if isinstance(tag, str) and tag not in KNOWN_TAGS:
            return None
        raise
    return event


KNOWN_TAGS: Final = frozenset(str(type_.__struct_config__.tag) for type_ in NodeEvent.__args__)
