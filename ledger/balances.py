"""What accounts hold: the only places where tokens are given to an account or taken from one, minted or burned.

1. An account that was never credited does not exist and holds nothing; the first credit makes it.
2. Whoever gives has taken or minted as much, and whoever takes gives or burns it, inside the same transaction. No
   amount can leave 64 bits, since no account holds more than the supply: ``conservation`` checks both after every
   block.
"""

from __future__ import annotations

from msgspec.structs import replace

from ledger.records import ACCOUNTS, SUPPLY, Account, Supply
from ledger.refusal import Refusal, TransactionRefused
from ledger.state import State
from ledger.units import grid_text, vote_text, watt_text

_EMPTY = Account()


def get_account(state: State, account: bytes) -> Account:
    """The account's record; an empty one if it does not exist."""
    return ACCOUNTS.get(state, account) or _EMPTY


def get_supply(state: State) -> Supply:
    return SUPPLY.get(state) or Supply()


def give_watt(state: State, account: bytes, amount_uwatt: int) -> None:
    """Adds to what an account holds. The caller has taken it from somebody."""
    assert amount_uwatt >= 0
    found = get_account(state, account)
    ACCOUNTS.put(state, replace(found, watt_uwatt=found.watt_uwatt + amount_uwatt), account)


def take_watt(state: State, account: bytes, amount_uwatt: int) -> None:
    """Errors: TransactionRefused INSUFFICIENT_WATT."""
    assert amount_uwatt >= 0
    found = get_account(state, account)
    if found.watt_uwatt < amount_uwatt:
        raise TransactionRefused(
            Refusal.INSUFFICIENT_WATT,
            f"{watt_text(amount_uwatt)} wanted, the account has {watt_text(found.watt_uwatt)}",
        )
    ACCOUNTS.put(state, replace(found, watt_uwatt=found.watt_uwatt - amount_uwatt), account)


def give_grid(state: State, account: bytes, amount_ugrid: int) -> None:
    """Adds to what an account holds. The caller has taken it from somebody."""
    assert amount_ugrid >= 0
    found = get_account(state, account)
    ACCOUNTS.put(state, replace(found, grid_ugrid=found.grid_ugrid + amount_ugrid), account)


def take_grid(state: State, account: bytes, amount_ugrid: int) -> None:
    """Errors: TransactionRefused INSUFFICIENT_GRID."""
    assert amount_ugrid >= 0
    found = get_account(state, account)
    if found.grid_ugrid < amount_ugrid:
        raise TransactionRefused(
            Refusal.INSUFFICIENT_GRID,
            f"{grid_text(amount_ugrid)} wanted, the account has {grid_text(found.grid_ugrid)}",
        )
    ACCOUNTS.put(state, replace(found, grid_ugrid=found.grid_ugrid - amount_ugrid), account)


def give_votes(state: State, account: bytes, amount_mvote: int) -> None:
    """Adds to the votes an account keeps. The caller has minted them or taken them elsewhere."""
    assert amount_mvote >= 0
    found = get_account(state, account)
    ACCOUNTS.put(state, replace(found, votes_mvote=found.votes_mvote + amount_mvote), account)


def take_votes(state: State, account: bytes, amount_mvote: int) -> None:
    """Errors: TransactionRefused INSUFFICIENT_VOTES."""
    assert amount_mvote >= 0
    found = get_account(state, account)
    if found.votes_mvote < amount_mvote:
        raise TransactionRefused(
            Refusal.INSUFFICIENT_VOTES, f"{vote_text(amount_mvote)} wanted, {vote_text(found.votes_mvote)} are kept"
        )
    ACCOUNTS.put(state, replace(found, votes_mvote=found.votes_mvote - amount_mvote), account)


def mint_votes(state: State, amount_mvote: int) -> None:
    """Records that voting tokens were made; the caller gives them to somebody."""
    assert amount_mvote >= 0
    supply = get_supply(state)
    SUPPLY.put(state, replace(supply, votes_minted_mvote=supply.votes_minted_mvote + amount_mvote))


def burn_votes(state: State, amount_mvote: int) -> None:
    """Records that voting tokens were destroyed; the caller has taken them from somebody."""
    assert amount_mvote >= 0
    supply = get_supply(state)
    SUPPLY.put(state, replace(supply, votes_burned_mvote=supply.votes_burned_mvote + amount_mvote))
