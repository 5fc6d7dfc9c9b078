"""Sharing pools and contracts.

What members agree on counts for whole periods, from ``from_period`` to before ``until_period``; None: nobody has ended
it. Prices are uwatt per kWh.
"""

from __future__ import annotations

from node.client.models.base import Model, Party


class PoolShareInfo(Model, frozen=True, kw_only=True):
    member: Party
    share_bps: int


class PoolMember(Model, frozen=True, kw_only=True):
    """``roles``: producer, consumer. ``willing``: the pool's price is between the two that the member agreed to; in a
    period in which it is not the member takes no part.
    """

    member: Party
    roles: list[str]
    share_bps: int
    lowest_uwatt_per_kwh: int
    highest_uwatt_per_kwh: int
    willing: bool
    from_period: int
    until_period: int | None


class PoolInfo(Model, frozen=True, kw_only=True):
    """A pool as it will stand in the next open period. ``rule``: fixed, proportional, both. ``members`` are by name;
    ``shares`` may name some who have not joined.
    """

    pool: int
    name: str
    founder: Party
    rule: str
    price_uwatt_per_kwh: int
    shares: list[PoolShareInfo]
    members: list[PoolMember]
    from_period: int
    until_period: int | None


class PoolList(Model, frozen=True, kw_only=True):
    """By number. What is agreed now counts from ``next_open_period`` on."""

    height: int
    next_open_period: int
    pools: list[PoolInfo]


class TimeOfUse(Model, frozen=True, kw_only=True):
    """From this local hour on the price is multiplied by ``price_bps``."""

    from_hour: int
    price_bps: int


class ContractTemplate(Model, frozen=True, kw_only=True):
    """What a contract of this kind may be, and is held to. Hours are local, both included; weekday 0 is Monday.

    ``late_bps``, ``early_bps`` and ``collateral_bps`` are parts of limit · price · deliveries in a billing cycle.
    """

    template: str
    number: int
    smallest_wh: int
    largest_wh: int
    lowest_uwatt_per_kwh: int
    highest_uwatt_per_kwh: int
    price_change_bps: int
    first_hour: int
    last_hour: int
    weekdays: list[int]
    max_participants: int
    stake_ugrid: int
    licences: list[str]
    deliveries_by: str
    late_bps: int
    early_bps: int
    collateral_bps: int
    arbitration: str
    escalation_hours: int
    fee_base_uwatt_per_kwh: int
    fee_distance_uwatt_per_kwh: int
    fee_congestion_bps: int
    congestion_threshold_bps: int
    time_of_use: list[TimeOfUse]
    shedding: list[str]


class TemplateList(Model, frozen=True, kw_only=True):
    templates: list[ContractTemplate]


class PreferredPriceInfo(Model, frozen=True, kw_only=True):
    member: Party
    price_uwatt_per_kwh: int


class SubscriptionInfo(Model, frozen=True, kw_only=True):
    """``price_uwatt_per_kwh`` is the one of the next open period, None if it has ended by then;
    ``agreed_uwatt_per_kwh`` the one it was subscribed at. Both times the time of use. ``early_uwatt`` is what ending it
    now costs who ends it.
    """

    buyer: Party
    limit_wh: int
    price_uwatt_per_kwh: int | None
    agreed_uwatt_per_kwh: int
    from_period: int
    until_period: int
    collateral_uwatt: int
    early_uwatt: int
    late_uwatt: int


class Contract(Model, frozen=True, kw_only=True):
    """An offer with its subscriptions, and its prices of the next open period. ``price_uwatt_per_kwh`` is for all who
    have no preferred one, None if nobody else gets any. ``until_period`` is before ``end_period`` if it was ended
    early.
    """

    offer: int
    seller: Party
    template: str
    limit_wh: int
    price_uwatt_per_kwh: int | None
    preferred: list[PreferredPriceInfo]
    from_period: int
    end_period: int
    until_period: int
    stake_ugrid: int
    subscriptions: list[SubscriptionInfo]


class ContractPage(Model, frozen=True, kw_only=True):
    """Newest offer first. What is agreed now counts from ``next_open_period`` on."""

    height: int
    next_open_period: int
    contracts: list[Contract]
    next_before: int | None


class Delivery(Model, frozen=True, kw_only=True):
    """What a buyer got in the hour or the period that begins with ``period``; lines of it stand on the bill."""

    period: int
    start_ms: int
    start: str
    buyer: Party
    energy_wh: int
    amount_uwatt: int
    fee_uwatt: int


class DeliveryPage(Model, frozen=True, kw_only=True):
    """Newest first; kept for the chain's ``history_periods``."""

    height: int
    offer: int
    deliveries: list[Delivery]
    next_before: int | None


class Agreements(Model, frozen=True, kw_only=True):
    """An account's own: the pool it is in or leaves, the contracts it sells and buys under, also ended ones that are
    not settled yet, and the licences an approver attests to it.
    """

    height: int
    account: Party
    next_open_period: int
    licences: list[str]
    pools: list[PoolInfo]
    selling: list[Contract]
    buying: list[Contract]
