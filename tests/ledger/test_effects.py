"""Effects: orders have their numbers, fills both sides, and whatever the market moves is told to the last uwatt."""

from __future__ import annotations

import random
from collections import defaultdict

import pytest
from msgspec.structs import replace

from ledger.effects import HISTORY_KIND, Effect, EffectKind
from ledger.market.matching import Side
from ledger.records import OWN_ORDERS
from ledger.refusal import Refusal
from ledger.settlement.lines import next_period
from ledger.transactions import CancelOrder, OrderReference, Payload, PlaceOrder, ReplaceQuote
from tests.ledger.neighbourhood import FIRST_PERIOD, NAMES, PARAMETERS, Neighbourhood, account_key, make_genesis

NEXT = FIRST_PERIOD + 1
PRODUCER = "carla"
FEE = 1_000


def market(mechanism: int = 1) -> Neighbourhood:
    return Neighbourhood(make_genesis(with_gateway=True, parameters=replace(PARAMETERS, market_mechanism=mechanism)))


def order(side: Side, energy_wh: int, limit: int, *periods: int) -> PlaceOrder:
    return PlaceOrder(side=side, periods=periods or (NEXT,), energy_wh=energy_wh, limit_uwatt_per_kwh=limit)


def do(street: Neighbourhood, name: str, payload: Payload) -> tuple[Effect, ...]:
    assert street.refusal(street.sign(name, payload), after_ms=1, producer=PRODUCER) is None
    return street.last_result.effects


def words(effects: tuple[Effect, ...]) -> list[tuple[str, str, int, int, int, int]]:
    names = {account_key(name).public_key: name for name in NAMES}
    return [
        (EffectKind(one.kind).name, names[one.account], one.order, one.energy_wh, one.price, one.balance_uwatt)
        for one in effects
    ]


def test_an_order_that_rests_gets_a_number_and_says_what_it_locks() -> None:
    street = market()
    effects = do(street, "bob", order(Side.SELL, 700, 200_000))
    assert words(effects) == [("ORDER_PLACED", "bob", 1, 700, 200_000, -70_000)]
    assert (effects[0].transaction, effects[0].side, effects[0].period) == (0, Side.SELL, NEXT)


def test_a_fill_is_told_to_both_with_each_other_s_names() -> None:
    street = market()
    do(street, "bob", order(Side.SELL, 700, 200_000))
    # When anne takes 300 of it, on bob's feeder, and bids for nothing more
    effects = do(street, "anne", order(Side.BUY, 300, 220_000))
    # Then bob's deposit for these goes over into the escrow, and anne pays value and fee
    rate = effects[0].rate
    assert words(effects) == [
        ("ORDER_FILLED", "bob", 1, 300, 200_000, 0),
        ("ORDER_FILLED", "anne", 2, 300, 200_000, -300 * (200_000 + rate) // 1_000),
        ("ORDER_PLACED", "anne", 2, 300, 220_000, 0),
    ]
    assert [one.other for one in effects[:2]] == [account_key(name).public_key for name in ("anne", "bob")]
    assert {one.trade for one in effects[:2]} == {1}


def test_a_strip_has_a_number_a_period() -> None:
    effects = do(market(), "bob", order(Side.BUY, 10, 100_000, NEXT, NEXT + 2))
    assert [(one.period, one.order) for one in effects] == [(NEXT, 1), (NEXT + 2, 2)]


def test_cancelled_and_replaced_orders_give_their_lock_back() -> None:
    street = market()
    locked = do(street, "bob", order(Side.BUY, 500, 100_000))[0].balance_uwatt
    effects = do(street, "bob", CancelOrder(orders=(OrderReference(NEXT, 1),)))
    assert words(effects) == [("ORDER_RELEASED", "bob", 1, 500, 100_000, -locked)]
    do(street, "bob", order(Side.BUY, 500, 100_000))
    effects = do(street, "bob", ReplaceQuote(NEXT, 0, 0, 100, 290_000))
    assert [one[0] for one in words(effects)] == ["ORDER_RELEASED", "ORDER_PLACED"]


def test_nothing_is_left_of_what_was_refused() -> None:
    street = market()
    limit = street.parameters.max_open_orders
    strip = [street.sign("bob", order(Side.BUY, 10, 100_000), nonce=nonce) for nonce in range(limit)]
    # When the last of a strip's periods has too many orders already
    refused = street.sign("bob", order(Side.BUY, 10, 100_000, NEXT, NEXT + 1), nonce=limit)
    receipts = street.block(*strip, refused, producer=PRODUCER, after_ms=1)
    # Then
    assert receipts[-1].reason is Refusal.TOO_MANY_ORDERS
    assert len(street.last_result.effects) == limit
    assert {one.transaction for one in street.last_result.effects} == set(range(limit))


def test_effects_stand_in_the_history_behind_the_transactions() -> None:
    street = market()
    do(street, "bob", order(Side.SELL, 700, 200_000))
    result = (do(street, "anne", order(Side.BUY, 300, 220_000)), street.last_result)[1]
    beside = [entry for entry in result.history if entry.kind >= HISTORY_KIND]
    assert [entry.index for entry in beside] == [1, 2, 3]
    assert [entry.account for entry in beside] == [one.account for one in result.effects]
    assert [entry.kind - HISTORY_KIND for entry in beside] == [one.kind for one in result.effects]


@pytest.mark.parametrize("mechanism", [1, 2])
def test_effects_and_fees_add_up_to_every_balance(mechanism: int) -> None:
    street, rng = market(mechanism), random.Random(mechanism)
    kinds: set[int] = set()
    while next_period(street.state) <= NEXT + 12:
        before = {name: street.account(name).watt_uwatt for name in NAMES}
        trading = street.time_ms < (NEXT + 12) * street.parameters.period_ms
        who = [name for name in NAMES if trading and rng.random() < 0.7]
        transactions = [street.sign(name, something(street, name, rng)) for name in who]
        after_ms = 1_000 if rng.random() < 0.9 else 9_000
        # When
        receipts = street.block(*transactions, producer=PRODUCER, after_ms=after_ms)
        # Then
        moved: dict[bytes, int] = defaultdict(int)
        for effect in street.last_result.effects:
            moved[effect.account] += effect.balance_uwatt
            kinds.add(effect.kind)
        for transaction in transactions:
            moved[transaction.sender] -= FEE
        moved[account_key(PRODUCER).public_key] += FEE * len(receipts)
        for name in NAMES:
            assert street.account(name).watt_uwatt - before[name] == moved[account_key(name).public_key], name
    assert kinds == {kind for kind in EffectKind if not kind.name.startswith(("CONTRACT_", "BILL_"))}


def something(street: Neighbourhood, name: str, rng: random.Random) -> Payload:
    """An order, a strip, a quote or a cancellation; some are refused."""
    period = street.time_ms // street.parameters.period_ms + rng.randrange(1, 4)
    own = [
        OrderReference(int.from_bytes(key[32:40], "big"), int.from_bytes(key[40:], "big"))
        for key, _ in OWN_ORDERS.scan(street.state, account_key(name).public_key)
    ]
    energy_wh, limit = 10 * rng.randrange(1, 40), 100 * rng.randrange(1_000, 2_400)
    match rng.randrange(8):
        case 0 if own:
            return CancelOrder(orders=(rng.choice(own),))
        case 1:
            return ReplaceQuote(period, energy_wh, limit, energy_wh, limit + 10_000)
        case _:
            return order(rng.choice(list(Side)), energy_wh, limit, period, period + 1)
