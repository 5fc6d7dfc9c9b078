"""Contracts on the chain: offered, subscribed, changed and ended; what is refused, held, paid and given back."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from ledger import execute
from ledger import execution as execution_module
from ledger.agreements import CONTRACT_OFFERS, CONTRACT_PARTIES, CONTRACT_SUBSCRIPTIONS, OFFER_PRICES
from ledger.contracts.standing import offers_in, prices_of
from ledger.contracts.templates import TEMPLATES, sureties
from ledger.effects import EffectKind
from ledger.execution import Execution
from ledger.market.matching import Side
from ledger.market.terms import tariff_of
from ledger.records import METERS, Role
from ledger.refusal import Refusal
from ledger.settlement.settle import Offer
from ledger.settlement.titles import Title
from ledger.transactions import (
    AttestMember,
    CancelOrder,
    ChangeContractPrice,
    EndContract,
    OfferContract,
    OrderReference,
    Payload,
    PlaceOrder,
    RegisterMember,
    ReplaceQuote,
    SubscribeContract,
    Transfer,
)
from tests.ledger.agreed import (
    NEXT,
    PERIODS,
    SIX_IN_THE_MORNING,
    do,
    do_at_gate,
    key,
    lines,
    meter,
    offer,
    settle_up_to,
    spent_uwatt,
    staked_ugrid,
    street,
    subscription,
)
from tests.ledger.neighbourhood import PERIOD_MS, UTILITY, Neighbourhood, meter_key

EXPORT_WH = 2_000
STAKE_UGRID = 10_000_000
END = EndContract(offer=1)
# 500 Wh at 0.15 WATT for ten periods, seven of which deliver: 0.525 WATT
SURETIES = sureties(TEMPLATES[1], SIX_IN_THE_MORNING, 500, 150_000, PERIODS)


def with_offer(*buyers: str, **terms: Any) -> Neighbourhood:
    """George's of 500 Wh at 0.15, and who subscribed to all of it."""
    made = street()
    assert do(made, "george", offer(**terms)) is None
    for name in buyers:
        assert do(made, name, subscription(limit=500_000)) is None
    return made


def counted(made: Neighbourhood, period: int = NEXT) -> list[Offer]:
    execution = Execution(made.state, made.parameters, made.chain_id, made.height, made.time_ms)
    return offers_in(execution, period, tariff_of(made.state, period))


def buyers(made: Neighbourhood, period: int = NEXT) -> dict[str, tuple[int, int]]:
    """Price and limit of each."""
    return {
        name: (one.subscriptions[key(name)].price, one.subscriptions[key(name)].limit_wh)
        for name in ("anne", "bob", "carla", "george")
        for one in counted(made, period)
        if key(name) in one.subscriptions
    }


def change(price: int | None, number: int = 1, **preferred: int) -> ChangeContractPrice:
    return ChangeContractPrice(number, price, offer(preferred=preferred).preferred)


class TestOffered:
    def test_the_stake_is_held_and_the_energy_delivered_at_the_price(self) -> None:
        made = with_offer("anne", "bob")
        assert staked_ugrid(made, "george") == STAKE_UGRID
        meter(made, NEXT, george=(600, 0), anne=(0, 200), bob=(0, 400))
        # 500 Wh in proportion to 200 and 400
        assert lines(made, Title.CONTRACT) == [
            (Title.CONTRACT, "anne", "george", 167, 25_050, 4_008),
            (Title.CONTRACT, "bob", "george", 333, 49_950, 7_992),
        ]

    def test_who_has_a_preferred_price_alone_gets_it(self) -> None:
        made = street()
        assert do(made, "george", offer(price=150_000, preferred={"anne": 120_000})) is None
        for name in ("anne", "bob"):
            assert do(made, name, subscription()) is None
        assert buyers(made) == {"anne": (120_000, 500), "bob": (150_000, 500)}

    def test_an_offer_without_a_price_for_all_is_for_those_it_names(self) -> None:
        made = street()
        assert do(made, "george", offer(price=None, preferred={"anne": 120_000})) is None
        assert do(made, "bob", subscription()) is Refusal.NOT_OFFERED
        assert do(made, "anne", subscription()) is None

    def test_it_counts_from_its_first_period_to_the_one_before_its_end(self) -> None:
        made = with_offer("anne", start=NEXT + 2, end=NEXT + 4)
        assert [bool(buyers(made, NEXT + index)) for index in range(5)] == [False, False, True, True, False]

    def test_one_whose_start_has_passed_counts_from_the_next_open_period(self) -> None:
        made = with_offer("anne", start=NEXT - 50)
        assert bool(buyers(made, NEXT))
        assert not buyers(made, NEXT - 1)

    def test_it_delivers_in_the_hours_of_its_template_at_the_price_of_the_hour(self) -> None:
        made = with_offer("anne", end=NEXT + 96)
        prices = [buyers(made, NEXT - 1 + 4 * hour + 3).get("anne", (0, 0))[0] for hour in range(24)]
        # from six in the morning on: six hours plain, six at 1.2, four at 1.5, one at 0.8, and the night without
        assert prices == [150_000] * 6 + [180_000] * 6 + [225_000] * 4 + [120_000] + [0] * 7

    def test_price_and_fee_are_never_more_than_retail(self) -> None:
        made = with_offer("anne", price=500_000)
        meter(made, NEXT, george=(600, 0), anne=(0, 100))
        assert lines(made, Title.CONTRACT) == [(Title.CONTRACT, "anne", "george", 100, 27_600, 2_400)]


class TestCommercial:
    def test_it_needs_its_licences_and_ends_without_penalty_when_one_is_taken_away(self) -> None:
        made = street()
        big = offer(10_000, 100_000, template=2)
        made = _with_nameplate(made, "george", 80_000)
        assert do(made, "george", big) is Refusal.LICENCE_MISSING
        assert do(made, "anne", AttestMember(key("george"), 1)) is None
        assert do(made, "george", big) is Refusal.LICENCE_MISSING
        assert do(made, "anne", AttestMember(key("george"), 3)) is None
        assert do(made, "george", big) is None
        assert do(made, "bob", subscription(10_000)) is None
        assert staked_ugrid(made, "george") == 1_000_000_000
        held = spent_uwatt(made, "bob")
        assert buyers(made, NEXT) == {"bob": (100_000, 10_000)}
        # When the approver takes one away
        assert do(made, "anne", AttestMember(key("george"), 2)) is None
        assert do(made, "anne", subscription(10_000)) is Refusal.UNKNOWN_OFFER
        settle_up_to(made, NEXT)
        assert (staked_ugrid(made, "george"), spent_uwatt(made, "bob")) == (0, 0)
        assert held > 0
        assert spent_uwatt(made, "george") == 0


class TestSubscribed:
    def test_the_collateral_is_locked_and_comes_back_with_the_stake_when_the_contract_is_over(self) -> None:
        made = with_offer("anne", end=NEXT + 2)
        expected = sureties(TEMPLATES[1], made.parameters, 500, 150_000, 2)
        assert spent_uwatt(made, "anne") == expected.collateral_uwatt == 75_000 * 1 * 1_000 // 10_000
        settle_up_to(made, NEXT)
        assert spent_uwatt(made, "anne") == expected.collateral_uwatt
        settle_up_to(made, NEXT + 1)
        assert (spent_uwatt(made, "anne"), staked_ugrid(made, "george")) == (0, 0)
        for table in (CONTRACT_OFFERS, CONTRACT_SUBSCRIPTIONS, CONTRACT_PARTIES, OFFER_PRICES):
            assert not list(table.scan(made.state))

    def test_one_says_at_most_what_one_pays(self) -> None:
        made = with_offer()
        assert do(made, "anne", subscription(limit=149_900)) is Refusal.PRICE_ABOVE_LIMIT
        assert do(made, "anne", subscription(limit=150_000)) is None


class TestFreezing:
    @pytest.mark.parametrize(("early_ms", "counts"), [(1, True), (0, False)])
    def test_offers_and_subscriptions_count_if_made_before_the_gate_closes(self, early_ms: int, counts: bool) -> None:
        made = with_offer("bob")
        assert do_at_gate(made, "anne", subscription(), early_ms) is None
        assert set(buyers(made)) == ({"anne", "bob"} if counts else {"bob"})
        assert set(buyers(made, NEXT + 1)) == {"anne", "bob"}
        late = street()
        assert do_at_gate(late, "george", offer(), early_ms) is None
        assert bool(counted(late)) is counts
        assert counted(late, NEXT + 1)

    @pytest.mark.parametrize(("early_ms", "counts"), [(1, False), (0, True)])
    @pytest.mark.parametrize("who", ["anne", "george"])
    def test_what_is_ended_after_the_gate_has_closed_still_counts(self, early_ms: int, counts: bool, who: str) -> None:
        made = with_offer("anne", "bob")
        assert do_at_gate(made, who, END, early_ms) is None
        assert ("anne" in buyers(made)) is counts
        assert set(buyers(made, NEXT + 1)) == ({"bob"} if who == "anne" else set())
        # and so does settlement see it
        meter(made, NEXT, george=(600, 0), anne=(0, 200), bob=(0, 100))
        assert bool([line for line in lines(made, Title.CONTRACT) if line[1] == "anne"]) is counts

    @pytest.mark.parametrize(("early_ms", "price"), [(1, 160_000), (0, 150_000)])
    def test_a_price_changed_after_the_gate_has_closed_holds_from_the_next_period_on(
        self, early_ms: int, price: int
    ) -> None:
        made = with_offer("anne")
        assert do_at_gate(made, "george", change(160_000), early_ms) is None
        assert buyers(made)["anne"][0] == price
        assert buyers(made, NEXT + 1)["anne"][0] == 160_000

    def test_who_ends_and_subscribes_anew_has_one_subscription_in_each_period(self) -> None:
        made = with_offer("anne")
        made.block()
        assert do_at_gate(made, "anne", END, 0) is None
        assert do(made, "anne", subscription(300)) is None
        assert buyers(made, NEXT)["anne"][1] == 500
        assert buyers(made, NEXT + 1)["anne"][1] == 300


class TestEnded:
    def test_a_buyer_pays_the_penalty_out_of_its_collateral(self) -> None:
        made = with_offer("anne")
        made.block()
        assert do_at_gate(made, "anne", END, 0) is None
        assert spent_uwatt(made, "george") == -SURETIES.early_uwatt
        assert spent_uwatt(made, "anne") == SURETIES.collateral_uwatt
        settle_up_to(made, NEXT)
        assert spent_uwatt(made, "anne") == SURETIES.early_uwatt == 10_500
        assert staked_ugrid(made, "george") == STAKE_UGRID

    def test_a_seller_pays_it_to_each_subscriber(self) -> None:
        made = with_offer("anne", "bob")
        made.block()
        assert do_at_gate(made, "george", END, 0) is None
        assert spent_uwatt(made, "george") == 2 * SURETIES.early_uwatt
        assert {entry.account for entry in made.last_result.history} == {key("george"), key("anne"), key("bob")}
        assert staked_ugrid(made, "george") == STAKE_UGRID
        settle_up_to(made, NEXT)
        assert [spent_uwatt(made, name) for name in ("anne", "bob")] == [-SURETIES.early_uwatt] * 2
        assert staked_ugrid(made, "george") == 0

    def test_a_seller_who_cannot_pay_goes_on(self) -> None:
        made = with_offer("anne")
        rest = made.account("george").watt_uwatt - 5_000
        do(made, "george", Transfer(recipient=key("carla"), token=1, amount=rest, memo=""))
        assert do(made, "george", END) is Refusal.INSUFFICIENT_WATT
        assert buyers(made)

    def test_a_subscription_ended_before_it_began_leaves_nothing_but_the_penalty(self) -> None:
        made = with_offer("anne", start=NEXT + 3)
        assert do(made, "anne", END) is None
        assert not list(CONTRACT_SUBSCRIPTIONS.scan(made.state))
        assert spent_uwatt(made, "anne") == -spent_uwatt(made, "george") > 0
        assert do(made, "anne", subscription()) is None

    def test_what_has_ended_cannot_be_ended_again(self) -> None:
        made = with_offer("anne")
        made.block()
        for name in ("anne", "george"):
            assert do_at_gate(made, name, END, 0 if name == "anne" else -1) is None
        assert do(made, "anne", END) is Refusal.UNKNOWN_OFFER
        assert do(made, "george", END) is Refusal.UNKNOWN_OFFER


def test_every_uwatt_a_contract_moves_is_told() -> None:
    # Given a contract that lives through subscription, both ways of ending early, and its time
    made = street()
    steps: list[tuple[str, Payload] | None] = [
        ("george", offer()),
        ("anne", subscription()),
        ("bob", subscription()),
        ("bob", EndContract(1)),
        ("carla", offer(end=NEXT + 3)),
        ("bob", subscription(number=2)),
        None,
        ("george", END),
        *[None] * 60,
    ]
    kinds = set()
    for step in steps:
        before = {name: spent_uwatt(made, name) for name in ("anne", "bob", "george")}
        if step is None:
            made.block(producer="carla")
        else:
            assert do(made, *step) is None
        # Then effects alone explain what each has besides fees, block by block
        for name, spent in before.items():
            told = [one for one in made.last_result.effects if one.account == key(name)]
            kinds |= {EffectKind(one.kind).name for one in told}
            assert spent_uwatt(made, name) - spent == -sum(one.balance_uwatt for one in told)
    assert kinds == {"CONTRACT_SECURED", "CONTRACT_PENALTY", "CONTRACT_RELEASED"}
    assert [spent_uwatt(made, name) for name in ("anne", "bob", "george")] == [-10_500, 10_500, 0]
    assert staked_ugrid(made, "carla") == 0


class TestPriceChanges:
    def test_a_fifth_of_what_was_before_and_of_what_each_subscriber_agreed_to(self) -> None:
        made = with_offer("anne")
        assert do(made, "george", change(180_100)) is Refusal.PRICE_CHANGE_TOO_LARGE
        assert do(made, "george", change(119_900)) is Refusal.PRICE_CHANGE_TOO_LARGE
        assert do_at_gate(made, "george", change(180_000), 0) is None
        made.time_ms = (NEXT + 1) * PERIOD_MS
        # 210,000 is within a fifth of 180,000, but not of the 150,000 that anne agreed to
        assert do(made, "george", change(210_000)) is Refusal.PRICE_CHANGE_TOO_LARGE
        assert do(made, "george", change(210_000, anne=170_000)) is None
        assert buyers(made, NEXT + 3)["anne"][0] == 170_000

    def test_nor_in_several_steps_within_one_period(self) -> None:
        made = with_offer()
        made.time_ms = NEXT * PERIOD_MS
        assert do(made, "george", change(180_000)) is None
        assert do(made, "george", change(200_000)) is Refusal.PRICE_CHANGE_TOO_LARGE

    def test_a_subscriber_keeps_a_price(self) -> None:
        made = with_offer("anne")
        assert do(made, "george", change(None, bob=150_000)) is Refusal.NOT_OFFERED

    def test_prices_that_hold_no_more_are_forgotten(self) -> None:
        made = with_offer("anne")
        assert do_at_gate(made, "george", change(160_000), 0) is None
        settle_up_to(made, NEXT)
        assert len(list(OFFER_PRICES.scan(made.state))) == 1
        found = prices_of(made.state, 1, NEXT + 1)
        assert found is not None
        assert found.price == 160_000


class TestTheNameplate:
    def test_contracts_count_among_themselves_while_they_overlap(self) -> None:
        made = with_offer(limit_wh=1_500, end=NEXT + 3)
        assert do(made, "george", offer(501, start=NEXT + 2)) is Refusal.BEYOND_NAMEPLATE
        assert do(made, "george", offer(500, start=NEXT + 2)) is None
        assert do(made, "george", offer(1_500, start=NEXT + 3)) is None
        assert do(made, "george", offer(100, start=NEXT - 5)) is Refusal.BEYOND_NAMEPLATE

    def test_orders_and_contracts_see_each_other(self) -> None:
        made = with_offer(limit_wh=1_500)
        sale = PlaceOrder(int(Side.SELL), (NEXT,), 510, 100_000)
        assert do(made, "george", sale) is Refusal.BEYOND_NAMEPLATE
        assert do(made, "george", ReplaceQuote(NEXT, 0, 0, 510, 100_000)) is Refusal.BEYOND_NAMEPLATE
        assert do(made, "george", replace(sale, energy_wh=500)) is None
        assert do(made, "george", offer(100)) is Refusal.BEYOND_NAMEPLATE
        assert do(made, "george", offer(100, start=NEXT + 1)) is None
        assert do(made, "george", CancelOrder((OrderReference(NEXT, 1),))) is None
        assert do(made, "george", offer(100, end=NEXT + 1)) is None

    def test_at_night_a_contract_that_does_not_deliver_leaves_the_market_its_energy(self) -> None:
        made = street(parameters=replace(SIX_IN_THE_MORNING, utc_offset_minutes=60, forward_periods=40))  # at five p.m.
        assert do(made, "george", offer(2_000, end=NEXT + 96)) is None
        in_the_night = NEXT + 4 * 6
        for period, refusal in ((NEXT, Refusal.BEYOND_NAMEPLATE), (in_the_night, None)):
            assert do(made, "george", PlaceOrder(int(Side.SELL), (period,), 2_000, 100_000)) is refusal


class TestWork:
    def test_an_offer_s_look_into_open_books_is_counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Given books for 96 periods ahead: six units of work each
        made = street(parameters=replace(SIX_IN_THE_MORNING, forward_periods=96))
        monkeypatch.setattr(execute, "MAX_BLOCK_WORK", 7)
        offers = [made.sign(name, offer(100, end=NEXT + 500)) for name in ("anne", "bob", "george")]
        # Then two fit into a block and a third does not
        made.block(*offers[:2], after_ms=1)
        assert len(list(CONTRACT_OFFERS.scan(made.state))) == 2
        again = [made.sign(name, offer(100, end=NEXT + 500)) for name in ("anne", "bob", "george")]
        assert made.is_invalid(*again, after_ms=1)
        monkeypatch.setattr(execution_module, "MAX_TRANSACTION_WORK", 5)
        assert do(made, "george", offer(100, end=NEXT + 500)) is Refusal.TOO_MUCH_WORK


class TestRefused:
    @pytest.mark.parametrize(
        ("payload", "refusal"),
        [
            (offer(template=3), Refusal.MALFORMED),
            (offer(end=NEXT), Refusal.MALFORMED),
            (offer(end=NEXT + 400_001), Refusal.MALFORMED),
            (offer(99), Refusal.OUTSIDE_TEMPLATE),
            (offer(50_001), Refusal.OUTSIDE_TEMPLATE),
            (offer(price=49_900), Refusal.OUTSIDE_TEMPLATE),
            (offer(price=500_100), Refusal.OUTSIDE_TEMPLATE),
            (offer(preferred={"anne": 49_900}), Refusal.OUTSIDE_TEMPLATE),
            (offer(9_999, template=2), Refusal.OUTSIDE_TEMPLATE),
            (offer(10_000, 29_900, template=2), Refusal.OUTSIDE_TEMPLATE),
            (offer(10_000, 1_000_100, template=2), Refusal.OUTSIDE_TEMPLATE),
            (offer(price=150_050), Refusal.OFF_TICK),
            (offer(price=None), Refusal.MALFORMED),
            (
                OfferContract(1, 500, NEXT, NEXT + 1, None, offer(preferred={"anne": 10**5}).preferred * 2),
                Refusal.MALFORMED,
            ),
            (SubscribeContract(1, 0, 150_000), Refusal.AMOUNT_ZERO),
            (change(None), Refusal.MALFORMED),
            (change(150_050), Refusal.OFF_TICK),
            (AttestMember(b"x" * 32, 4), Refusal.MALFORMED),
        ],
    )
    def test_what_no_state_can_mend_has_no_place_in_a_block(self, payload: Payload, refusal: Refusal) -> None:
        made = street()
        transaction = made.sign("bob", payload)
        assert made.admission(transaction) is refusal
        assert made.is_invalid(transaction, after_ms=1)

    @pytest.mark.parametrize(
        ("name", "payload", "refusal"),
        [
            (UTILITY, offer(), Refusal.GATEWAY_DOES_NOT_TRADE),
            (UTILITY, subscription(), Refusal.GATEWAY_DOES_NOT_TRADE),
            ("bob", offer(start=NEXT - 9, end=NEXT), Refusal.BOOK_CLOSED),
            ("bob", offer(2_001), Refusal.BEYOND_NAMEPLATE),
            ("bob", offer(preferred={"bob": 150_000}), Refusal.SAME_ACCOUNT),
            ("bob", offer(preferred={"dora": 150_000}), Refusal.NOT_A_MEMBER),
            ("bob", subscription(number=2), Refusal.UNKNOWN_OFFER),
            ("bob", subscription(99), Refusal.OUTSIDE_TEMPLATE),
            ("bob", subscription(501), Refusal.OUTSIDE_TEMPLATE),
            ("george", subscription(), Refusal.SAME_ACCOUNT),
            ("anne", subscription(), Refusal.ALREADY_SUBSCRIBED),
            ("bob", END, Refusal.NOT_A_PARTY),
            ("bob", EndContract(2), Refusal.UNKNOWN_OFFER),
            ("anne", change(150_000), Refusal.NOT_A_PARTY),
            ("george", change(150_000, number=2), Refusal.UNKNOWN_OFFER),
            ("george", change(49_900), Refusal.OUTSIDE_TEMPLATE),
            ("george", change(150_000, george=150_000), Refusal.SAME_ACCOUNT),
            ("george", change(150_000, dora=150_000), Refusal.NOT_A_MEMBER),
            ("bob", AttestMember(b"x" * 32, 3), Refusal.NOT_APPROVER),
            ("anne", AttestMember(b"x" * 32, 3), Refusal.NOT_A_MEMBER),
        ],
    )
    def test_what_the_state_forbids_changes_nothing(self, name: str, payload: Payload, refusal: Refusal) -> None:
        made = with_offer("anne")
        before = [list(table.scan(made.state)) for table in (CONTRACT_OFFERS, CONTRACT_SUBSCRIPTIONS, OFFER_PRICES)]
        spent = spent_uwatt(made, name), staked_ugrid(made, name)
        assert do(made, name, payload) is refusal
        assert (spent_uwatt(made, name), staked_ugrid(made, name)) == spent
        after = [list(table.scan(made.state)) for table in (CONTRACT_OFFERS, CONTRACT_SUBSCRIPTIONS, OFFER_PRICES)]
        assert after == before

    def test_who_cannot_stake_or_secure(self) -> None:
        poor = street(grid_ugrid=STAKE_UGRID - 1)
        assert do(poor, "george", offer()) is Refusal.INSUFFICIENT_GRID
        made = with_offer()
        rest = made.account("anne").watt_uwatt - SURETIES.collateral_uwatt - 2_000 + 1
        do(made, "anne", Transfer(recipient=key("carla"), token=1, amount=rest, memo=""))
        assert do(made, "anne", subscription()) is Refusal.INSUFFICIENT_WATT

    def test_too_many_contracts_of_one_member(self) -> None:
        made = street(parameters=replace(SIX_IN_THE_MORNING, max_contracts=2))
        assert do(made, "george", offer(100)) is None
        assert do(made, "anne", offer(100)) is None
        assert do(made, "anne", subscription(100)) is None
        assert do(made, "anne", offer(100)) is Refusal.TOO_MANY_CONTRACTS
        assert do(made, "george", offer(100)) is None
        assert do(made, "george", subscription(100, 2)) is Refusal.TOO_MANY_CONTRACTS
        # one that has ended makes room
        assert do(made, "anne", END) is None
        assert do(made, "anne", offer(100)) is None

    def test_too_many_participants(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from dataclasses import replace as with_fields

        few = with_fields(TEMPLATES[1], max_participants=1)
        monkeypatch.setitem(TEMPLATES, 1, few)
        made = with_offer("anne")
        assert do(made, "bob", subscription()) is Refusal.TOO_MANY_PARTICIPANTS

    def test_who_is_no_member_has_no_meter_a_suspended_one_or_no_gateway(self) -> None:
        made = with_offer()
        do(made, "anne", Transfer(recipient=key("dora"), token=1, amount=10**8, memo=""))
        assert do(made, "dora", subscription()) is Refusal.NOT_A_MEMBER
        do(made, "anne", RegisterMember(account=key("dora"), name="dora", roles=int(Role(0)), feeder="feeder-1"))
        assert do(made, "dora", subscription()) is Refusal.NO_CONNECTION_METER
        assert do(street(with_gateway=False), "bob", offer()) is Refusal.NO_GATEWAY
        state = made.state
        found = METERS.get(state, meter_key("bob").public_key)
        assert found is not None
        METERS.put(state, replace(found, suspended=True), meter_key("bob").public_key)
        made.reader.apply(state.changes())
        assert do(made, "bob", offer()) is Refusal.METER_SUSPENDED
        assert do(made, "bob", subscription()) is Refusal.METER_SUSPENDED


def _with_nameplate(made: Neighbourhood, name: str, export_w: int) -> Neighbourhood:
    state = made.state
    found = METERS.get(state, meter_key(name).public_key)
    assert found is not None
    METERS.put(state, replace(found, export_nameplate_w=export_w), meter_key(name).public_key)
    made.reader.apply(state.changes())
    return made
