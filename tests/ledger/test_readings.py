"""Meter readings: every refusal, evidence of double signing, what is counted and kept."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from ledger.readings import METER_SUSPENDED_NOTE
from ledger.records import (
    ENERGY_TOTALS,
    METERS,
    READINGS,
    EnergyTotals,
    MeterKind,
    MeterRole,
    height_key,
)
from ledger.refusal import Refusal
from ledger.transactions import (
    PhaseSample,
    RegisterMeter,
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
    def test_registers_and_totals_advance_no_fee_is_taken_and_nothing_minted(self) -> None:
        street = street_after()
        before, minted = street.account("bob"), street.supply().votes_minted_mvote
        reading = street.reading("bob", FIRST_PERIOD, 300, 700)
        (receipt,) = street.block(reading)

        assert (receipt.refusal, receipt.note, receipt.fee_uwatt) == (None, "", 0)
        meter = street.meter("bob")
        assert (meter.last_period, meter.import_wh, meter.export_wh) == (FIRST_PERIOD, 50_300, 20_700)
        assert totals(street) == EnergyTotals(import_wh=300, export_wh=700, readings=1)
        assert street.account("bob") == before
        assert street.supply().votes_minted_mvote == minted
        held = READINGS.get(street.state, meter_key("bob").public_key, height_key(FIRST_PERIOD))
        assert held is not None
        assert (held.transaction_id, held.minted_mvote) == (reading.id, 0)
        assert (held.imported_wh, held.exported_wh, held.periods) == (300, 700, 1)
        assert [entry.account for entry in street.last_result.history] == [account_key("bob").public_key]

    def test_a_gap_is_bridged_by_the_next_registers(self) -> None:
        street = street_after(3)
        (receipt,) = street.block(street.reading("bob", FIRST_PERIOD + 2, 3 * IMPORT_LIMIT_WH, 3 * EXPORT_LIMIT_WH))
        assert receipt.refusal is None
        held = READINGS.get(street.state, meter_key("bob").public_key, height_key(FIRST_PERIOD + 2))
        assert held is not None
        assert (held.imported_wh, held.exported_wh, held.periods) == (3 * IMPORT_LIMIT_WH, 3 * EXPORT_LIMIT_WH, 3)

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


class TestWhatCounts:
    def test_a_sub_meter_informs_and_does_not_count(self) -> None:
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
        street.settle_all()

        assert street.supply().votes_minted_mvote == minted
        assert totals(street) == EnergyTotals()
        meter = METERS.get(street.state, key.public_key)
        assert meter is not None
        assert meter.export_wh == 20_500


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
