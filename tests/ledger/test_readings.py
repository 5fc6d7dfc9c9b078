"""Meter readings: every refusal, evidence of double signing, and what energy mints."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from ledger.pools import expel
from ledger.readings import METER_SUSPENDED_NOTE
from ledger.records import (
    ENERGY_TOTALS,
    METERS,
    READINGS,
    CandidateStatus,
    EnergyTotals,
    MeterKind,
    MeterRole,
    RuleTarget,
    height_key,
)
from ledger.refusal import Refusal
from ledger.transactions import (
    PhaseSample,
    RegisterMeter,
    SetVotingRule,
    Transaction,
    sign_transaction,
)
from tests.ledger.neighbourhood import (
    FIRST_PERIOD,
    GENESIS_TIME_MS,
    PARAMETERS,
    PERIOD_MS,
    Neighbourhood,
    account_key,
    make_genesis,
    meter_key,
    seeded_key,
)

# 8 kW export and 11 kW import nameplate in a quarter of an hour of the meter's clock, with 110 %
EXPORT_LIMIT_WH = 2_200
IMPORT_LIMIT_WH = 3_025
BALLOT = PARAMETERS.initial_ballot_mvote


def street_after(periods: int = 1, **genesis: Any) -> Neighbourhood:
    """A street whose next block comes 2 s after the end of that many periods."""
    street = Neighbourhood(make_genesis(**genesis))
    street.time_ms = GENESIS_TIME_MS + periods * PERIOD_MS
    return street


def totals(street: Neighbourhood) -> EnergyTotals:
    return ENERGY_TOTALS.get(street.state) or EnergyTotals()


def with_payload(street: Neighbourhood, **fields: Any) -> Transaction:
    payload = street.reading("bob", FIRST_PERIOD, 10, 20).payload
    return sign_transaction(meter_key("bob"), street.chain_id, replace(payload, **fields))


class TestAccepted:
    def test_registers_totals_and_votes_advance_and_no_fee_is_taken(self) -> None:
        street = street_after()
        before = street.account("bob")
        reading = street.reading("bob", FIRST_PERIOD, 300, 700)
        (receipt,) = street.block(reading)

        assert (receipt.refusal, receipt.note, receipt.fee_uwatt) == (None, "", 0)
        meter = street.meter("bob")
        assert (meter.last_period, meter.import_wh, meter.export_wh) == (FIRST_PERIOD, 50_300, 20_700)
        assert totals(street) == EnergyTotals(import_wh=300, export_wh=700, readings=1)
        assert street.account("bob") == before
        assert street.candidate("bob").pool_mvote == BALLOT - BALLOT // PARAMETERS.ante_divisor + 700
        held = READINGS.get(street.state, meter_key("bob").public_key, height_key(FIRST_PERIOD))
        assert held is not None
        assert (held.transaction_id, held.minted_mvote) == (reading.id, 700)
        assert [entry.account for entry in street.last_result.history] == [account_key("bob").public_key]

    def test_a_gap_is_bridged_by_the_next_registers(self) -> None:
        street = street_after(3)
        (receipt,) = street.block(street.reading("bob", FIRST_PERIOD + 2, 3 * IMPORT_LIMIT_WH, 3 * EXPORT_LIMIT_WH))
        assert receipt.refusal is None

    def test_several_periods_of_one_meter_fit_in_one_block(self) -> None:
        street = street_after(2)
        receipts = street.block(
            street.reading("bob", FIRST_PERIOD + 1, 20, 20), street.reading("bob", FIRST_PERIOD, 10, 10)
        )
        assert [receipt.refusal for receipt in receipts] == [None, None]
        assert street.meter("bob").import_wh == 50_020

    def test_exactly_what_the_nameplate_allows_is_accepted(self) -> None:
        street = street_after()
        assert not street.is_invalid(street.reading("bob", FIRST_PERIOD, IMPORT_LIMIT_WH, EXPORT_LIMIT_WH))

    @pytest.mark.parametrize("shift_ms", [-3_000, 0, 2_000])
    def test_sampling_may_be_a_little_off(self, shift_ms: int) -> None:
        street = street_after()
        at_ms = GENESIS_TIME_MS + PERIOD_MS + shift_ms
        assert not street.is_invalid(street.reading("bob", FIRST_PERIOD, 1, 1, sampled_at_ms=at_ms))

    def test_phases_and_the_root_of_the_samples_are_recorded_with_the_transaction(self) -> None:
        street = street_after()
        phase = PhaseSample(voltage_mv=230_000, frequency_mhz=50_000, power_factor_milli=990)
        reading = with_payload(street, phases=(phase,) * 3, samples_root=bytes(32))
        assert street.refusal(reading) is None


class TestRefused:
    """A reading that is refused has no place in a block, and changes nothing."""

    def assert_refused(self, street: Neighbourhood, reading: Transaction, refusal: Refusal) -> None:
        assert street.admission(reading, after_ms=2_000) is refusal
        assert street.is_invalid(reading)

    def test_an_unknown_meter(self) -> None:
        street = street_after()
        for key in (seeded_key("no meter"), account_key("bob")):
            self.assert_refused(street, street.reading("bob", FIRST_PERIOD, 1, 1, key=key), Refusal.UNKNOWN_METER)

    def test_registers_that_run_backwards(self) -> None:
        street = street_after()
        self.assert_refused(street, street.reading("bob", FIRST_PERIOD, -1, 0), Refusal.REGISTERS_BACKWARDS)
        self.assert_refused(street, street.reading("bob", FIRST_PERIOD, 0, -1), Refusal.REGISTERS_BACKWARDS)

    def test_more_than_the_nameplate_allows(self) -> None:
        street = street_after()
        for import_wh, export_wh in ((IMPORT_LIMIT_WH + 1, 0), (0, EXPORT_LIMIT_WH + 1), (2**62, 0)):
            reading = street.reading("bob", FIRST_PERIOD, import_wh, export_wh)
            self.assert_refused(street, reading, Refusal.ABOVE_NAMEPLATE)

    def test_a_period_at_or_before_the_last_of_which_nothing_is_held(self) -> None:
        street = street_after(2)
        street.block(street.reading("bob", FIRST_PERIOD + 1, 10, 10))
        for period in (FIRST_PERIOD, FIRST_PERIOD - 1):
            reading = street.reading("bob", period, 10, 10)
            self.assert_refused(street, reading, Refusal.PERIOD_NOT_INCREASING)

    def test_the_period_before_the_meters_first(self) -> None:
        street = street_after()
        reading = street.reading("bob", FIRST_PERIOD - 1, 0, 0)
        self.assert_refused(street, reading, Refusal.PERIOD_NOT_INCREASING)

    @pytest.mark.parametrize(("late_ms", "invalid"), [(0, False), (1, True)])
    def test_the_window_ends_to_the_millisecond(self, late_ms: int, invalid: bool) -> None:
        street = Neighbourhood()
        after_ms = PERIOD_MS + PARAMETERS.acceptance_window_ms + late_ms
        assert street.is_invalid(street.reading("bob", FIRST_PERIOD, 1, 1), after_ms=after_ms) is invalid

    def test_a_period_outside_the_acceptance_window(self) -> None:
        street = street_after(11)
        assert street.admission(street.reading("bob", FIRST_PERIOD, 1, 1), after_ms=2_000) is Refusal.OUTSIDE_WINDOW
        assert street.is_invalid(street.reading("bob", FIRST_PERIOD, 1, 1))
        assert not street.is_invalid(street.reading("bob", FIRST_PERIOD + 1, 1, 1))

    def test_a_period_that_has_not_ended(self) -> None:
        street = street_after()
        reading = street.reading("bob", FIRST_PERIOD + 1, 1, 1)
        self.assert_refused(street, reading, Refusal.PERIOD_NOT_ENDED)
        far = street.reading("bob", 2**62, 1, 1, sampled_at_ms=5)
        self.assert_refused(street, far, Refusal.PERIOD_NOT_ENDED)

    @pytest.mark.parametrize("shift_ms", [-3_001, 3_001, -(10**9)])
    def test_sampling_too_far_from_the_periods_end(self, shift_ms: int) -> None:
        street = street_after(2)
        reading = street.reading("bob", FIRST_PERIOD, 1, 1, sampled_at_ms=GENESIS_TIME_MS + PERIOD_MS + shift_ms)
        self.assert_refused(street, reading, Refusal.SAMPLED_OUTSIDE_TOLERANCE)

    def test_sampling_after_the_block_waits_for_a_later_block(self) -> None:
        street = street_after()
        reading = street.reading("bob", FIRST_PERIOD, 1, 1, sampled_at_ms=GENESIS_TIME_MS + PERIOD_MS + 2_001)

        assert street.is_invalid(reading)
        assert street.admission(reading, after_ms=2_000) is None
        street.block()
        assert street.refusal(reading) is None

    def test_a_reading_just_before_its_periods_end_waits_for_a_later_block(self) -> None:
        street = Neighbourhood()
        reading = street.reading("bob", FIRST_PERIOD, 1, 1, sampled_at_ms=GENESIS_TIME_MS + PERIOD_MS - 500)

        assert street.admission(reading, after_ms=PERIOD_MS - 500) is None
        assert street.is_invalid(reading, after_ms=PERIOD_MS - 1)
        assert not street.is_invalid(reading, after_ms=PERIOD_MS)

    def test_the_same_reading_again(self) -> None:
        street = street_after()
        reading = street.reading("bob", FIRST_PERIOD, 1, 1)
        assert street.is_invalid(reading, reading)
        street.block(reading)
        self.assert_refused(street, reading, Refusal.DUPLICATE)

    def test_an_envelope_that_is_not_empty(self) -> None:
        street = street_after()
        payload = street.reading("bob", FIRST_PERIOD, 1, 1).payload
        for fields in ({"nonce": 1}, {"fee_uwatt": 1_000}, {"valid_until_height": 5}):
            reading = sign_transaction(meter_key("bob"), street.chain_id, payload, **fields)
            self.assert_refused(street, reading, Refusal.MALFORMED)

    def test_more_than_three_phases(self) -> None:
        street = street_after()
        phase = PhaseSample(voltage_mv=1, frequency_mhz=1, power_factor_milli=1)
        self.assert_refused(street, with_payload(street, phases=(phase,) * 4), Refusal.MALFORMED)


class TestTwoReadingsForOnePeriod:
    def test_the_second_suspends_the_meter_and_mints_nothing(self) -> None:
        street = street_after()
        street.block(street.reading("bob", FIRST_PERIOD, 10, 20))
        before, minted = street.meter("bob"), street.supply().votes_minted_mvote
        second = street.reading("bob", FIRST_PERIOD, 10, 2_000)
        assert street.admission(second) is None
        (receipt,) = street.block(second)

        assert (receipt.refusal, receipt.note) == (None, METER_SUSPENDED_NOTE)
        assert street.meter("bob") == replace(before, suspended=True)
        assert street.supply().votes_minted_mvote == minted
        assert totals(street).readings == 1

    def test_it_is_evidence_whatever_it_says(self) -> None:
        street = street_after()
        street.block(street.reading("bob", FIRST_PERIOD, 10, 20))
        (receipt,) = street.block(street.reading("bob", FIRST_PERIOD, -50_000, 2**62, sampled_at_ms=0))
        assert receipt.note == METER_SUSPENDED_NOTE

    def test_both_in_one_block_take_effect_in_the_order_of_their_ids(self) -> None:
        street = street_after()
        readings = [street.reading("bob", FIRST_PERIOD, 10, export_wh) for export_wh in (20, 30)]
        receipts = street.block(*readings)

        first, second = sorted(range(2), key=lambda index: readings[index].id)
        assert (receipts[first].note, receipts[second].note) == ("", METER_SUSPENDED_NOTE)
        assert street.meter("bob").export_wh == 20_000 + (20, 30)[first]

    def test_a_suspended_meter_is_refused_from_then_on(self) -> None:
        street = street_after(2)
        street.block(street.reading("bob", FIRST_PERIOD, 10, 20), street.reading("bob", FIRST_PERIOD, 10, 30))
        later = street.reading("bob", FIRST_PERIOD + 1, 20, 40)

        assert street.admission(later) is Refusal.METER_SUSPENDED
        assert street.is_invalid(later)
        assert street.admission(street.reading("bob", FIRST_PERIOD, 10, 40)) is Refusal.METER_SUSPENDED

    def test_another_home_is_not_touched(self) -> None:
        street = street_after()
        street.block(street.reading("bob", FIRST_PERIOD, 10, 20), street.reading("bob", FIRST_PERIOD, 10, 30))
        assert street.refusal(street.reading("carla", FIRST_PERIOD, 1, 1)) is None


class TestMinting:
    def minted(self, street: Neighbourhood, *growth: tuple[int, int]) -> list[int]:
        """What each of consecutive periods mints, given cumulative (import, export)."""
        amounts = []
        for index, (import_wh, export_wh) in enumerate(growth):
            before = street.supply().votes_minted_mvote
            street.time_ms = GENESIS_TIME_MS + (index + 1) * PERIOD_MS
            street.block(street.reading("bob", FIRST_PERIOD + index, import_wh, export_wh))
            amounts.append(street.supply().votes_minted_mvote - before)
        return amounts

    @pytest.mark.parametrize("kind", [MeterKind.SOLAR, MeterKind.WIND, MeterKind.MIXED])
    def test_produced_energy_mints_one_mvote_per_wh(self, kind: MeterKind) -> None:
        street = Neighbourhood(make_genesis(kinds={"bob": kind}))
        assert self.minted(street, (100, 700), (100, 900)) == [700, 200]

    @pytest.mark.parametrize("kind", [MeterKind.LOAD, MeterKind.BATTERY])
    def test_load_and_battery_mint_nothing(self, kind: MeterKind) -> None:
        street = Neighbourhood(make_genesis(kinds={"bob": kind}))
        assert self.minted(street, (100, 700)) == [0]
        assert totals(street).export_wh == 700

    def test_what_a_storage_gives_back_does_not_mint(self) -> None:
        # Given a storage of 1000 Wh: imported 600 (B = 600); exported 900, of which 600 are given back; imported 1800
        # (B = 1000, its capacity); exported 1500, of which 1000 are
        street = Neighbourhood(make_genesis(storage_wh=1_000))
        assert self.minted(street, (600, 0), (600, 900), (2_400, 900), (2_400, 2_400)) == [0, 300, 0, 500]
        assert street.meter("bob").stored_wh == 0

    def test_a_battery_cycled_for_votes_earns_none(self) -> None:
        street = Neighbourhood(make_genesis(storage_wh=10_000))
        growth = [((cycle + 2) // 2 * 900, (cycle + 1) // 2 * 900) for cycle in range(10)]
        assert self.minted(street, *growth) == [0] * 10

    def test_storage_at_a_sub_meter_counts_for_the_connection(self) -> None:
        street = Neighbourhood()
        payload = RegisterMeter(
            meter=seeded_key("battery").public_key,
            owner=account_key("bob").public_key,
            kind=MeterKind.BATTERY,
            role=MeterRole.SUB,
            import_nameplate_w=3_000,
            export_nameplate_w=3_000,
            storage_capacity_wh=1_000,
            import_wh=0,
            export_wh=0,
        )
        assert street.refusal(street.sign("anne", payload)) is None
        assert self.minted(street, (600, 0), (600, 900)) == [0, 300]

    def test_a_sub_meter_informs_and_neither_counts_nor_mints(self) -> None:
        street = Neighbourhood()
        key = seeded_key("roof")
        payload = RegisterMeter(
            meter=key.public_key,
            owner=account_key("bob").public_key,
            kind=MeterKind.SOLAR,
            role=MeterRole.SUB,
            import_nameplate_w=8_000,
            export_nameplate_w=8_000,
            storage_capacity_wh=0,
            import_wh=50_000,
            export_wh=20_000,
        )
        assert street.refusal(street.sign("anne", payload)) is None
        minted = street.supply().votes_minted_mvote
        street.time_ms = GENESIS_TIME_MS + PERIOD_MS
        assert street.refusal(street.reading("bob", FIRST_PERIOD, 0, 500, key=key)) is None

        assert street.supply().votes_minted_mvote == minted
        assert totals(street) == EnergyTotals()
        meter = METERS.get(street.state, key.public_key)
        assert meter is not None
        assert meter.export_wh == 20_500

    def test_without_a_rule_all_is_cast_on_oneself_if_active(self) -> None:
        street = street_after()
        street.block(street.reading("bob", FIRST_PERIOD, 0, 1_000))
        assert street.account("bob").votes_mvote == 0
        assert street.shares("bob", "bob") == BALLOT + 1_000 * BALLOT // (BALLOT - 10)

    def test_without_a_rule_it_is_kept_if_suspended_or_no_candidate(self) -> None:
        street = street_after(without_node=["carla"])
        street.set_candidate("bob", status=CandidateStatus.SUSPENDED, suspended_height=1)
        street.block(street.reading("bob", FIRST_PERIOD, 0, 1_000), street.reading("carla", FIRST_PERIOD, 0, 500))

        assert street.account("bob").votes_mvote == 1_000
        assert street.account("carla").votes_mvote == 500

    def test_a_rule_keeps_its_part_and_splits_the_rest(self) -> None:
        # E-Cloud's example: George keeps 20 %
        street = Neighbourhood()
        targets = (
            RuleTarget(candidate=account_key("anne").public_key, share_bps=7_500),
            RuleTarget(candidate=account_key("bob").public_key, share_bps=2_500),
        )
        street.block(street.sign("george", SetVotingRule(keep_bps=2_000, targets=targets)), producer="carla")
        anne, bob = street.candidate("anne").pool_mvote, street.candidate("bob").pool_mvote
        street.time_ms = GENESIS_TIME_MS + PERIOD_MS
        street.block(street.reading("george", FIRST_PERIOD, 0, 1_001), producer="carla")

        # 200 kept (20 % of 1001, rounded down), 801 split 600.75 : 200.25
        assert street.account("george").votes_mvote == 200
        assert street.candidate("anne").pool_mvote == anne - anne // 10_000 + 601
        assert street.candidate("bob").pool_mvote == bob - bob // 10_000 + 200
        assert street.shares("anne", "george") > 0

    def test_the_part_of_an_expelled_target_is_kept(self) -> None:
        street = Neighbourhood()
        targets = (
            RuleTarget(candidate=account_key("anne").public_key, share_bps=5_000),
            RuleTarget(candidate=account_key("bob").public_key, share_bps=5_000),
        )
        street.block(street.sign("george", SetVotingRule(keep_bps=0, targets=targets)), producer="carla")
        state = street.state
        expel(state, account_key("bob").public_key)
        street.reader.apply(state.changes())
        street.time_ms = GENESIS_TIME_MS + PERIOD_MS
        street.block(street.reading("george", FIRST_PERIOD, 0, 1_000), producer="carla")

        assert street.account("george").votes_mvote == 500
        assert street.candidate("bob").pool_mvote == 0


class TestPruning:
    def test_readings_outside_the_window_are_forgotten_at_an_epochs_end(self) -> None:
        street = street_after()
        street.block(street.reading("bob", FIRST_PERIOD, 1, 1), street.reading("carla", FIRST_PERIOD, 1, 1))
        while street.height < 7:
            street.block()
        held = [street.reading("bob", FIRST_PERIOD + 12, 2, 2)]
        street.time_ms = GENESIS_TIME_MS + 13 * PERIOD_MS
        street.block(*held)

        assert street.height == 8
        assert [(key[:32], key[32:]) for key, _ in READINGS.scan(street.state)] == [
            (meter_key("bob").public_key, height_key(FIRST_PERIOD + 12))
        ]

    @pytest.mark.parametrize(("late_ms", "held"), [(0, 1), (1, 0)])
    def test_nothing_inside_the_window_is(self, late_ms: int, held: int) -> None:
        street = street_after()
        street.block(street.reading("bob", FIRST_PERIOD, 1, 1))
        while street.height < 7:
            street.block()
        window_ends_ms = GENESIS_TIME_MS + PERIOD_MS + PARAMETERS.acceptance_window_ms
        street.block(after_ms=window_ends_ms + late_ms - street.time_ms)
        assert len(list(READINGS.scan(street.state))) == held
