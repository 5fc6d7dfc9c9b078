"""Offering, subscribing, changing the price, and ending.

1. Seller and buyers are who may trade (``market.traders``). What is agreed counts from the next period on whose gate
   has not closed; nothing changes for a period that has.
2. An offer names a template, at most so many Wh a period, its first period and the one before which it ends, and a
   price for all, *preferred* prices for named members who alone get them, or both. Everything is within the template;
   the seller holds its licences and locks its stake in GRID while the offer stands. Its limit, with all the seller's
   other offers of the time, and with what it sold and offers on the market, is within the export nameplate.
3. A subscription is for at most so many Wh a period, within template and offer, at a price no higher than the buyer
   says; it locks the collateral in WATT. A member has one of an offer at a time, and at most ``max_contracts`` offers
   and subscriptions together.
4. A changed price differs from the one of the period before, and from what each subscriber agreed to, by at most the
   template's limit; a preferred price is one of its own.
5. Who ends a contract before its time pays the early-end penalty to the other: a buyer out of its collateral, as far as
   that reaches, a seller to each subscriber. For paying late: ``late``. Stake and collateral are given back when the
   last period is settled in which they counted.
6. Prices are whole ticks. They are those before the time of use and the limit that retail and grid fee set
   (``settlement.settle``).
"""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from ledger.agreements import (
    AGREEMENT_COUNTER,
    ATTESTATIONS,
    CONTRACT_OFFERS,
    CONTRACT_PARTIES,
    CONTRACT_SUBSCRIPTIONS,
    OFFER_PRICES,
    ContractOffer,
    ContractParty,
    ContractSubscription,
    Licence,
    OfferPrices,
    counts_in,
    last_eight,
    next_numbers,
)
from ledger.balances import give_watt, take_grid, take_watt
from ledger.contracts.standing import (
    delivered_by,
    get_offer,
    offers_of,
    price_for,
    prices_of,
    release_subscription,
    subscriptions_of,
    tell,
)
from ledger.contracts.templates import TEMPLATES, Sureties, Template, delivers_in, sureties
from ledger.effects import EffectKind
from ledger.execution import Execution, Rule
from ledger.market.grid_fee import ALL_BPS, TICK_UWATT_PER_KWH
from ledger.market.terms import first_open_period
from ledger.market.traders import Trader, require_nameplate, require_trader
from ledger.parameters import Parameters
from ledger.records import MEMBERS, height_key
from ledger.refusal import Refusal, TransactionRefused
from ledger.state import State
from ledger.transactions import (
    MAX_PREFERRED_PRICES,
    ChangeContractPrice,
    EndContract,
    Kind,
    OfferContract,
    SubscribeContract,
    Transaction,
)

PERIODS_PER_WORK: Final = 16
"""An offer looks into every book that is open; so many of them are one unit of work (``execution``)."""
MAX_CONTRACT_PERIODS: Final = 400_000
"""A quarter of an hour each, more than eleven years."""


def check_offer(_: Transaction, payload: OfferContract) -> None:
    """Errors: TransactionRefused MALFORMED, OUTSIDE_TEMPLATE, OFF_TICK, SAME_ACCOUNT."""
    template = TEMPLATES.get(payload.template)
    if template is None:
        raise TransactionRefused(Refusal.MALFORMED, f"no template has the number {payload.template}")
    if not payload.start_period < payload.end_period <= payload.start_period + MAX_CONTRACT_PERIODS:
        raise TransactionRefused(
            Refusal.MALFORMED, f"a contract is for at least one period and at most {MAX_CONTRACT_PERIODS}"
        )
    _require_energy(template, payload.limit_wh)
    _check_prices(payload)
    _require_prices(template, payload)


def apply_offer(execution: Execution, account: bytes, payload: OfferContract) -> None:
    """Errors: TransactionRefused NOT_A_MEMBER, NO_GATEWAY, GATEWAY_DOES_NOT_TRADE, NO_CONNECTION_METER,
    METER_SUSPENDED, BOOK_CLOSED, LICENCE_MISSING, SAME_ACCOUNT, TOO_MANY_CONTRACTS, BEYOND_NAMEPLATE,
    INSUFFICIENT_GRID, TOO_MUCH_WORK.
    """
    state = execution.state
    trader = require_trader(execution, account)
    template = TEMPLATES[payload.template]
    from_period = max(payload.start_period, _first_open(execution))
    if from_period >= payload.end_period:
        raise TransactionRefused(
            Refusal.BOOK_CLOSED,
            f"the contract's last period is {payload.end_period - 1}; the next open is {from_period}",
        )
    _require_licences(state, account, template)
    _require_preferred(state, account, payload)
    _require_few_contracts(execution, account)
    _require_nameplate(execution, trader, template, payload.limit_wh, from_period, payload.end_period)
    take_grid(state, account, template.stake_ugrid)
    numbers = next_numbers(state)
    AGREEMENT_COUNTER.put(state, replace(numbers, next_offer=numbers.next_offer + 1))
    number = height_key(numbers.next_offer)
    offer = ContractOffer(
        seller=account,
        template=payload.template,
        limit_wh=payload.limit_wh,
        from_period=from_period,
        end_period=payload.end_period,
        until_period=payload.end_period,
        stake_ugrid=template.stake_ugrid,
    )
    CONTRACT_OFFERS.put(state, offer, number)
    CONTRACT_PARTIES.put(state, ContractParty(is_seller=True), account, number)
    OFFER_PRICES.put(state, _prices(payload), number, height_key(from_period))


def check_subscription(_: Transaction, payload: SubscribeContract) -> None:
    """Errors: TransactionRefused AMOUNT_ZERO."""
    if payload.limit_wh == 0:
        raise TransactionRefused(Refusal.AMOUNT_ZERO, "a subscription is for some energy")


def apply_subscription(execution: Execution, account: bytes, payload: SubscribeContract) -> None:
    """Errors: TransactionRefused NOT_A_MEMBER, NO_GATEWAY, GATEWAY_DOES_NOT_TRADE, NO_CONNECTION_METER,
    METER_SUSPENDED, UNKNOWN_OFFER, SAME_ACCOUNT, NOT_OFFERED, PRICE_ABOVE_LIMIT, OUTSIDE_TEMPLATE, ALREADY_SUBSCRIBED,
    TOO_MANY_PARTICIPANTS, TOO_MANY_CONTRACTS, INSUFFICIENT_WATT.
    """
    state = execution.state
    require_trader(execution, account)
    offer = _require_standing(execution, payload.offer)
    template = TEMPLATES[offer.template]
    from_period = max(offer.from_period, _first_open(execution))
    if offer.seller == account:
        raise TransactionRefused(Refusal.SAME_ACCOUNT, "nobody subscribes to an own offer")
    price = _require_price(state, payload, account, from_period)
    _require_energy(template, payload.limit_wh)
    if payload.limit_wh > offer.limit_wh:
        raise TransactionRefused(
            Refusal.OUTSIDE_TEMPLATE, f"{payload.limit_wh} Wh a period; the offer is for {offer.limit_wh} Wh"
        )
    _require_place(execution, account, payload.offer, template)
    _require_few_contracts(execution, account)
    surety = sureties(template, execution.parameters, payload.limit_wh, price, offer.until_period - from_period)
    take_watt(state, account, surety.collateral_uwatt)
    tell(execution, EffectKind.CONTRACT_SECURED, payload.offer, account, -surety.collateral_uwatt, offer.seller)
    subscription = ContractSubscription(
        limit_wh=payload.limit_wh,
        agreed_price=price,
        until_period=offer.until_period,
        collateral_uwatt=surety.collateral_uwatt,
    )
    number = height_key(payload.offer)
    CONTRACT_SUBSCRIPTIONS.put(state, subscription, number, account, height_key(from_period))
    CONTRACT_PARTIES.put(state, ContractParty(is_seller=False), account, number)
    execution.concern(offer.seller)


def check_end(_transaction: Transaction, _payload: EndContract) -> None:
    """Every one may be valid."""


def apply_end(execution: Execution, account: bytes, payload: EndContract) -> None:
    """Errors: TransactionRefused UNKNOWN_OFFER, NOT_A_PARTY, INSUFFICIENT_WATT."""
    offer = _require_standing(execution, payload.offer)
    if offer.seller == account:
        end_offer(execution, payload.offer, with_penalty=True)
        return
    for buyer, from_period, subscription in _standing_subscriptions(execution, payload.offer):
        if buyer == account:
            _end_subscription(execution, payload.offer, offer, buyer, from_period, subscription)
            return
    raise TransactionRefused(
        Refusal.NOT_A_PARTY, f"the account neither made offer {payload.offer} nor subscribed to it"
    )


def end_offer(execution: Execution, number: int, *, with_penalty: bool) -> None:
    """Ends a standing offer and its subscriptions with the next open period. Errors: TransactionRefused
    INSUFFICIENT_WATT.
    """
    state = execution.state
    offer = get_offer(state, number)
    next_open = _first_open(execution)
    for buyer, from_period, subscription in _standing_subscriptions(execution, number):
        if with_penalty:
            penalty = sureties_of(execution.parameters, offer, from_period, subscription).early_uwatt
            take_watt(state, offer.seller, penalty)
            give_watt(state, buyer, penalty)
            tell(execution, EffectKind.CONTRACT_PENALTY, number, offer.seller, -penalty, buyer)
            tell(execution, EffectKind.CONTRACT_PENALTY, number, buyer, penalty, offer.seller)
        _put_ended(execution, number, buyer, from_period, subscription)
        execution.concern(buyer)
    CONTRACT_OFFERS.put(state, replace(offer, until_period=next_open), height_key(number))


def sureties_of(
    parameters: Parameters, offer: ContractOffer, from_period: int, subscription: ContractSubscription
) -> Sureties:
    """What the subscription that begins with ``from_period`` is secured with."""
    return sureties(
        TEMPLATES[offer.template],
        parameters,
        subscription.limit_wh,
        subscription.agreed_price,
        subscription.until_period - from_period,
    )


def check_change(_: Transaction, payload: ChangeContractPrice) -> None:
    """Errors: TransactionRefused MALFORMED, OFF_TICK."""
    _check_prices(payload)


def apply_change(execution: Execution, account: bytes, payload: ChangeContractPrice) -> None:
    """Errors: TransactionRefused UNKNOWN_OFFER, NOT_A_PARTY, NOT_A_MEMBER, SAME_ACCOUNT, OUTSIDE_TEMPLATE,
    NOT_OFFERED, PRICE_CHANGE_TOO_LARGE.
    """
    state = execution.state
    offer = _require_standing(execution, payload.offer)
    if offer.seller != account:
        raise TransactionRefused(Refusal.NOT_A_PARTY, f"the account did not make offer {payload.offer}")
    template = TEMPLATES[offer.template]
    _require_prices(template, payload)
    _require_preferred(state, account, payload)
    from_period = max(offer.from_period, _first_open(execution))
    prices = _prices(payload)
    before = prices_of(state, payload.offer, from_period - 1)
    if before is not None and before.price is not None and prices.price is not None:
        _require_small_change(template, before.price, prices.price)
    for buyer, _, subscription in _standing_subscriptions(execution, payload.offer):
        price = price_for(prices, buyer)
        if price is None:
            raise TransactionRefused(Refusal.NOT_OFFERED, f"subscriber {buyer.hex()} would be left without a price")
        _require_small_change(template, subscription.agreed_price, price)
        execution.concern(buyer)
    OFFER_PRICES.put(state, prices, height_key(payload.offer), height_key(from_period))


def _first_open(execution: Execution) -> int:
    return first_open_period(execution.parameters, execution.time_ms)


def _end_subscription(
    execution: Execution,
    number: int,
    offer: ContractOffer,
    buyer: bytes,
    from_period: int,
    subscription: ContractSubscription,
) -> None:
    """Errors: TransactionRefused INSUFFICIENT_WATT, where paying late has used up the collateral."""
    penalty = sureties_of(execution.parameters, offer, from_period, subscription).early_uwatt
    secured = min(penalty, subscription.collateral_uwatt)
    take_watt(execution.state, buyer, penalty - secured)
    give_watt(execution.state, offer.seller, penalty)
    tell(execution, EffectKind.CONTRACT_PENALTY, number, offer.seller, penalty, buyer)
    tell(execution, EffectKind.CONTRACT_PENALTY, number, buyer, secured - penalty, offer.seller)
    left = replace(subscription, collateral_uwatt=subscription.collateral_uwatt - secured)
    _put_ended(execution, number, buyer, from_period, left)
    execution.concern(offer.seller)


def _put_ended(
    execution: Execution, number: int, buyer: bytes, from_period: int, subscription: ContractSubscription
) -> None:
    """Ends a subscription with the next open period; one that has not begun is forgotten at once."""
    next_open = _first_open(execution)
    ended = replace(subscription, until_period=next_open)
    place = (height_key(number), buyer, height_key(from_period))
    CONTRACT_SUBSCRIPTIONS.put(execution.state, ended, *place)
    if next_open <= from_period:
        release_subscription(execution, number, buyer, from_period, ended)


def _standing_subscriptions(execution: Execution, number: int) -> list[tuple[bytes, int, ContractSubscription]]:
    """(buyer, first period, subscription) of those that nobody has ended."""
    next_open = _first_open(execution)
    return [one for one in subscriptions_of(execution.state, number) if one[2].until_period > next_open]


def _require_standing(execution: Execution, number: int) -> ContractOffer:
    """Errors: TransactionRefused UNKNOWN_OFFER."""
    offer = CONTRACT_OFFERS.get(execution.state, height_key(number))
    if offer is None or offer.until_period <= _first_open(execution):
        raise TransactionRefused(Refusal.UNKNOWN_OFFER, f"there is no offer {number}, or it has ended")
    return offer


def _check_prices(payload: OfferContract | ChangeContractPrice) -> None:
    """Errors: TransactionRefused MALFORMED, OFF_TICK."""
    named = {one.account for one in payload.preferred}
    if len(named) != len(payload.preferred) or len(named) > MAX_PREFERRED_PRICES:
        raise TransactionRefused(
            Refusal.MALFORMED, f"preferred prices are for at most {MAX_PREFERRED_PRICES} members, each named once"
        )
    prices = _all_prices(payload)
    if not prices:
        raise TransactionRefused(Refusal.MALFORMED, "an offer has a price for all, preferred prices, or both")
    for price in prices:
        if price % TICK_UWATT_PER_KWH:
            raise TransactionRefused(
                Refusal.OFF_TICK, f"{price} uwatt per kWh; prices are multiples of {TICK_UWATT_PER_KWH}"
            )


def _all_prices(payload: OfferContract | ChangeContractPrice) -> list[int]:
    for_all = [] if payload.price_uwatt_per_kwh is None else [payload.price_uwatt_per_kwh]
    return for_all + [one.price_uwatt_per_kwh for one in payload.preferred]


def _prices(payload: OfferContract | ChangeContractPrice) -> OfferPrices:
    return OfferPrices(price=payload.price_uwatt_per_kwh, preferred=payload.preferred)


def _require_prices(template: Template, payload: OfferContract | ChangeContractPrice) -> None:
    """Errors: TransactionRefused OUTSIDE_TEMPLATE."""
    for price in _all_prices(payload):
        if not template.lowest_price <= price <= template.highest_price:
            raise TransactionRefused(
                Refusal.OUTSIDE_TEMPLATE,
                f"{price} uwatt per kWh; the template has {template.lowest_price} to {template.highest_price}",
            )


def _require_energy(template: Template, limit_wh: int) -> None:
    """Errors: TransactionRefused OUTSIDE_TEMPLATE."""
    if not template.smallest_wh <= limit_wh <= template.largest_wh:
        raise TransactionRefused(
            Refusal.OUTSIDE_TEMPLATE,
            f"{limit_wh} Wh a period; the template has {template.smallest_wh} to {template.largest_wh}",
        )


def _require_preferred(state: State, seller: bytes, payload: OfferContract | ChangeContractPrice) -> None:
    """Errors: TransactionRefused NOT_A_MEMBER, SAME_ACCOUNT."""
    for one in payload.preferred:
        if one.account == seller:
            raise TransactionRefused(Refusal.SAME_ACCOUNT, "the seller has no preferred price of its own")
        if MEMBERS.get(state, one.account) is None:
            raise TransactionRefused(Refusal.NOT_A_MEMBER, f"nobody is registered as {one.account.hex()}")


def _require_licences(state: State, account: bytes, template: Template) -> None:
    """Errors: TransactionRefused LICENCE_MISSING."""
    found = ATTESTATIONS.get(state, account)
    missing = template.licences & ~Licence(0 if found is None else found.licences)
    if missing:
        names = ", ".join(str(one.name).lower() for one in Licence if one & missing)
        raise TransactionRefused(Refusal.LICENCE_MISSING, f"no approver has attested {names}")


def _require_few_contracts(execution: Execution, account: bytes) -> None:
    """Errors: TransactionRefused TOO_MANY_CONTRACTS."""
    state = execution.state
    next_open = _first_open(execution)
    standing = 0
    for key, party in CONTRACT_PARTIES.scan(state, account):
        number = last_eight(key)
        if party.is_seller:
            standing += get_offer(state, number).until_period > next_open
        else:
            own = CONTRACT_SUBSCRIPTIONS.scan(state, height_key(number), account)
            standing += any(subscription.until_period > next_open for _, subscription in own)
    limit = execution.parameters.max_contracts
    if standing >= limit:
        raise TransactionRefused(
            Refusal.TOO_MANY_CONTRACTS, f"the account has {standing} offers and subscriptions; at most {limit}"
        )


def _require_nameplate(
    execution: Execution, trader: Trader, template: Template, limit_wh: int, from_period: int, end_period: int
) -> None:
    """Errors: TransactionRefused BEYOND_NAMEPLATE, TOO_MUCH_WORK."""
    others = [
        offer
        for _, offer in offers_of(execution.state, trader.account)
        if offer.from_period < end_period and from_period < offer.until_period
    ]
    for moment in (from_period, *(offer.from_period for offer in others if offer.from_period > from_period)):
        limits_wh = sum(o.limit_wh for o in others if counts_in(moment, o.from_period, o.until_period))
        if limits_wh + limit_wh > trader.export_limit_wh:
            raise TransactionRefused(
                Refusal.BEYOND_NAMEPLATE,
                f"{limit_wh} Wh, with {limits_wh} Wh in other contracts from period {moment} on; the export nameplate "
                f"allows {trader.export_limit_wh} Wh",
            )
    parameters = execution.parameters
    last_book = execution.time_ms // parameters.period_ms + parameters.forward_periods
    for period in range(from_period, min(end_period, last_book + 1)):
        if period % PERIODS_PER_WORK == 0:
            execution.count_work()
        if delivers_in(template, parameters, period):
            contracts_wh = delivered_by(others, parameters, period)
            require_nameplate(execution, trader, period, limit_wh, contracts_wh)


def _require_price(state: State, payload: SubscribeContract, buyer: bytes, from_period: int) -> int:
    """Errors: TransactionRefused NOT_OFFERED, PRICE_ABOVE_LIMIT."""
    prices = prices_of(state, payload.offer, from_period)
    assert prices is not None, "an offer has prices from its first period on"
    price = price_for(prices, buyer)
    if price is None:
        raise TransactionRefused(Refusal.NOT_OFFERED, "the offer is for named members, and this is none of them")
    if price > payload.limit_uwatt_per_kwh:
        raise TransactionRefused(
            Refusal.PRICE_ABOVE_LIMIT,
            f"the price is {price} uwatt per kWh, {payload.limit_uwatt_per_kwh} at most are agreed to",
        )
    return price


def _require_place(execution: Execution, account: bytes, number: int, template: Template) -> None:
    """Errors: TransactionRefused ALREADY_SUBSCRIBED, TOO_MANY_PARTICIPANTS."""
    buyers = {buyer for buyer, _, _ in _standing_subscriptions(execution, number)}
    if account in buyers:
        raise TransactionRefused(Refusal.ALREADY_SUBSCRIBED, f"the account has subscribed to offer {number}")
    if len(buyers) >= template.max_participants:
        raise TransactionRefused(
            Refusal.TOO_MANY_PARTICIPANTS, f"offer {number} has its {template.max_participants} subscribers"
        )


def _require_small_change(template: Template, before: int, price: int) -> None:
    """Errors: TransactionRefused PRICE_CHANGE_TOO_LARGE."""
    if abs(price - before) * ALL_BPS > template.price_change_bps * before:
        raise TransactionRefused(
            Refusal.PRICE_CHANGE_TOO_LARGE,
            f"from {before} to {price} uwatt per kWh; the template allows {template.price_change_bps} basis points",
        )


RULES: Final[dict[Kind, Rule[Any]]] = {
    Kind.OFFER_CONTRACT: Rule(check_offer, apply_offer),
    Kind.SUBSCRIBE_CONTRACT: Rule(check_subscription, apply_subscription),
    Kind.END_CONTRACT: Rule(check_end, apply_end),
    Kind.CHANGE_CONTRACT_PRICE: Rule(check_change, apply_change),
}
