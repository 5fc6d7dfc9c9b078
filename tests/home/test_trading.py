"""The autopilot at work on a real node: orders placed, met, taken out, refused; nothing of them remembered here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import trio

from devnet.making import free_ports
from home.autopilot import Cancel, Limits, Place
from home.history import History, Registers
from home.trading import Done, Owner, Trader, parameters_of, payload_of, sentence
from ledger.keys import SigningKey
from ledger.market.matching import Side
from ledger.parameters import Parameters
from ledger.records import MeterKind, Role
from ledger.transactions import CancelOrder, OrderReference, PlaceOrder
from node.client.client import NodeClient
from node.client.errors import UnexpectedAnswer
from node.client.wallet import sign_and_submit, wait_final
from node.clock import system_wall_ms
from node.founding import MemberPlan, MeterPlan
from tests.home.lone_home import ANNE, METER_KEY, PARAMETERS, PERIOD_MS, LoneHome, until

TEST_WITHIN_S = 90
BOB, BOBS_METER, UTILITY = SigningKey(b"b" * 32), SigningKey(b"B" * 32), SigningKey(b"u" * 32)
MARKET: Parameters = msgspec.structs.replace(PARAMETERS, period_ms=PERIOD_MS, gate_closure_ms=1_000)
DAY = 96
OWNER = Owner(Limits(), yearly_kwh=4_000)


@pytest.fixture
def home(tmp_path: Path) -> LoneHome:
    bob = MemberPlan(
        name="bob",
        feeder="F1",
        account=BOB.public_key,
        watt_uwatt=100_000_000,
        meter=MeterPlan(BOBS_METER.public_key, MeterKind.LOAD, 17_250, 0),
    )
    utility = MemberPlan(
        name="utility", feeder="F1", account=UTILITY.public_key, roles=Role.GATEWAY, watt_uwatt=100_000_000
    )
    return LoneHome(tmp_path, free_ports(1)[0], parameters=MARKET, neighbours=(bob, utility))


def history_of(directory: Path, home: LoneHome, in_wh: int, out_wh: int) -> History:
    """Two days alike, up to now."""
    directory.mkdir(exist_ok=True)
    history, now = History(directory, 7 * DAY), system_wall_ms() // PERIOD_MS
    for number in range(2 * DAY):
        history.add(Registers(now - 2 * DAY + number, number * in_wh, number * out_wh))
    return history


class Told:
    """Who hears of every action."""

    def __init__(self) -> None:
        self.done: list[Done] = []


@contextmanager
def within() -> Iterator[None]:
    with trio.fail_after(TEST_WITHIN_S):
        yield


async def waking(one: Trader) -> None:
    """A reading each period."""
    while True:
        one.wake()
        await trio.sleep(PERIOD_MS / 1000)


async def until_sold(client: NodeClient, who: str) -> int:
    """What somebody has sold, once it is something, Wh."""
    while True:
        sold_wh = sum(one.sold_wh for one in (await client.positions(who)).positions)
        if sold_wh:
            return sold_wh
        await trio.sleep(0.1)


def trader(
    client: NodeClient, key: SigningKey, meter: SigningKey, history: History, owner: Owner, told: Told
) -> Trader:
    return Trader(client, key, meter.public_key, owner, history, system_wall_ms, told.done.append)


@pytest.mark.trio
async def test_a_surplus_and_a_need_meet(home: LoneHome, tmp_path: Path) -> None:
    told = Told()
    with within():
        async with home.running(), NodeClient(home.url) as client, trio.open_nursery() as nursery:
            # Given anne, who has had a surplus for two days, and bob, who has had a need
            anne = trader(client, ANNE, METER_KEY, history_of(tmp_path / "anne", home, 0, 800), OWNER, told)
            bob = trader(client, BOB, BOBS_METER, history_of(tmp_path / "bob", home, 600, 0), OWNER, told)
            nursery.start_soon(anne.run)
            nursery.start_soon(bob.run)
            # When each takes its readings
            nursery.start_soon(waking, anne)
            nursery.start_soon(waking, bob)
            # Then they trade with each other, and every action is explained in a line
            sold_wh = await until_sold(client, "anne")
            bought = [one.bought_wh for one in (await client.positions("bob")).positions]
            assert sum(bought) >= sold_wh
            assert any("sell" in done.action for done in told.done)
            assert all("\n" not in done.line and ":" in done.line for done in told.done)
            nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_a_restart_finds_its_orders_at_the_node(home: LoneHome, tmp_path: Path) -> None:
    told, again = Told(), Told()
    with within():
        async with home.running(), NodeClient(home.url) as client:
            history = history_of(tmp_path / "anne", home, 0, 800)
            # Given a home that has placed its orders, and was killed
            async with trio.open_nursery() as nursery:
                first = trader(client, ANNE, METER_KEY, history, OWNER, told)
                nursery.start_soon(first.run)
                nursery.start_soon(waking, first)
                await until(lambda: any(done.result == "final" for done in told.done))
                nursery.cancel_scope.cancel()
            before = {one.period for one in (await client.open_orders("anne")).orders}
            assert before
            # When it is started again
            async with trio.open_nursery() as nursery:
                second = trader(client, ANNE, METER_KEY, history, OWNER, again)
                nursery.start_soon(second.run)
                second.wake()
                await until(lambda: second.state == "trades" and (second.open_orders > 0 or bool(again.done)))
                nursery.cancel_scope.cancel()
            # Then no period has two orders
            periods = [one.period for one in (await client.open_orders("anne")).orders]
            assert len(periods) == len(set(periods))


@pytest.mark.trio
async def test_what_the_owner_forbids_is_not_done(home: LoneHome, tmp_path: Path) -> None:
    told = Told()
    forbidden = replace(OWNER, limits=Limits(enabled=False))
    selling_dear = replace(OWNER, limits=Limits(min_sell_price=290_000, max_energy_wh=100))
    with within():
        async with home.running(), NodeClient(home.url) as client, trio.open_nursery() as nursery:
            # Given an owner who has switched the autopilot off
            history = history_of(tmp_path / "anne", home, 0, 800)
            off = trader(client, ANNE, METER_KEY, history, forbidden, told)
            nursery.start_soon(off.run)
            off.wake()
            await until(lambda: off.state.startswith("off"))
            assert told.done == []
            # And then sells no more than a little, and dear
            on = trader(client, ANNE, METER_KEY, history, selling_dear, told)
            nursery.start_soon(on.run)
            nursery.start_soon(waking, on)
            await until(lambda: any(done.result == "final" for done in told.done))
            for order in (await client.open_orders("anne")).orders:
                assert order.limit_uwatt_per_kwh >= 290_000
                assert order.energy_wh <= 100
            nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_while_the_node_is_away_nothing_is_decided(home: LoneHome, tmp_path: Path) -> None:
    told = Told()
    with within():
        async with NodeClient(home.url) as client, trio.open_nursery() as nursery:
            one = trader(client, ANNE, METER_KEY, history_of(tmp_path / "anne", home, 0, 800), OWNER, told)
            nursery.start_soon(one.run)
            one.wake()
            await until(lambda: one.state.startswith("waits"))
            # When it is back, the next reading is traded on
            async with home.running():
                one.wake()
                await until(lambda: one.state == "trades")
            nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_a_refusal_is_said_and_is_no_end(home: LoneHome, tmp_path: Path) -> None:
    told = Told()
    with within():
        async with home.running(), NodeClient(home.url) as client, trio.open_nursery() as nursery:
            # Given an account whose tokens are gone between the look and the order
            one = trader(client, BOB, BOBS_METER, history_of(tmp_path / "bob", home, 600, 0), OWNER, told)
            nursery.start_soon(one.run)
            period = system_wall_ms() // PERIOD_MS + 30
            action = Place(Side.SELL, (period,), 500, 200_000, "bob sells what he does not have")
            # When an order is refused
            async with trio.open_nursery() as waiting:
                await one._act(action, waiting, 10.0)
            # Then it was told with its word
            assert [done.result for done in told.done] != ["final"]
            assert "refused" in told.done[0].result or "nameplate" in told.done[0].result
            # And the next view is a new one
            one.wake()
            await until(lambda: one.state == "trades")
            nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_own_orders_are_not_others(home: LoneHome, tmp_path: Path) -> None:
    with within():
        async with home.running(), NodeClient(home.url) as client:
            # Given a person who trades beside the autopilot with the same wallet
            period = system_wall_ms() // PERIOD_MS + 40
            placed = await sign_and_submit(client, ANNE, PlaceOrder(int(Side.SELL), (period,), 200, 250_000))
            await wait_final(client, placed.id.hex())
            one = trader(client, ANNE, METER_KEY, history_of(tmp_path / "anne", home, 0, 800), OWNER, Told())
            assert (await one._book(period)).asks == ()
            other = trader(client, BOB, BOBS_METER, history_of(tmp_path / "bob", home, 1, 0), OWNER, Told())
            assert (await other._book(period)).asks == ((250_000, 200),)
            assert [own.period for own in await one._own_orders()] == [period]


def test_actions_are_the_chains_transactions() -> None:
    place = Place(Side.BUY, (7, 8), 120, 200_000, "because")
    assert payload_of(place) == PlaceOrder(1, (7, 8), 120, 200_000)
    assert sentence(place) == "because"
    cancel = Cancel(((7, 3),), "the forecast has changed")
    assert payload_of(cancel) == CancelOrder((OrderReference(7, 3),))
    assert sentence(cancel) == "takes out 1 order: the forecast has changed"


@pytest.mark.trio
async def test_a_node_that_knows_fewer_parameters_is_told_apart(home: LoneHome) -> None:
    async with home.running(), NodeClient(home.url) as client:
        found = await client.parameters()
    assert parameters_of(found) == MARKET
    fewer = {name: value for name, value in found.parameters.items() if name != "gate_closure_ms"}
    with pytest.raises(UnexpectedAnswer, match="gate_closure_ms"):
        parameters_of(msgspec.structs.replace(found, parameters=fewer))
