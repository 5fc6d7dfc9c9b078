"""The sums that must hold: Σ WATT = minted − burned, Σ GRID = supply, Σ VOTE = minted − burned, to the last unit.

1. Every record that holds tokens is named in ``_holdings``, and nowhere else.
2. ``check_block`` looks at what one block wrote: what all records gained equals what the supply gained, and the shares
   of each candidate gained what its backers' did. With a base that holds the sums, they hold again.
3. ``check_all`` sums the whole state, and checks that its indexes agree.
4. A broken sum is a defect of the program: ``BrokenInvariant``, and the node stops.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from ledger.agreements import (
    CONTRACT_OFFERS,
    CONTRACT_PARTIES,
    CONTRACT_SUBSCRIPTIONS,
    ContractOffer,
    ContractSubscription,
    last_eight,
)
from ledger.balances import get_supply
from ledger.block import BrokenInvariant
from ledger.encoding import MAX_INTEGER, Wire
from ledger.market.matching import Side
from ledger.market.open_orders import order_of_key
from ledger.pools import frozen_mvote, worth_mvote
from ledger.records import (
    ACCOUNTS,
    CANDIDATES,
    GRID_RESERVE,
    MARKET_PERIODS,
    MEMBERS,
    METERS,
    NAMES,
    NODE_KEYS,
    ORDERS,
    OWN_ORDERS,
    POSITIONS,
    STAKES,
    SUPPLY,
    Account,
    Candidate,
    CandidateStatus,
    GridReserve,
    MarketPeriod,
    OpenOrder,
    Position,
    Stake,
    Supply,
)
from ledger.state import State, StateReader

Amounts = tuple[int, int, int]
Change = tuple[bytes, Wire | None, Wire | None]
_NOTHING: Amounts = (0, 0, 0)
_HOLDERS = frozenset((Account, Candidate, GridReserve, OpenOrder, MarketPeriod, ContractOffer, ContractSubscription))
_NAMES = ("WATT (uwatt)", "GRID (ugrid)", "VOTE (mvote)")


def check_block(state: State) -> None:
    """Errors: BrokenInvariant, naming the token or candidate and the figures."""
    _check(state.written(), "this block")


def check_all(reader: StateReader) -> None:
    """Sums and indexes of a whole committed state. Errors: BrokenInvariant."""
    state = State(reader)
    tables = (
        *(ACCOUNTS, CANDIDATES, STAKES, GRID_RESERVE, SUPPLY, ORDERS, MARKET_PERIODS),
        *(CONTRACT_OFFERS, CONTRACT_SUBSCRIPTIONS),
    )
    _check(((table.key(key), None, record) for table in tables for key, record in table.scan(state)), "the state")
    _check_indexes(state)
    _check_orders(state)
    _check_contracts(state)


def _check(changes: Iterable[Change], where: str) -> None:
    held = [0, 0, 0]
    issued = [0, 0, 0]
    shares: dict[bytes, int] = defaultdict(int)  # candidate → what it counts less what its backers hold
    for key, before, now in changes:
        if before == now:
            continue
        kind = type(before if now is None else now)
        if kind in _HOLDERS:
            for token, (gained, lost) in enumerate(zip(_holdings(now), _holdings(before), strict=True)):
                held[token] += gained - lost
        elif kind is Supply:
            for token, (gained, lost) in enumerate(zip(_issued(now), _issued(before), strict=True)):
                issued[token] += gained - lost
        if kind is Candidate:
            shares[key[1:33]] += _shares(now) - _shares(before)
        elif kind is Stake:
            shares[key[1:33]] -= _shares(now) - _shares(before)
        _check_record(key, now)
    for token, name in enumerate(_NAMES):
        if held[token] != issued[token]:
            raise BrokenInvariant(f"{where}: records gained {held[token]} of {name}, the supply {issued[token]}")
    for candidate, difference in shares.items():
        if difference:
            raise BrokenInvariant(f"{where}: candidate {candidate.hex()} counts {difference} shares nobody holds")


def _holdings(record: Wire | None) -> Amounts:
    """What a record holds of each token."""
    if isinstance(record, Account):
        return record.watt_uwatt, record.grid_ugrid, record.votes_mvote
    if isinstance(record, Candidate):
        return 0, 0, record.pool_mvote + frozen_mvote(record)
    if isinstance(record, GridReserve):
        return 0, record.ugrid, 0
    if isinstance(record, OpenOrder):
        return record.locked_uwatt, 0, 0
    if isinstance(record, MarketPeriod):
        return record.escrow_uwatt, 0, 0
    if isinstance(record, ContractOffer):
        return 0, record.stake_ugrid, 0
    if isinstance(record, ContractSubscription):
        return record.collateral_uwatt, 0, 0
    return _NOTHING


def _issued(record: Wire | None) -> Amounts:
    """What a supply record says there is of each token."""
    if not isinstance(record, Supply):
        return _NOTHING
    return (
        record.watt_minted_uwatt - record.watt_burned_uwatt,
        record.grid_ugrid,
        record.votes_minted_mvote - record.votes_burned_mvote,
    )


def _shares(record: Wire | None) -> int:
    return record.shares if isinstance(record, Candidate | Stake) else 0


def _check_record(key: bytes, record: Wire | None) -> None:
    """Errors: BrokenInvariant where a record cannot be right by itself."""
    if isinstance(
        record,
        Account | Supply | GridReserve | Stake | OpenOrder | MarketPeriod | ContractOffer | ContractSubscription,
    ):
        for name in record.__struct_fields__:
            amount = getattr(record, name)
            if isinstance(amount, int) and not 0 <= amount <= MAX_INTEGER:
                raise BrokenInvariant(f"record {key.hex()}: {name} = {amount}")
    elif isinstance(record, Candidate):
        if record.pool_mvote < 0 or not 0 <= record.shares <= MAX_INTEGER:
            raise BrokenInvariant(f"candidate {key.hex()}: pool {record.pool_mvote}, shares {record.shares}")
        if record.shares == 0 and worth_mvote(record):
            raise BrokenInvariant(f"candidate {key.hex()}: {worth_mvote(record)} mvote belong to nobody")
        if record.status == CandidateStatus.EXPELLED and record.shares:
            raise BrokenInvariant(f"candidate {key.hex()} is expelled and has shares")


def _check_indexes(state: State) -> None:
    """Errors: BrokenInvariant where names, node keys, meters and candidates do not point at each other."""
    members = dict(MEMBERS.scan(state))
    names = {key.decode(): record.account for key, record in NAMES.scan(state)}
    if names != {member.name: account for account, member in members.items()}:
        raise BrokenInvariant("the index of names does not match the members")
    node_keys = {key: record.account for key, record in NODE_KEYS.scan(state)}
    if node_keys != {member.node_key: account for account, member in members.items() if member.node_key is not None}:
        raise BrokenInvariant("the index of node keys does not match the members")
    owners = {key: meter.owner for key, meter in METERS.scan(state)}
    if owners != {meter: account for account, member in members.items() for meter in member.meters}:
        raise BrokenInvariant("the meters do not match their owners")
    candidates = {account for account, _ in CANDIDATES.scan(state)}
    if candidates != {account for account, member in members.items() if member.node_key is not None}:
        raise BrokenInvariant("the candidates are not the members with a node key")
    if get_supply(state) == Supply():
        raise BrokenInvariant("there is no supply")


def _check_orders(state: State) -> None:
    """Errors: BrokenInvariant where the index of own orders or the positions do not match the books."""
    named = {}
    opened: dict[bytes, list[int]] = defaultdict(lambda: [0, 0])  # period ‖ account → open orders, Wh offered
    for key, order in ORDERS.scan(state):
        period, side, number = order_of_key(key)
        named[order.account + key[:8] + key[-8:]] = (side, order.limit)
        position = opened[key[:8] + order.account]
        position[0] += 1
        position[1] += order.left_wh if side is Side.SELL else 0
        if not 0 < order.left_wh <= order.energy_wh:
            raise BrokenInvariant(f"order {number} of period {period}: {order.left_wh} of {order.energy_wh} Wh left")
    if named != {key: (own.side, own.limit) for key, own in OWN_ORDERS.scan(state)}:
        raise BrokenInvariant("the index of own orders does not match the books")
    positions: dict[bytes, Position] = dict(POSITIONS.scan(state))
    for key in opened.keys() | positions.keys():
        held = positions.get(key, Position())
        if [held.open_orders, held.open_sell_wh] != opened[key]:
            raise BrokenInvariant(f"position {key.hex()}: {held} does not match the books, {opened[key]}")


def _check_contracts(state: State) -> None:
    """Errors: BrokenInvariant where the index of parties does not match offers and subscriptions."""
    parties = {offer.seller + key: True for key, offer in CONTRACT_OFFERS.scan(state)}
    for key, _ in CONTRACT_SUBSCRIPTIONS.scan(state):
        parties[key[8:40] + key[:8]] = False
        if CONTRACT_OFFERS.get(state, key[:8]) is None:
            raise BrokenInvariant(f"a subscription of offer {last_eight(key[:8])}, which does not exist")
    if parties != {key: party.is_seller for key, party in CONTRACT_PARTIES.scan(state)}:
        raise BrokenInvariant("the index of parties does not match offers and subscriptions")
