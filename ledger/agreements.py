"""What members agree on beside the market: records of sharing pools and contracts, their keys and tables.

What is agreed counts for whole periods, from the first whose gate has not closed when it is agreed. So a record names
the period from which it counts, and the one from which it does not any more; both stand in the state until the last
period in which it counted is settled.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Final

from ledger.encoding import BasisPoints, Bytes32, Unsigned, Wire
from ledger.state import State, Table


class PoolRole(IntFlag):
    """What a member is to its pool."""

    PRODUCER = 1
    CONSUMER = 2


class Licence(IntFlag):
    """What an approver attests to a member; a template may require it of who offers."""

    COMMERCIAL_ENERGY_LICENSE = 1
    GRID_CODE_COMPLIANCE = 2


class AgreementCounter(Wire, frozen=True):
    """The one record of the next pool's and the next offer's number."""

    next_pool: Unsigned
    next_offer: Unsigned


class SharingPool(Wire, frozen=True):
    """Key: number (u64). Counts from ``from_period`` on, and not any more from ``until_period`` on, None while nobody
    ended it.
    """

    name: str
    founder: Bytes32
    from_period: Unsigned
    until_period: Unsigned | None


class PoolShare(Wire, frozen=True):
    account: Bytes32
    share_bps: BasisPoints


class PoolTerms(Wire, frozen=True):
    """Key: pool ‖ first period (u64) for which they hold, until later ones do. ``rule`` is a ``settle.PoolRule``;
    ``price`` in uwatt per kWh; ``shares`` of members, who need not have joined, sum to at most 10,000.
    """

    rule: Unsigned
    price: Unsigned
    shares: tuple[PoolShare, ...]


class PoolMembership(Wire, frozen=True):
    """Key: account ‖ first period (u64). The member takes part while the pool's price is between ``lowest`` and
    ``highest``, uwatt per kWh. ``roles`` are those of ``PoolRole``.
    """

    pool: Unsigned
    roles: Unsigned
    lowest: Unsigned
    highest: Unsigned
    until_period: Unsigned | None


class ContractOffer(Wire, frozen=True):
    """Key: number (u64). Energy up to ``limit_wh`` a period in ``from_period`` … ``end_period`` − 1, as agreed;
    ``until_period`` is less than ``end_period`` where it was ended early. ``stake_ugrid`` belongs to the seller.
    """

    seller: Bytes32
    template: Unsigned
    limit_wh: Unsigned
    from_period: Unsigned
    end_period: Unsigned
    until_period: Unsigned
    stake_ugrid: Unsigned


class PreferredPrice(Wire, frozen=True):
    account: Bytes32
    price_uwatt_per_kwh: Unsigned


class OfferPrices(Wire, frozen=True):
    """Key: offer ‖ first period (u64) for which they hold, until later ones do. ``price`` is for all who have no
    ``preferred`` one, None if nobody else gets any. Uwatt per kWh, times the template's time of use.
    """

    price: Unsigned | None
    preferred: tuple[PreferredPrice, ...]


class ContractSubscription(Wire, frozen=True):
    """Key: offer ‖ buyer ‖ first period (u64). At most ``limit_wh`` a period, until ``until_period``.

    ``agreed_price`` is the price it was subscribed at; ``collateral_uwatt`` belongs to the buyer.
    """

    limit_wh: Unsigned
    agreed_price: Unsigned
    until_period: Unsigned
    collateral_uwatt: Unsigned


class ContractParty(Wire, frozen=True):
    """Key: account ‖ offer (u64). Whose contracts are which: an index, kept as long as the offer."""

    is_seller: bool


class ContractDelivery(Wire, frozen=True):
    """Key: first period of the template's grouping (u64) ‖ offer ‖ buyer. What was delivered, and what is owed for it:
    an account of lines that stand on the bill.
    """

    energy_wh: Unsigned
    amount_uwatt: Unsigned
    fee_uwatt: Unsigned


class Attestation(Wire, frozen=True):
    """Key: account. The member's ``Licence``s."""

    licences: Unsigned


AGREEMENT_COUNTER: Final = Table(0x60, AgreementCounter)
SHARING_POOLS: Final = Table(0x61, SharingPool)
POOL_TERMS: Final = Table(0x62, PoolTerms)
POOL_MEMBERSHIPS: Final = Table(0x63, PoolMembership)
CONTRACT_OFFERS: Final = Table(0x64, ContractOffer)
OFFER_PRICES: Final = Table(0x65, OfferPrices)
CONTRACT_SUBSCRIPTIONS: Final = Table(0x66, ContractSubscription)
CONTRACT_PARTIES: Final = Table(0x67, ContractParty)
CONTRACT_DELIVERIES: Final = Table(0x68, ContractDelivery)
ATTESTATIONS: Final = Table(0x69, Attestation)

FIRST_NUMBER: Final = 1


def next_numbers(state: State) -> AgreementCounter:
    """Of the next pool and the next offer."""
    return AGREEMENT_COUNTER.get(state) or AgreementCounter(next_pool=FIRST_NUMBER, next_offer=FIRST_NUMBER)


def counts_in(period: int, from_period: int, until_period: int | None) -> bool:
    """Whether what holds from one period on, and not any more from the other on, holds in ``period``."""
    return from_period <= period and (until_period is None or period < until_period)


def last_eight(key: bytes) -> int:
    """The number or period with which a key ends."""
    return int.from_bytes(key[-8:], "big")
