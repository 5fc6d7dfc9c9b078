"""Settlement in the block: which period is due, what goes into it, and what it leaves in the state.

1. A block settles at most one period, the oldest that is not settled, before its transactions: if its time is at least
   the period's end + ``reading_deadline_ms``, no order of the period is left in a book, and ``settlement_blocks``
   blocks before it have a time at or after the period's end.
2. Connections are the members' connection meters whose first period is not after this one, but for the gateway's. One
   is metered if a reading of exactly this period and the one before it are there; else it is silent.
3. Metered energy mints voting tokens. Trades are paid out of escrow, shortfalls out of the seller's part of it; what is
   left of that goes to the seller. All other lines are claims, summed up for the bills.
   Who is in arrears by then buys nothing under contracts or in pools, which nobody but the buyer's word secures.
4. Without a gateway energy is counted and mints, and nobody owes anything.
5. What the gateway sold less what it bought is what was metered or estimated as import less export: else the program
   is broken.
6. Positions and the feeders' counters of the period are forgotten; trades and certificates after ``history_periods``;
   pools, memberships and contracts that ended with it, stakes and collaterals given back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from msgspec.structs import replace as replaced

from ledger.balances import give_watt
from ledger.block import BrokenInvariant
from ledger.contracts.standing import forget_contracts, offers_in, record_deliveries
from ledger.effects import Effect, EffectKind
from ledger.execution import Execution, get_tip
from ledger.market.grid_fee import amount_uwatt
from ledger.market.terms import end_ms, feeders_of, gateway_of, place_of, tariff_of
from ledger.records import (
    ARREARS,
    FEEDER_FLOWS,
    MARKET_PERIODS,
    MEMBERS,
    METERS,
    ORDERS,
    ORIGINS,
    PERIOD_ENDS,
    POSITIONS,
    READINGS,
    SETTLED_PERIODS,
    SETTLEMENT_PROGRESS,
    TRADES,
    Member,
    Meter,
    MeterRole,
    Origin,
    Origins,
    PeriodEnd,
    Reading,
    SettledPeriod,
    SettlementProgress,
    Silence,
    height_key,
)
from ledger.settlement.cycle_sums import add_period
from ledger.settlement.lines import cycle_of, next_period, record_lines, tell_lines
from ledger.settlement.minting import mint_for_reading
from ledger.settlement.settle import Certificate, Connection, Offer, Period, Pool, Settled, Trade, settle
from ledger.settlement.silence import correct, estimate_wh, remember_import, remember_silence
from ledger.settlement.titles import Title
from ledger.sharing import forget_pools, pools_in
from ledger.state import State

ACCOUNT_BYTES: Final = 32
NOBODY: Final = bytes(ACCOUNT_BYTES)
"""Stands for the gateway where there is none; its lines are recorded nowhere."""


@dataclass(frozen=True, slots=True)
class _Metering:
    """A member's connection meter in a period. ``reading`` is one of the period, whatever it covers."""

    meter: bytes
    connection: Connection
    reading: Reading | None


def settle_due(execution: Execution) -> None:
    """What a block does before its transactions. Errors: BrokenInvariant."""
    state, parameters = execution.state, execution.parameters
    _note_ended_periods(execution)
    period = next_period(state)
    if execution.time_ms < end_ms(parameters, period) + parameters.reading_deadline_ms:
        return
    key, ended = next((key, ended) for key, ended in PERIOD_ENDS.scan(state) if int.from_bytes(key, "big") >= period)
    if execution.height - ended.height < parameters.settlement_blocks or _has_open_orders(state, period):
        return
    _settle(execution, period)
    if int.from_bytes(key, "big") == period:
        PERIOD_ENDS.delete(state, key)
    SETTLEMENT_PROGRESS.put(state, SettlementProgress(next_period=period + 1))
    _forget(execution, period)


def account_for_late_reading(execution: Execution, owner: bytes, meter: bytes, period: int, reading: Reading) -> None:
    """For a connection meter's reading that is accepted after its period was settled."""
    mint_for_reading(execution.state, meter, period, reading)
    if reading.periods == 1:
        remember_import(execution.state, execution.parameters, meter, period, reading.imported_wh)
    correct(execution, owner, period, reading)


def _note_ended_periods(execution: Execution) -> None:
    period_ms = execution.parameters.period_ms
    last_ended = execution.time_ms // period_ms - 1
    if last_ended > get_tip(execution.state).time_ms // period_ms - 1:
        PERIOD_ENDS.put(execution.state, PeriodEnd(height=execution.height), height_key(last_ended))


def _has_open_orders(state: State, period: int) -> bool:
    first = next(ORDERS.scan(state), None)
    return first is not None and int.from_bytes(first[0][:8], "big") <= period


def _settle(execution: Execution, period: int) -> None:
    state = execution.state
    gateway = gateway_of(state)
    meterings = _meterings(execution, period, gateway)
    minted = _mint(state, period, meterings)
    agreed = _agreed(execution, period, gateway or NOBODY, meterings)
    settled = settle(agreed)
    _require_balance(period, settled)
    if gateway is not None:
        record_lines(state, cycle_of(execution, period), settled.lines)
        tell_lines(execution, period, settled.lines)
        add_period(state, cycle_of(execution, period), agreed)
        _pay_from_escrow(execution, period, agreed, settled)
        _put_origins(state, period, settled.certificates)
        record_deliveries(execution, period, settled.deliveries)
    _attend_to_meters(execution, period, meterings, agreed, settled)
    SETTLED_PERIODS.put(state, _summary(execution, meterings, settled, minted), height_key(period))


def _meterings(execution: Execution, period: int, gateway: bytes | None) -> dict[bytes, _Metering]:
    """By member, ascending."""
    state = execution.state
    found = {}
    for account, member in MEMBERS.scan(state):
        key_and_meter = _connection_meter(state, member)
        if key_and_meter is None or account == gateway or key_and_meter[1].first_period > period:
            continue
        key = key_and_meter[0]
        reading = READINGS.get(state, key, height_key(period))
        if reading is not None and reading.periods == 1:
            connection = Connection(place_of(state, member), reading.exported_wh, reading.imported_wh, True)
        else:
            estimate = estimate_wh(state, execution.parameters, key, period)
            connection = Connection(place_of(state, member), 0, estimate, False)
        found[account] = _Metering(key, connection, reading)
    return found


def _connection_meter(state: State, member: Member) -> tuple[bytes, Meter] | None:
    for key in member.meters:
        meter = METERS.get(state, key)
        assert meter is not None, "a member's meters exist"
        if meter.role == MeterRole.CONNECTION:
            return key, meter
    return None


def _mint(state: State, period: int, meterings: dict[bytes, _Metering]) -> int:
    """Mints for the metered, flags in ``meterings`` what came out of storages; returns the sum, mvote."""
    total = 0
    for member, metering in meterings.items():
        if metering.connection.metered:
            assert metering.reading is not None
            minted, given_back_wh = mint_for_reading(state, metering.meter, period, metering.reading)
            flagged = replace(metering.connection, storage_wh=given_back_wh)
            meterings[member] = replace(metering, connection=flagged)
            total += minted
    return total


def _agreed(execution: Execution, period: int, gateway: bytes, meterings: Mapping[bytes, _Metering]) -> Period:
    state = execution.state
    tariff = tariff_of(state, period)
    overdue = frozenset(key[:ACCOUNT_BYTES] for key, _ in ARREARS.scan(state))
    return Period(
        tariff=tariff,
        gateway=gateway,
        connections={member: metering.connection for member, metering in meterings.items()},
        trades=tuple(
            Trade(trade.seller, trade.buyer, trade.energy_wh, trade.price, trade.rate)
            for _, trade in TRADES.scan(state, height_key(period))
        ),
        offers=[_without(overdue, offer) for offer in offers_in(execution, period, tariff)],
        pools=[_without_consumers(overdue, pool) for pool in pools_in(state, period)],
        congested=feeders_of(execution, period, tariff).congested(),
    )


def _without(overdue: frozenset[bytes], offer: Offer) -> Offer:
    kept = {buyer: subscription for buyer, subscription in offer.subscriptions.items() if buyer not in overdue}
    return replace(offer, subscriptions=kept)


def _without_consumers(overdue: frozenset[bytes], pool: Pool) -> Pool:
    return replace(pool, shares_bps={one: bps for one, bps in pool.shares_bps.items() if one not in overdue})


def _require_balance(period: int, settled: Settled) -> None:
    """Errors: BrokenInvariant."""
    accounts = settled.accounts.values()
    gateway_wh = sum(one.drawn_wh + one.shortfall_wh - one.fed_in_wh - one.excess_wh for one in accounts)
    outside_wh = sum(one.import_wh - one.export_wh for one in accounts)
    if gateway_wh != outside_wh:
        raise BrokenInvariant(
            f"period {period}: the gateway delivered {gateway_wh} Wh, the members took {outside_wh} Wh"
        )


def _pay_from_escrow(execution: Execution, period: int, agreed: Period, settled: Settled) -> None:
    """Escrow holds retail and grid fee of all that was sold. Errors: BrokenInvariant if it is not used up."""
    state = execution.state
    market = MARKET_PERIODS.get(state, height_key(period))
    if market is None:
        return
    due: dict[bytes, int] = defaultdict(int)
    for trade in agreed.trades:
        due[trade.seller] += amount_uwatt(trade.energy_wh, agreed.tariff.retail)
        due[agreed.gateway] += amount_uwatt(trade.energy_wh, trade.rate)
    for line in settled.lines:
        if line.title is Title.SHORTFALL:
            due[line.debtor] -= line.amount_uwatt
            due[agreed.gateway] += line.amount_uwatt
    if sum(due.values()) != market.escrow_uwatt or any(amount < 0 for amount in due.values()):
        raise BrokenInvariant(f"period {period}: {market.escrow_uwatt} uwatt in escrow, {sum(due.values())} due")
    MARKET_PERIODS.put(state, replaced(market, escrow_uwatt=0), height_key(period))
    for account in sorted(due):
        give_watt(state, account, due[account])
        _tell_paid(execution, period, account, due[account], settled)


def _tell_paid(execution: Execution, period: int, account: bytes, amount: int, settled: Settled) -> None:
    member = settled.accounts.get(account)
    execution.effects.append(
        Effect(
            kind=EffectKind.PERIOD_PAID,
            transaction=None,
            account=account,
            other=None,
            period=period,
            side=0,
            order=0,
            trade=0,
            energy_wh=0 if member is None else max(0, member.net_wh),
            price=0,
            rate=0,
            balance_uwatt=amount,
        )
    )


def _put_origins(state: State, period: int, certificates: Sequence[Certificate]) -> None:
    sums: dict[tuple[bytes, bytes], tuple[int, int]] = {}
    for certificate in certificates:
        energy_wh, storage_wh = sums.get(certificate[:2], (0, 0))
        sums[certificate[:2]] = (energy_wh + certificate.energy_wh, storage_wh + certificate.storage_wh)
    if sums:
        origins = tuple(Origin(*parties, *energies) for parties, energies in sorted(sums.items()))
        ORIGINS.put(state, Origins(certificates=origins), height_key(period))


def _attend_to_meters(
    execution: Execution, period: int, meterings: Mapping[bytes, _Metering], agreed: Period, settled: Settled
) -> None:
    """Histories of the metered, silences of the others; a gap that ends with this period is made good."""
    state = execution.state
    for member, metering in meterings.items():
        if metering.connection.metered:
            remember_import(state, execution.parameters, metering.meter, period, metering.connection.import_wh)
            continue
        if agreed.gateway != NOBODY:
            net_wh = settled.accounts[member].net_wh
            silence = Silence(
                estimate_wh=metering.connection.import_wh,
                sold_wh=max(0, net_wh),
                bought_wh=max(0, -net_wh),
                offered_wh=sum(offer.limit_wh for offer in agreed.offers if offer.seller == member),
                wanted_wh=sum(
                    offer.subscriptions[member].limit_wh for offer in agreed.offers if member in offer.subscriptions
                ),
                retail=agreed.tariff.retail,
                feed_in=agreed.tariff.feed_in,
                offered_at=min(agreed.tariff.feed_in, _lowest_price(agreed, member)),
            )
            remember_silence(execution, member, period, silence)
        if metering.reading is not None:
            account_for_late_reading(execution, member, metering.meter, period, metering.reading)


def _lowest_price(agreed: Period, seller: bytes) -> int:
    """The lowest that a buyer under the seller's contracts pays, uwatt per kWh; retail if there is none."""
    prices = (
        subscription.price
        for offer in agreed.offers
        if offer.seller == seller
        for subscription in offer.subscriptions.values()
    )
    return min(prices, default=agreed.tariff.retail)


def _summary(
    execution: Execution, meterings: Mapping[bytes, _Metering], settled: Settled, minted_mvote: int
) -> SettledPeriod:
    energy_wh: dict[Title, int] = defaultdict(int)
    for line in settled.lines:
        energy_wh[line.title] += line.energy_wh
    metered = sum(metering.connection.metered for metering in meterings.values())
    return SettledPeriod(
        height=execution.height,
        metered=metered,
        silent=len(meterings) - metered,
        export_wh=sum(account.export_wh for account in settled.accounts.values()),
        import_wh=sum(account.import_wh for account in settled.accounts.values()),
        contract_wh=energy_wh[Title.CONTRACT],
        trade_wh=energy_wh[Title.TRADE],
        property_wh=energy_wh[Title.PROPERTY],
        pool_wh=energy_wh[Title.POOL],
        fed_in_wh=energy_wh[Title.FEED_IN],
        excess_wh=energy_wh[Title.EXCESS],
        drawn_wh=energy_wh[Title.RETAIL],
        shortfall_wh=energy_wh[Title.SHORTFALL],
        certified_wh=sum(certificate.energy_wh for certificate in settled.certificates),
        minted_mvote=minted_mvote,
    )


def _forget(execution: Execution, period: int) -> None:
    state = execution.state
    for table in (POSITIONS, FEEDER_FLOWS):
        for key, _ in table.scan(state, height_key(period)):
            table.delete(state, key)
    forget_pools(state, period)
    forget_contracts(execution, period)
    oldest = period - execution.parameters.history_periods
    if oldest >= 0:
        for key, _ in TRADES.scan(state, height_key(oldest)):
            TRADES.delete(state, key)
        ORIGINS.delete(state, height_key(oldest))
        MARKET_PERIODS.delete(state, height_key(oldest))
