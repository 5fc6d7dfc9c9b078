"""What a simulated meter signs, and when: a function of the period, so that a restart can change nothing."""

from itertools import pairwise

import pytest

from home.metering import KEPT_REFUSALS, Schedule, SimulatedMeter, TakenReading
from home.profiles.series import ConnectionMeter, House
from ledger.keys import SigningKey
from ledger.refusal import Refusal
from ledger.transactions import SubmitReading, decode_transaction

PERIOD_MS = 10_000
FIRST = 1_000
SCHEDULE = Schedule(
    chain_id="ab" * 32,
    first_period=FIRST,
    period_ms=PERIOD_MS,
    acceptance_window_ms=100_000,
    sampling_tolerance_ms=1_000,
)
KEY = SigningKey(bytes(range(32)))
HOUSE = House(household=0, yearly_kwh=3_500, solar=2, peak_watt=8_000, start_sample=96 * 200 + 40)


@pytest.fixture(scope="module")
def registers() -> ConnectionMeter:
    return ConnectionMeter(HOUSE)


@pytest.fixture
def meter(registers: ConnectionMeter) -> SimulatedMeter:
    return SimulatedMeter(KEY, registers, SCHEDULE)


def due(meter: SimulatedMeter, now_ms: int, last_period: int | None) -> list[TakenReading]:
    return list(meter.due(now_ms, last_period))


def test_nothing_is_due_before_the_first_period_has_ended(meter: SimulatedMeter) -> None:
    assert due(meter, FIRST * PERIOD_MS, None) == []
    assert due(meter, SCHEDULE.end_ms(FIRST) - 1, None) == []
    assert [reading.period for reading in due(meter, SCHEDULE.end_ms(FIRST), None)] == [FIRST]


def test_the_reading_is_signed_and_shows_the_houses_registers(
    meter: SimulatedMeter, registers: ConnectionMeter
) -> None:
    # When the third period has ended
    now_ms = SCHEDULE.end_ms(FIRST + 2)
    reading = due(meter, now_ms, FIRST + 1)[0]
    # Then the reading is the chain's, by the meter's key, of that period's end
    transaction = decode_transaction(reading.transaction.raw)
    assert transaction.has_valid_signature()
    assert transaction.sender == KEY.public_key
    assert transaction.chain_id.hex() == SCHEDULE.chain_id
    assert (transaction.nonce, transaction.fee_uwatt, transaction.valid_until_height) == (0, 0, 0)
    payload = transaction.payload
    assert isinstance(payload, SubmitReading)
    assert (payload.period, payload.sampled_at_ms) == (FIRST + 2, now_ms)
    # And the registers are those after three quarter hours
    assert (payload.import_wh, payload.export_wh) == registers.registers(3)


def test_each_period_is_due_once_whenever_one_asks(meter: SimulatedMeter) -> None:
    last: int | None = None
    periods: list[int] = []
    for now_ms in range(FIRST * PERIOD_MS, (FIRST + 40) * PERIOD_MS, 3_700):
        for reading in due(meter, now_ms, last):
            periods.append(reading.period)
            last = reading.period
    assert periods == list(range(FIRST, FIRST + 40 - 1))


def test_a_reading_made_again_is_the_same_to_the_last_byte(registers: ConnectionMeter) -> None:
    # Given a meter that was killed after it signed, before it wrote that down
    now_ms = SCHEDULE.end_ms(FIRST + 3)
    before = due(SimulatedMeter(KEY, registers, SCHEDULE), now_ms, FIRST + 2)
    # When it is started later and reads the same period
    after = due(SimulatedMeter(KEY, ConnectionMeter(HOUSE), SCHEDULE), now_ms + 9_000, FIRST + 2)
    # Then it cannot contradict itself
    assert [reading.transaction.raw for reading in before] == [reading.transaction.raw for reading in after]


def test_registers_never_run_backwards_over_an_absence(meter: SimulatedMeter) -> None:
    readings = due(meter, SCHEDULE.end_ms(FIRST + 4), None) + due(meter, SCHEDULE.end_ms(FIRST + 12), FIRST + 4)
    assert [reading.period for reading in readings] == list(range(FIRST, FIRST + 13))
    for one, next_ in pairwise(readings):
        assert next_.import_wh >= one.import_wh
        assert next_.export_wh >= one.export_wh


def test_what_the_chain_would_no_longer_take_is_left_out(meter: SimulatedMeter) -> None:
    # Given an absence longer than the acceptance window of ten periods
    now_ms = SCHEDULE.end_ms(FIRST + 50)
    # When the meter is back
    periods = [reading.period for reading in due(meter, now_ms, FIRST)]
    # Then it reads what can still be accepted, and the registers carry the rest
    assert periods == list(range(FIRST + 40, FIRST + 51))
    assert all(now_ms - SCHEDULE.end_ms(period) <= SCHEDULE.acceptance_window_ms for period in periods)


def test_the_next_end_is_ahead() -> None:
    assert SCHEDULE.next_end_ms(FIRST * PERIOD_MS) == (FIRST + 1) * PERIOD_MS
    assert SCHEDULE.next_end_ms((FIRST + 1) * PERIOD_MS - 1) == (FIRST + 1) * PERIOD_MS


def test_only_refusals_of_the_moment_keep_a_reading() -> None:
    assert {Refusal.PERIOD_NOT_ENDED, Refusal.MEMPOOL_FULL, Refusal.UNKNOWN_METER} <= KEPT_REFUSALS
    for refusal in (
        Refusal.ABOVE_NAMEPLATE,
        Refusal.METER_SUSPENDED,
        Refusal.OUTSIDE_WINDOW,
        Refusal.PERIOD_NOT_INCREASING,
        Refusal.REGISTERS_BACKWARDS,
    ):
        assert refusal not in KEPT_REFUSALS
