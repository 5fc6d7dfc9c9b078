"""The checks find what they are there to find: each sum and index broken once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from ledger.agreements import (
    CONTRACT_OFFERS,
    CONTRACT_PARTIES,
    CONTRACT_SUBSCRIPTIONS,
    ContractOffer,
    ContractParty,
    ContractSubscription,
)
from ledger.block import BrokenInvariant
from ledger.conservation import check_all, check_block
from ledger.records import (
    ACCOUNTS,
    CANDIDATES,
    GRID_RESERVE,
    MEMBERS,
    METERS,
    NAMES,
    NODE_KEYS,
    STAKES,
    SUPPLY,
    CandidateStatus,
    FrozenPot,
    GridReserve,
    Name,
    NodeKey,
    Stake,
)
from ledger.state import State
from tests.ledger.neighbourhood import Neighbourhood, account_key, meter_key, node_key, seeded_key

ANNE, BOB = account_key("anne").public_key, account_key("bob").public_key
NUMBER = (1).to_bytes(8, "big")
OFFER = ContractOffer(
    seller=ANNE, template=1, limit_wh=500, from_period=1, end_period=9, until_period=9, stake_ugrid=10_000_000
)
SUBSCRIPTION = ContractSubscription(limit_wh=500, agreed_price=150_000, until_period=9, collateral_uwatt=1)


def change_account(state: State, **fields: int) -> None:
    account = ACCOUNTS.get(state, BOB)
    assert account is not None
    ACCOUNTS.put(state, replace(account, **fields), BOB)


def change_candidate(state: State, **fields: object) -> None:
    candidate = CANDIDATES.get(state, BOB)
    assert candidate is not None
    CANDIDATES.put(state, replace(candidate, **fields), BOB)


def change_supply(state: State, **fields: int) -> None:
    supply = SUPPLY.get(state)
    assert supply is not None
    SUPPLY.put(state, replace(supply, **fields))


SUMS: dict[str, Callable[[State], None]] = {
    "an account's WATT": lambda state: change_account(state, watt_uwatt=1),
    "an account's GRID": lambda state: change_account(state, grid_ugrid=1),
    "an account's votes": lambda state: change_account(state, votes_mvote=1),
    "an account gone": lambda state: ACCOUNTS.delete(state, BOB),
    "a negative balance": lambda state: change_account(state, watt_uwatt=-1),
    "the reserve": lambda state: GRID_RESERVE.put(state, GridReserve(ugrid=1)),
    "the GRID supply": lambda state: change_supply(state, grid_ugrid=1),
    "WATT burned": lambda state: change_supply(state, watt_burned_uwatt=1),
    "votes minted": lambda state: change_supply(state, votes_minted_mvote=1),
    "votes burned": lambda state: change_supply(state, votes_burned_mvote=1),
    "a pool": lambda state: change_candidate(state, pool_mvote=1),
    "a frozen pot": lambda state: change_candidate(state, frozen=(FrozenPot(release_height=1, amount_mvote=1),)),
    "shares counted": lambda state: change_candidate(state, shares=1),
    "shares held": lambda state: STAKES.put(state, Stake(shares=1), BOB, ANNE),
    "a stake gone": lambda state: STAKES.delete(state, BOB, BOB),
    "a candidate gone": lambda state: CANDIDATES.delete(state, BOB),
    "a stake of an offer": lambda state: CONTRACT_OFFERS.put(state, OFFER, NUMBER),
    "a collateral": lambda state: CONTRACT_SUBSCRIPTIONS.put(state, SUBSCRIPTION, NUMBER, BOB, NUMBER),
    "an expelled candidate with shares": lambda state: change_candidate(state, status=int(CandidateStatus.EXPELLED)),
}


@pytest.mark.parametrize("change", SUMS.values(), ids=SUMS.keys())
def test_a_broken_sum_is_found_in_the_block_that_breaks_it_and_in_the_whole_state(
    change: Callable[[State], None],
) -> None:
    street = Neighbourhood()
    state = street.state
    change(state)
    with pytest.raises(BrokenInvariant):
        check_block(state)

    street.reader.apply(state.changes())
    with pytest.raises((BrokenInvariant, ValueError)):  # a negative amount cannot even be read back
        check_all(street.reader)


def test_worth_that_belongs_to_nobody_is_found() -> None:
    street = Neighbourhood()
    state = street.state
    change_candidate(state, shares=0)
    STAKES.delete(state, BOB, BOB)
    with pytest.raises(BrokenInvariant, match="belong to nobody"):
        check_block(state)


INDEXES: dict[str, Callable[[State], None]] = {
    "a name gone": lambda state: NAMES.delete(state, b"bob"),
    "a name of another": lambda state: NAMES.put(state, Name(account=ANNE), b"bob"),
    "a name too many": lambda state: NAMES.put(state, Name(account=BOB), b"robert"),
    "a node key gone": lambda state: NODE_KEYS.delete(state, node_key("bob").public_key),
    "a node key too many": lambda state: NODE_KEYS.put(state, NodeKey(account=BOB), seeded_key("x").public_key),
    "a member gone": lambda state: MEMBERS.delete(state, BOB),
    "a meter gone": lambda state: METERS.delete(state, meter_key("bob").public_key),
    "a party without a contract": lambda state: CONTRACT_PARTIES.put(
        state, ContractParty(is_seller=True), ANNE, NUMBER
    ),
    "an offer without its party": lambda state: CONTRACT_OFFERS.put(state, replace(OFFER, stake_ugrid=0), NUMBER),
    "a subscription without its offer": lambda state: CONTRACT_SUBSCRIPTIONS.put(
        state, replace(SUBSCRIPTION, collateral_uwatt=0), NUMBER, BOB, NUMBER
    ),
}


@pytest.mark.parametrize("change", INDEXES.values(), ids=INDEXES.keys())
def test_indexes_that_do_not_agree_are_found_in_the_whole_state(change: Callable[[State], None]) -> None:
    street = Neighbourhood()
    state = street.state
    change(state)
    street.reader.apply(state.changes())
    with pytest.raises(BrokenInvariant):
        check_all(street.reader)


def test_moving_tokens_breaks_nothing() -> None:
    street = Neighbourhood()
    state = street.state
    account = ACCOUNTS.get(state, ANNE)
    assert account is not None
    change_account(state, watt_uwatt=street.account("bob").watt_uwatt - 70)
    ACCOUNTS.put(state, replace(account, watt_uwatt=account.watt_uwatt + 70), ANNE)
    check_block(state)
