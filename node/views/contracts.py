"""Contracts: templates, offers with their subscriptions, deliveries, and an account's own agreements."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ledger.agreements import (
    ATTESTATIONS,
    CONTRACT_DELIVERIES,
    CONTRACT_OFFERS,
    CONTRACT_PARTIES,
    ContractOffer,
    Licence,
    OfferPrices,
    last_eight,
    next_numbers,
)
from ledger.contracts.rules import sureties_of
from ledger.contracts.standing import price_for, prices_of, subscriptions_of
from ledger.contracts.templates import TEMPLATES, Template, TemplateKind
from ledger.records import height_key
from ledger.settlement.lines import next_period
from node.client import models
from node.client.models import iso_time
from node.views.pools import next_open, pools_of
from node.views.reader import NotFound, Reader, word

BUYER_BYTES: Final = 32


def template_list() -> models.TemplateList:
    return models.TemplateList(templates=[_template_view(template) for template in TEMPLATES.values()])


def contract_page(reader: Reader, before: int | None, limit: int, now_ms: int) -> models.ContractPage:
    """Offers that are in the state, newest first."""
    period = next_open(reader, now_ms)
    last = next_numbers(reader.state).next_offer
    numbers = [last_eight(key) for key, _ in CONTRACT_OFFERS.scan(reader.state)]
    wanted = sorted((number for number in numbers if number < (last if before is None else before)), reverse=True)
    shown = wanted[:limit]
    return models.ContractPage(
        height=reader.height,
        next_open_period=period,
        contracts=[contract_view(reader, number, _offer(reader, number), period) for number in shown],
        next_before=shown[-1] if len(wanted) > limit else None,
    )


def find_contract(reader: Reader, number: int, now_ms: int) -> models.Contract:
    """Errors: NotFound."""
    return contract_view(reader, number, _offer(reader, number), next_open(reader, now_ms))


def delivery_page(reader: Reader, number: int, before: int | None, limit: int) -> models.DeliveryPage:
    """What was delivered under an offer, newest first, also of one that is over. Errors: NotFound."""
    if number >= next_numbers(reader.state).next_offer or number == 0:
        raise _no_offer(number)
    deliveries: list[models.Delivery] = []
    more = False
    for delivery in _deliveries(reader, number, before):
        if len(deliveries) >= limit and delivery.period != deliveries[-1].period:
            more = True
            break
        deliveries.append(delivery)
    return models.DeliveryPage(
        height=reader.height,
        offer=number,
        deliveries=deliveries,
        next_before=deliveries[-1].period if more else None,
    )


def agreements_of(reader: Reader, account: bytes, now_ms: int) -> models.Agreements:
    period = next_open(reader, now_ms)
    attested = ATTESTATIONS.get(reader.state, account)
    selling: list[models.Contract] = []
    buying: list[models.Contract] = []
    for key, party in CONTRACT_PARTIES.scan(reader.state, account):
        number = last_eight(key)
        (selling if party.is_seller else buying).append(contract_view(reader, number, _offer(reader, number), period))
    return models.Agreements(
        height=reader.height,
        account=reader.party(account),
        next_open_period=period,
        licences=licence_words(0 if attested is None else attested.licences),
        pools=pools_of(reader, account, now_ms),
        selling=selling,
        buying=buying,
    )


def contract_view(reader: Reader, number: int, offer: ContractOffer, period: int) -> models.Contract:
    """``period``: the next open one, whose prices are shown."""
    prices = prices_of(reader.state, number, max(period, offer.from_period))
    assert prices is not None, "an offer has prices from its first period on"
    return models.Contract(
        offer=number,
        seller=reader.party(offer.seller),
        template=word(offer.template, TemplateKind),
        limit_wh=offer.limit_wh,
        price_uwatt_per_kwh=prices.price,
        preferred=[
            models.PreferredPriceInfo(member=reader.party(one.account), price_uwatt_per_kwh=one.price_uwatt_per_kwh)
            for one in prices.preferred
        ],
        from_period=offer.from_period,
        end_period=offer.end_period,
        until_period=offer.until_period,
        stake_ugrid=offer.stake_ugrid,
        subscriptions=list(_subscriptions(reader, number, offer, prices, period)),
    )


def licence_words(licences: int) -> list[str]:
    return [str(licence.name).lower() for licence in Licence if licence & licences]


def _subscriptions(
    reader: Reader, number: int, offer: ContractOffer, prices: OfferPrices, period: int
) -> Iterator[models.SubscriptionInfo]:
    for buyer, from_period, subscription in subscriptions_of(reader.state, number):
        ended = subscription.until_period <= period
        surety = sureties_of(reader.parameters, offer, from_period, subscription)
        yield models.SubscriptionInfo(
            buyer=reader.party(buyer),
            limit_wh=subscription.limit_wh,
            price_uwatt_per_kwh=None if ended else price_for(prices, buyer),
            agreed_uwatt_per_kwh=subscription.agreed_price,
            from_period=from_period,
            until_period=subscription.until_period,
            collateral_uwatt=subscription.collateral_uwatt,
            early_uwatt=0 if ended else surety.early_uwatt,
            late_uwatt=surety.late_uwatt,
        )


def _deliveries(reader: Reader, number: int, before: int | None) -> Iterator[models.Delivery]:
    """Group by group from the newest one backwards, as long as they are kept."""
    period_ms = reader.parameters.period_ms
    last = next_period(reader.state)
    newest = last if before is None else min(before, last)
    for period in range(newest - 1, last - reader.parameters.history_periods - 2, -1):
        if period < 0:
            return
        for key, delivery in CONTRACT_DELIVERIES.scan(reader.state, height_key(period), height_key(number)):
            yield models.Delivery(
                period=period,
                start_ms=period * period_ms,
                start=iso_time(period * period_ms),
                buyer=reader.party(key[-BUYER_BYTES:]),
                energy_wh=delivery.energy_wh,
                amount_uwatt=delivery.amount_uwatt,
                fee_uwatt=delivery.fee_uwatt,
            )


def _offer(reader: Reader, number: int) -> ContractOffer:
    """Errors: NotFound."""
    offer = CONTRACT_OFFERS.get(reader.state, height_key(number))
    if offer is None:
        raise _no_offer(number)
    return offer


def _no_offer(number: int) -> NotFound:
    return NotFound(f"there is no offer {number}, or it is over; GET /v1/contracts lists those that stand")


def _template_view(template: Template) -> models.ContractTemplate:
    return models.ContractTemplate(
        template=template.kind.name.lower(),
        number=int(template.kind),
        smallest_wh=template.smallest_wh,
        largest_wh=template.largest_wh,
        lowest_uwatt_per_kwh=template.lowest_price,
        highest_uwatt_per_kwh=template.highest_price,
        price_change_bps=template.price_change_bps,
        first_hour=template.first_hour,
        last_hour=template.last_hour,
        weekdays=list(template.weekdays),
        max_participants=template.max_participants,
        stake_ugrid=template.stake_ugrid,
        licences=licence_words(int(template.licences)),
        deliveries_by=template.grouping.name.lower(),
        late_bps=template.late_bps,
        early_bps=template.early_bps,
        collateral_bps=template.collateral_bps,
        arbitration=template.arbitration.name.lower(),
        escalation_hours=template.escalation_hours,
        fee_base_uwatt_per_kwh=template.fee_base,
        fee_distance_uwatt_per_kwh=template.fee_distance,
        fee_congestion_bps=template.fee_congestion_bps,
        congestion_threshold_bps=template.congestion_threshold_bps,
        time_of_use=[models.TimeOfUse(from_hour=hour, price_bps=bps) for hour, bps in template.time_of_use],
        shedding=list(template.shedding),
    )
