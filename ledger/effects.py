"""What blocks do to accounts beside what the transactions' receipts say: which numbers orders got, what was filled at
which price, which locks came back, what settlement paid.

1. An effect belongs to one account. A fill has two: the buyer's and the seller's.
2. ``balance_uwatt`` is what the account's WATT rose or fell by. The market and settlement move an account's WATT only
   with an effect: with the transfers and fees of its transactions they add up to its balance.
3. Effects are part of no hash. Every node finds the same by executing the block, and keeps them beside it.
4. Nothing is left of a transaction that was refused.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from ledger.encoding import Bytes32, Integer, Unsigned, Wire

HISTORY_KIND: Final = 1_024
"""In an account's history effects have the kinds from here on; those below are transactions'."""


class EffectKind(IntEnum):
    """Numbers are never reused."""

    ORDER_PLACED = 1
    ORDER_FILLED = 2
    ORDER_RELEASED = 3
    PERIOD_PAID = 4
    CONTRACT_SECURED = 5
    CONTRACT_RELEASED = 6
    CONTRACT_PENALTY = 7
    BILL_PAID = 8


class Effect(Wire, frozen=True):
    """``transaction``: its index in the block, None for what the block itself did. ``price`` and ``rate`` (the grid
    fee's) in uwatt per kWh.

    * ``ORDER_PLACED``: ``order`` of ``energy_wh`` at the limit ``price``; the balance falls by what the rest that was
      not filled at once is locked for.
    * ``ORDER_FILLED``: ``energy_wh`` with ``other``, by ``trade`` of the period; ``order`` is 0 in an auction, which
      pairs members.
    * ``ORDER_RELEASED``: what was left of ``order`` was taken out, and its lock came back.
    * ``PERIOD_PAID``: out of escrow when the period was settled, with ``energy_wh`` the net sale, or nothing.
    * ``CONTRACT_SECURED``: the collateral of a subscription of offer ``order`` was locked.
    * ``CONTRACT_RELEASED``: the contract is over; the collateral came back, or to the seller its stake in GRID.
    * ``CONTRACT_PENALTY``: for ending early or paying late, paid or got. A buyer pays it out of its collateral, not its
      balance, as far as that reaches.
    * ``BILL_PAID``: what a bill left between two, paid or got; ``period`` is the last of its cycle.
    """

    kind: Unsigned
    transaction: Unsigned | None
    account: Bytes32
    other: Bytes32 | None
    period: Unsigned
    side: Unsigned
    order: Unsigned
    trade: Unsigned
    energy_wh: Unsigned
    price: Unsigned
    rate: Unsigned
    balance_uwatt: Integer


class SettledLine(Wire, frozen=True):
    """What a block settled or corrected for ``period``, one line of a bill's sum in ``cycle``: by it bills are
    explained. Lines of trades are left out: the trades themselves are kept. ``title`` and ``kind`` as in a bill line's
    key, ``price`` in uwatt per kWh.
    """

    cycle: Unsigned
    period: Unsigned
    title: Unsigned
    kind: Unsigned
    debtor: Bytes32
    creditor: Bytes32
    energy_wh: Unsigned
    price: Unsigned
    amount_uwatt: Unsigned
    fee_uwatt: Unsigned
