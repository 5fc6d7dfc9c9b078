"""Which contracts count in a period, as they stood at its gate closure; and what becomes of those that have ended.

1. An offer counts in the periods from its first one until it ends that are among its template's hours and days; so does
   a subscription of it, at the offer's price for that buyer as it stood, times the time of use.
2. When the last period has been settled in which an offer or a subscription could count, its stake or collateral goes
   back, and nothing of it stays in the state.
3. What settlement delivers is accounted for by (group of periods, offer, buyer), for ``history_periods``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ledger.agreements import (
    CONTRACT_DELIVERIES,
    CONTRACT_OFFERS,
    CONTRACT_PARTIES,
    CONTRACT_SUBSCRIPTIONS,
    OFFER_PRICES,
    ContractDelivery,
    ContractOffer,
    ContractSubscription,
    OfferPrices,
    counts_in,
    last_eight,
)
from ledger.balances import give_grid, give_watt
from ledger.contracts.templates import TEMPLATES, Template, delivers_in, group_of, price_in
from ledger.effects import Effect, EffectKind
from ledger.execution import Execution
from ledger.market.grid_fee import Tariff
from ledger.market.terms import feeders_of
from ledger.parameters import Parameters
from ledger.records import height_key
from ledger.settlement.settle import Delivery, Offer, OwnFee, Subscription
from ledger.state import State


def offered_wh(state: State, parameters: Parameters, seller: bytes, period: int) -> int:
    """What the seller may have to deliver under contracts in the period."""
    return delivered_by([offer for _, offer in offers_of(state, seller)], parameters, period)


def delivered_by(offers: Iterable[ContractOffer], parameters: Parameters, period: int) -> int:
    """What these offers may have to deliver together in the period, Wh."""
    return sum(
        offer.limit_wh
        for offer in offers
        if counts_in(period, offer.from_period, offer.until_period)
        and delivers_in(TEMPLATES[offer.template], parameters, period)
    )


def offers_of(state: State, seller: bytes) -> Iterator[tuple[int, ContractOffer]]:
    """(number, offer) of those that the member sells under, also ended ones that are not settled yet."""
    for key, party in CONTRACT_PARTIES.scan(state, seller):
        if party.is_seller:
            number = last_eight(key)
            yield number, get_offer(state, number)


def get_offer(state: State, number: int) -> ContractOffer:
    offer = CONTRACT_OFFERS.get(state, height_key(number))
    assert offer is not None, "what names an offer goes when it goes"
    return offer


def subscriptions_of(state: State, number: int) -> Iterator[tuple[bytes, int, ContractSubscription]]:
    """(buyer, first period, subscription), by buyer, then period."""
    for key, subscription in CONTRACT_SUBSCRIPTIONS.scan(state, height_key(number)):
        yield key[8:40], last_eight(key), subscription


def prices_of(state: State, number: int, period: int) -> OfferPrices | None:
    """The offer's prices in a period; None before its first one."""
    found = None
    for key, prices in OFFER_PRICES.scan(state, height_key(number)):
        if last_eight(key) > period:
            break
        found = prices
    return found


def price_for(prices: OfferPrices, buyer: bytes) -> int | None:
    """None if the offer is not for this buyer."""
    preferred = {one.account: one.price_uwatt_per_kwh for one in prices.preferred}
    return preferred.get(buyer, prices.price)


def offers_in(execution: Execution, period: int, tariff: Tariff) -> list[Offer]:
    """What settlement is to know of the period's contracts, by number."""
    state, parameters = execution.state, execution.parameters
    found = []
    fees: dict[int, OwnFee] = {}
    for key, offer in CONTRACT_OFFERS.scan(state):
        template = TEMPLATES[offer.template]
        if counts_in(period, offer.from_period, offer.until_period) and delivers_in(template, parameters, period):
            number = last_eight(key)
            subscriptions = _subscriptions_in(state, parameters, number, template, period)
            if offer.template not in fees:
                fees[offer.template] = _own_fee(execution, period, tariff, template)
            found.append(Offer(number, offer.seller, offer.limit_wh, subscriptions, fees[offer.template]))
    return found


def record_deliveries(execution: Execution, period: int, deliveries: Iterable[Delivery]) -> None:
    """Adds what was settled to the contracts' accounts."""
    state = execution.state
    for delivery in deliveries:
        template = TEMPLATES[get_offer(state, delivery.offer).template]
        group = group_of(template, execution.parameters, period)
        place = (height_key(group), height_key(delivery.offer), delivery.buyer)
        before = CONTRACT_DELIVERIES.get(state, *place) or ContractDelivery(energy_wh=0, amount_uwatt=0, fee_uwatt=0)
        CONTRACT_DELIVERIES.put(
            state,
            ContractDelivery(
                energy_wh=before.energy_wh + delivery.energy_wh,
                amount_uwatt=before.amount_uwatt + delivery.amount_uwatt,
                fee_uwatt=before.fee_uwatt + delivery.fee_uwatt,
            ),
            *place,
        )


def forget_contracts(execution: Execution, period: int) -> None:
    """After ``period`` was settled: releases what ended with it, and forgets deliveries of long ago."""
    state = execution.state
    following = period + 1
    for key, offer in CONTRACT_OFFERS.scan(state):
        number = last_eight(key)
        is_over = offer.until_period <= following
        for buyer, from_period, subscription in subscriptions_of(state, number):
            if is_over or subscription.until_period <= following:
                release_subscription(execution, number, buyer, from_period, subscription)
        if is_over:
            give_grid(state, offer.seller, offer.stake_ugrid)
            tell(execution, EffectKind.CONTRACT_RELEASED, number, offer.seller, 0)
            CONTRACT_OFFERS.delete(state, key)
            CONTRACT_PARTIES.delete(state, offer.seller, key)
        _forget_prices(state, number, None if is_over else following)
    oldest = period - execution.parameters.history_periods
    if oldest >= 0:
        for key, _ in CONTRACT_DELIVERIES.scan(state, height_key(oldest)):
            CONTRACT_DELIVERIES.delete(state, key)


def tell(
    execution: Execution, kind: EffectKind, number: int, account: bytes, balance_uwatt: int, other: bytes | None = None
) -> None:
    """What an offer did to an account."""
    execution.effects.append(
        Effect(
            kind=kind,
            transaction=execution.index,
            account=account,
            other=other,
            period=execution.time_ms // execution.parameters.period_ms,
            side=0,
            order=number,
            trade=0,
            energy_wh=0,
            price=0,
            rate=0,
            balance_uwatt=balance_uwatt,
        )
    )


def _subscriptions_in(
    state: State, parameters: Parameters, number: int, template: Template, period: int
) -> dict[bytes, Subscription]:
    prices = prices_of(state, number, period)
    assert prices is not None, "an offer has prices from its first period on"
    found = {}
    for buyer, from_period, subscription in subscriptions_of(state, number):
        if counts_in(period, from_period, subscription.until_period):
            price = price_for(prices, buyer)
            assert price is not None, "who has subscribed keeps a price"
            found[buyer] = Subscription(price_in(template, parameters, price, period), subscription.limit_wh)
    return found


def _own_fee(execution: Execution, period: int, tariff: Tariff, template: Template) -> OwnFee:
    feeders = feeders_of(execution, period, tariff, template.congestion_threshold_bps)
    return OwnFee(template.fee_base, template.fee_distance, template.fee_congestion_bps, feeders.congested())


def release_subscription(
    execution: Execution, number: int, buyer: bytes, from_period: int, subscription: ContractSubscription
) -> None:
    """Gives the collateral back, and forgets the subscription."""
    state = execution.state
    give_watt(state, buyer, subscription.collateral_uwatt)
    tell(execution, EffectKind.CONTRACT_RELEASED, number, buyer, subscription.collateral_uwatt)
    CONTRACT_SUBSCRIPTIONS.delete(state, height_key(number), buyer, height_key(from_period))
    if next(CONTRACT_SUBSCRIPTIONS.scan(state, height_key(number), buyer), None) is None:
        CONTRACT_PARTIES.delete(state, buyer, height_key(number))


def _forget_prices(state: State, number: int, following: int | None) -> None:
    """All but those that hold from ``following`` on; all if it is None."""
    keys = [key for key, _ in OFFER_PRICES.scan(state, height_key(number))]
    if following is not None:
        past = [key for key in keys if last_eight(key) <= following]
        keys = past[:-1]
    for key in keys:
        OFFER_PRICES.delete(state, key)
