"""Settlement in the block: when a period is due, what is recorded, and what a reading changes that comes late."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ledger.balances import take_watt
from ledger.block import BrokenInvariant
from ledger.records import (
    BILL_LINES,
    IMPORT_HISTORIES,
    LONG_SILENCES,
    MARKET_PERIODS,
    PERIOD_ENDS,
    READINGS,
    SETTLED_PERIODS,
    SILENCES,
    LineKind,
    MarketPeriod,
    MeterKind,
    MeterRole,
    Role,
    SettledPeriod,
    height_key,
)
from ledger.refusal import Refusal
from ledger.settlement.lines import next_period
from ledger.settlement.silence import estimate_wh, time_of_day
from ledger.settlement.titles import Title
from ledger.transactions import RegisterMember, RegisterMeter
from tests.ledger.neighbourhood import (
    FIRST_PERIOD,
    GENESIS_TIME_MS,
    PARAMETERS,
    PERIOD_MS,
    UTILITY,
    Neighbourhood,
    account_key,
    make_genesis,
    meter_key,
    seeded_key,
)

NAMES = {account_key(name).public_key: name for name in ("anne", "bob", "carla", "george", UTILITY)}
RETAIL, FEED_IN = PARAMETERS.retail_uwatt_per_kwh, PARAMETERS.feed_in_uwatt_per_kwh
DEADLINE_MS = PARAMETERS.reading_deadline_ms
# 400 W of the standard household at the first period's hour of the day
ESTIMATE = estimate_wh(Neighbourhood().state, PARAMETERS, meter_key("bob").public_key, FIRST_PERIOD)


def street(**genesis: object) -> Neighbourhood:
    return Neighbourhood(make_genesis(**{"with_gateway": True} | genesis))  # type: ignore[arg-type]


def end_period(made: Neighbourhood, period: int) -> None:
    """The next block comes 2 s after the period's end."""
    made.time_ms = max(made.time_ms, (period + 1) * PERIOD_MS)


def settled(made: Neighbourhood, period: int = FIRST_PERIOD) -> SettledPeriod:
    found = SETTLED_PERIODS.get(made.state, height_key(period))
    assert found is not None
    return found


def lines(made: Neighbourhood) -> list[tuple[str, str, Title, int, int, LineKind]]:
    """(debtor, creditor, title, Wh, uwatt, kind) of all cycles."""
    found = []
    for key, line in BILL_LINES.scan(made.state):
        debtor, creditor, title, kind = key[8:40], key[40:72], Title(key[72]), LineKind(key[81])
        found.append((NAMES[debtor], NAMES[creditor], title, line.energy_wh, line.amount_uwatt, kind))
    return found


class TestWhenAPeriodIsDue:
    def test_only_when_the_deadline_for_readings_has_passed(self) -> None:
        made = street()
        for _ in range(5):
            made.block()
        end_period(made, FIRST_PERIOD)
        for _ in range(4):
            made.block()
        assert next_period(made.state) == FIRST_PERIOD
        due_ms = GENESIS_TIME_MS + PERIOD_MS + DEADLINE_MS
        made.block(after_ms=due_ms - 1 - made.time_ms)
        assert next_period(made.state) == FIRST_PERIOD
        made.block(after_ms=1)
        assert next_period(made.state) == FIRST_PERIOD + 1
        assert settled(made).height == made.height

    def test_only_when_enough_blocks_came_after_its_end(self) -> None:
        made = street()
        made.block(after_ms=PERIOD_MS + DEADLINE_MS)
        for _ in range(PARAMETERS.settlement_blocks - 1):
            made.block()
            assert next_period(made.state) == FIRST_PERIOD
        made.block()
        assert next_period(made.state) == FIRST_PERIOD + 1

    def test_after_a_halt_one_period_a_block_the_oldest_first(self) -> None:
        made = street()
        made.block(after_ms=50 * PERIOD_MS)
        assert [int.from_bytes(key, "big") for key, _ in PERIOD_ENDS.scan(made.state)] == [FIRST_PERIOD + 49]
        for _ in range(PARAMETERS.settlement_blocks - 1):
            made.block(after_ms=1)
        for period in range(FIRST_PERIOD, FIRST_PERIOD + 10):
            made.block(after_ms=1)
            assert next_period(made.state) == period + 1

    def test_the_block_that_settles_takes_its_own_readings_as_late(self) -> None:
        made = street()
        end_period(made, FIRST_PERIOD)
        while made.time_ms < GENESIS_TIME_MS + PERIOD_MS + DEADLINE_MS - 2_000:
            made.block()
        made.block(made.reading("bob", FIRST_PERIOD, 100, 0))
        assert next_period(made.state) == FIRST_PERIOD + 1
        assert (settled(made).metered, settled(made).silent) == (0, 4)
        assert ("utility", "bob", Title.RETAIL, ESTIMATE - 100, (ESTIMATE - 100) * 300, LineKind.CORRECTION) in lines(
            made
        )


class TestWhatIsRecorded:
    def metered(self, **genesis: object) -> Neighbourhood:
        made = street(**genesis)
        end_period(made, FIRST_PERIOD)
        made.block(
            made.reading("anne", FIRST_PERIOD, 150, 900),
            made.reading("bob", FIRST_PERIOD, 400, 0),
            made.reading("carla", FIRST_PERIOD, 0, 0),
            made.reading("george", FIRST_PERIOD, 50, 2_000),
        )
        made.settle_all()
        return made

    def test_lines_with_the_gateway_are_claims_and_move_no_tokens(self) -> None:
        made = self.metered()
        found = [line for line in lines(made) if line[5] is LineKind.METERED]
        assert sorted(found) == sorted(
            [
                ("anne", UTILITY, Title.RETAIL, 150, 45_000, LineKind.METERED),
                ("bob", UTILITY, Title.RETAIL, 400, 120_000, LineKind.METERED),
                ("george", UTILITY, Title.RETAIL, 50, 15_000, LineKind.METERED),
                (UTILITY, "anne", Title.FEED_IN, 900, 72_000, LineKind.METERED),
                (UTILITY, "george", Title.FEED_IN, 2_000, 160_000, LineKind.METERED),
            ]
        )
        assert made.account("bob").watt_uwatt == 1_000_000_000

    def test_the_period_in_sum(self) -> None:
        summary = settled(self.metered())
        assert (summary.metered, summary.silent) == (4, 0)
        assert (summary.export_wh, summary.import_wh) == (2_900, 600)
        assert (summary.fed_in_wh, summary.drawn_wh, summary.minted_mvote) == (2_900, 600, 2_900)

    def test_the_same_lines_of_several_periods_add_up(self) -> None:
        made = self.metered()
        end_period(made, FIRST_PERIOD + 1)
        made.block(made.reading("bob", next_period(made.state), 1_000, 0))
        before = next(
            line for line in lines(made) if line[:3] == ("bob", UTILITY, Title.RETAIL) and line[5] is LineKind.METERED
        )
        made.settle_all()
        after = [
            line for line in lines(made) if line[:3] == ("bob", UTILITY, Title.RETAIL) and line[5] is LineKind.METERED
        ]
        assert len(after) == 1
        assert after[0][3] >= before[3]

    def test_without_a_gateway_energy_mints_and_nobody_owes_anything(self) -> None:
        made = self.metered(with_gateway=False)
        assert lines(made) == []
        assert settled(made).minted_mvote == 2_900
        assert not list(SILENCES.scan(made.state))

    def test_members_without_a_meter_and_meters_of_later_take_no_part(self) -> None:
        made = street()
        end_period(made, FIRST_PERIOD)
        newcomer = RegisterMember(account=account_key("dora").public_key, name="dora", roles=0, feeder="feeder-1")
        made.block(made.sign("anne", newcomer))
        meter = RegisterMeter(
            meter=meter_key("dora").public_key,
            owner=account_key("dora").public_key,
            kind=MeterKind.LOAD,
            role=MeterRole.CONNECTION,
            import_nameplate_w=11_000,
            export_nameplate_w=0,
            storage_capacity_wh=0,
            import_wh=50_000,
            export_wh=20_000,
        )
        made.block(made.sign("anne", meter))
        while next_period(made.state) < FIRST_PERIOD + 2:
            made.block()
        assert settled(made).silent == 4
        assert settled(made, FIRST_PERIOD + 1).silent == 5

    def test_readings_are_kept_until_their_period_is_settled(self) -> None:
        parameters = replace(PARAMETERS, reading_deadline_ms=200_000)
        made = street(parameters=parameters)
        end_period(made, FIRST_PERIOD)
        made.block(made.reading("bob", FIRST_PERIOD, 100, 0))
        made.time_ms += parameters.acceptance_window_ms
        while made.height % parameters.epoch_blocks:
            made.block()
        assert READINGS.get(made.state, meter_key("bob").public_key, height_key(FIRST_PERIOD)) is not None


class TestSilence:
    def test_the_standard_profile_of_the_hour_where_nothing_was_ever_metered(self) -> None:
        made = street()
        end_period(made, FIRST_PERIOD)
        made.block()
        made.settle_all()
        assert ("bob", UTILITY, Title.RETAIL, ESTIMATE, ESTIMATE * 300, LineKind.ESTIMATED) in lines(made)
        assert settled(made).import_wh == 4 * ESTIMATE
        assert 39 <= ESTIMATE <= 144, "400 W make 100 Wh in a quarter of an hour, times 39 to 144 %"

    def test_the_largest_of_the_last_three_metered_days_at_this_time(self) -> None:
        made = street()
        key = meter_key("bob").public_key
        per_day = 96
        imported = 0
        for day, growth in enumerate((900, 100, 300, 200)):
            period = FIRST_PERIOD + day * per_day
            end_period(made, period)
            if day:
                made.block(made.reading("bob", period - 1, imported, 0))
            imported += growth
            made.block(made.reading("bob", period, imported, 0))
            made.settle_all()
        history = IMPORT_HISTORIES.get(made.state, key, height_key(time_of_day(PARAMETERS, FIRST_PERIOD)))
        assert history is not None
        assert history.imports_wh == (200, 300, 100)
        assert estimate_wh(made.state, PARAMETERS, key, FIRST_PERIOD + 9 * per_day) == 300

    def test_a_late_reading_is_corrected_in_the_open_cycle(self) -> None:
        made = street()
        end_period(made, FIRST_PERIOD)
        made.block()
        made.settle_all()
        made.block(made.reading("bob", FIRST_PERIOD, 500, 70))
        found = [line for line in lines(made) if line[5] is LineKind.CORRECTION]
        more_wh = 500 - ESTIMATE
        assert found == [
            ("bob", UTILITY, Title.RETAIL, more_wh, more_wh * 300, LineKind.CORRECTION),
            (UTILITY, "bob", Title.FEED_IN, 70, 5_600, LineKind.CORRECTION),
        ] or found == [
            (UTILITY, "bob", Title.FEED_IN, 70, 5_600, LineKind.CORRECTION),
            ("bob", UTILITY, Title.RETAIL, more_wh, more_wh * 300, LineKind.CORRECTION),
        ]
        assert SILENCES.get(made.state, account_key("bob").public_key, height_key(FIRST_PERIOD)) is None

    def test_a_gap_is_settled_by_the_next_registers(self) -> None:
        made = street()
        end_period(made, FIRST_PERIOD + 2)
        made.block(made.reading("bob", FIRST_PERIOD + 2, 2_000, 300))
        while next_period(made.state) < FIRST_PERIOD + 3:
            made.block()
        estimates = sum(
            estimate_wh(made.state, PARAMETERS, meter_key("bob").public_key, FIRST_PERIOD + index) for index in range(3)
        )
        found = {line[:4] for line in lines(made) if line[5] is LineKind.CORRECTION}
        assert found == {
            ("bob", UTILITY, Title.RETAIL, 2_000 - estimates),
            (UTILITY, "bob", Title.FEED_IN, 300),
        }

    def test_a_long_silence_is_kept_as_one_record_and_settled_by_the_next_registers(self) -> None:
        made = street()
        periods = 15  # the acceptance window has ten
        end_period(made, FIRST_PERIOD + periods - 1)
        made.block()
        made.settle_all()
        while next_period(made.state) < FIRST_PERIOD + 25:
            made.block()
        bob = account_key("bob").public_key
        kept = [int.from_bytes(key[32:], "big") for key, _ in SILENCES.scan(made.state, bob)]
        assert len(kept) <= 11
        assert LONG_SILENCES.get(made.state, bob) is not None
        last = next_period(made.state) - 1
        meter = meter_key("bob").public_key
        estimates = sum(
            estimate_wh(made.state, PARAMETERS, meter, FIRST_PERIOD + index) for index in range(last + 1 - FIRST_PERIOD)
        )
        made.block(made.reading("bob", last, estimates + 40, 0))
        assert {line[:4] for line in lines(made) if line[5] is LineKind.CORRECTION} == {
            ("bob", UTILITY, Title.RETAIL, 40)
        }
        assert LONG_SILENCES.get(made.state, bob) is None
        assert not list(SILENCES.scan(made.state, bob))

    def test_a_gap_that_a_halt_made_old_is_settled_by_the_reading_that_came_before_it(self) -> None:
        made = street()
        end_period(made, FIRST_PERIOD + 1)
        made.block(made.reading("bob", FIRST_PERIOD + 1, 2_000, 0))
        made.time_ms += PARAMETERS.acceptance_window_ms + 1
        while next_period(made.state) < FIRST_PERIOD + 2:
            made.block()
        estimates = 2 * ESTIMATE
        assert ("bob", UTILITY, Title.RETAIL, 2_000 - estimates) in {
            line[:4] for line in lines(made) if line[5] is LineKind.CORRECTION
        }
        assert LONG_SILENCES.get(made.state, account_key("bob").public_key) is None

    def test_the_reading_after_a_gap_that_ends_in_an_open_period_is_exact_again(self) -> None:
        made = street()
        end_period(made, FIRST_PERIOD + 1)
        made.block(made.reading("bob", FIRST_PERIOD + 1, 2_000, 0))
        end_period(made, FIRST_PERIOD + 2)
        made.block(made.reading("bob", FIRST_PERIOD + 2, 2_100, 0))
        while next_period(made.state) < FIRST_PERIOD + 3:
            made.block()
        assert [settled(made, FIRST_PERIOD + index).metered for index in range(3)] == [0, 0, 1]


class TestTheGateway:
    def test_there_is_one(self) -> None:
        made = street()
        second = RegisterMember(
            account=account_key("rival").public_key, name="rival", roles=int(Role.GATEWAY), feeder="feeder-1"
        )
        assert made.refusal(made.sign("anne", second)) is Refusal.ONE_GATEWAY

    def test_one_may_be_registered_later(self) -> None:
        made = street(with_gateway=False)
        first = RegisterMember(
            account=account_key(UTILITY).public_key, name=UTILITY, roles=int(Role.GATEWAY), feeder="feeder-1"
        )
        assert made.refusal(made.sign("anne", first)) is None
        end_period(made, FIRST_PERIOD)
        made.block()
        made.settle_all()
        assert {line[1] for line in lines(made)} == {UTILITY}

    def test_its_own_meter_is_not_settled(self) -> None:
        made = street()
        meter = RegisterMeter(
            meter=seeded_key("substation").public_key,
            owner=account_key(UTILITY).public_key,
            kind=MeterKind.LOAD,
            role=MeterRole.CONNECTION,
            import_nameplate_w=11_000,
            export_nameplate_w=0,
            storage_capacity_wh=0,
            import_wh=50_000,
            export_wh=20_000,
        )
        assert made.refusal(made.sign("anne", meter)) is None
        end_period(made, FIRST_PERIOD)
        made.block()
        made.settle_all()
        late = made.reading(UTILITY, FIRST_PERIOD, 5, 0, key=seeded_key("substation"))
        assert made.refusal(late) is None
        assert settled(made).silent == 4
        assert not [line for line in lines(made) if line[5] is LineKind.CORRECTION]


def test_escrow_that_is_not_used_up_stops_the_node() -> None:
    made = street()
    state = made.state
    MARKET_PERIODS.put(state, MarketPeriod(escrow_uwatt=1), height_key(FIRST_PERIOD))
    take_watt(state, account_key("bob").public_key, 1)
    made.reader.apply(state.changes())
    end_period(made, FIRST_PERIOD)
    made.block()
    with pytest.raises(BrokenInvariant, match="1 uwatt in escrow, 0 due"):
        made.settle_all()
