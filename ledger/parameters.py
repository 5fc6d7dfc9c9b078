"""The numbers a chain is run by: set at genesis, changed only by its members, each within declared bounds."""

from __future__ import annotations

from typing import Final

from ledger.encoding import Unsigned, Wire
from ledger.market.grid_fee import ALL_BPS, TICK_UWATT_PER_KWH


class Parameters(Wire, frozen=True):
    """Chain parameters. Defaults are a real neighbourhood's; a devnet compresses time."""

    # blocks
    block_interval_ms: Unsigned = 15_000
    message_delay_ms: Unsigned = 1_000  # Δ: what a message takes at the most when the network is well
    clock_tolerance_ms: Unsigned = 1_000
    max_block_bytes: Unsigned = 512 * 1024
    max_block_transactions: Unsigned = 2_000
    # metering
    period_ms: Unsigned = 900_000
    metered_ms_per_period: Unsigned = 900_000  # what the meter's clock runs in a period; more where time is compressed
    sampling_tolerance_ms: Unsigned = 60_000
    acceptance_window_ms: Unsigned = 86_400_000
    utc_offset_minutes: Unsigned = 60
    # the lottery
    epoch_blocks: Unsigned = 96
    committee_delay_blocks: Unsigned = 6
    pool_minimum_mvote: Unsigned = 1_000
    initial_ballot_mvote: Unsigned = 100_000
    ante_divisor: Unsigned = 10_000
    missed_turn_antes: Unsigned = 100
    freeze_blocks: Unsigned = 6
    token_weight: Unsigned = 6_000
    age_weight: Unsigned = 8_000
    reputation_weight: Unsigned = 3_000
    age_cap_blocks: Unsigned = 16
    # fees and limits
    minimum_fee_uwatt: Unsigned = 1_000
    max_validity_blocks: Unsigned = 5_760
    max_members: Unsigned = 256
    max_meters_per_member: Unsigned = 8
    # tariffs and grid fee, in uwatt per kWh; they hold for the books that open from then on
    retail_uwatt_per_kwh: Unsigned = 300_000
    feed_in_uwatt_per_kwh: Unsigned = 80_000
    grid_fee_model: Unsigned = 1  # 1 by distance, 2 a share of the value
    grid_fee_base_uwatt_per_kwh: Unsigned = 40_000
    same_feeder_discount_bps: Unsigned = 4_000
    same_substation_discount_bps: Unsigned = 2_000
    distance_surcharge_bps: Unsigned = 1_000
    congestion_surcharge_bps: Unsigned = 5_000
    congestion_threshold_bps: Unsigned = 8_000  # of a feeder's capacity
    grid_fee_of_value_bps: Unsigned = 500
    # the market
    market_mechanism: Unsigned = 1  # 1 continuous, 2 one auction at gate closure
    gate_closure_ms: Unsigned = 300_000  # before the period begins
    forward_periods: Unsigned = 672
    max_open_orders: Unsigned = 32  # of one member in one period
    max_period_trades: Unsigned = 4_096
    max_contracts: Unsigned = 8  # offers and subscriptions of one member
    # settlement
    reading_deadline_ms: Unsigned = 7_200_000
    settlement_blocks: Unsigned = 20
    standard_load_w: Unsigned = 400  # the mean of the standard profile, for who is silent and was never metered
    billing_cycle_periods: Unsigned = 2_880
    history_periods: Unsigned = 3_360  # how long trades and certificates of origin stay in the state
    payment_term_ms: Unsigned = 14 * 86_400_000  # from when a bill is recorded until it is in arrears


# name → (smallest, largest) value a genesis or a vote of the members may set
BOUNDS: Final[dict[str, tuple[int, int]]] = {
    "block_interval_ms": (100, 600_000),
    "message_delay_ms": (50, 60_000),
    "clock_tolerance_ms": (100, 60_000),
    "max_block_bytes": (16 * 1024, 512 * 1024),
    "max_block_transactions": (1, 4_000),
    "period_ms": (1_000, 3_600_000),
    "metered_ms_per_period": (1_000, 3_600_000),
    "sampling_tolerance_ms": (100, 600_000),
    "acceptance_window_ms": (10_000, 30 * 86_400_000),
    "utc_offset_minutes": (0, 1_439),
    "epoch_blocks": (8, 10_000),
    "committee_delay_blocks": (1, 100),
    "pool_minimum_mvote": (1, 10**12),
    "initial_ballot_mvote": (1, 10**12),
    "ante_divisor": (100, 10**9),
    "missed_turn_antes": (0, 10_000),
    "freeze_blocks": (1, 100),
    "token_weight": (1, 10**6),
    "age_weight": (0, 10**6),
    "reputation_weight": (0, 10**6),
    "age_cap_blocks": (1, 10_000),
    "minimum_fee_uwatt": (0, 10**9),
    "max_validity_blocks": (10, 10**6),
    "max_members": (1, 4_096),
    "max_meters_per_member": (1, 64),
    "retail_uwatt_per_kwh": (0, 10**8),
    "feed_in_uwatt_per_kwh": (0, 10**8),
    "grid_fee_model": (1, 2),
    "grid_fee_base_uwatt_per_kwh": (0, 10**8),
    "same_feeder_discount_bps": (0, ALL_BPS),
    "same_substation_discount_bps": (0, ALL_BPS),
    "distance_surcharge_bps": (0, ALL_BPS),
    "congestion_surcharge_bps": (0, ALL_BPS),
    "congestion_threshold_bps": (0, ALL_BPS),
    "grid_fee_of_value_bps": (0, ALL_BPS),
    "market_mechanism": (1, 2),
    "gate_closure_ms": (0, 86_400_000),
    "forward_periods": (1, 10_000),
    "max_open_orders": (1, 256),
    "max_period_trades": (1, 16_384),
    "max_contracts": (1, 64),
    "reading_deadline_ms": (1_000, 7 * 86_400_000),
    "settlement_blocks": (1, 1_000),
    "standard_load_w": (0, 10**6),
    "billing_cycle_periods": (1, 100_000),
    "history_periods": (1, 100_000),
    "payment_term_ms": (1_000, 366 * 86_400_000),
}


class ParameterError(ValueError):
    """A parameter is outside its bounds; the message names it and what would be right."""


def check_parameters(parameters: Parameters) -> None:
    """Errors: ParameterError for the first parameter outside its bounds."""
    for name, (smallest, largest) in BOUNDS.items():
        value = getattr(parameters, name)
        if not smallest <= value <= largest:
            raise ParameterError(f"{name} = {value} is outside {smallest} … {largest}")
    if parameters.committee_delay_blocks >= parameters.epoch_blocks:
        raise ParameterError("committee_delay_blocks must be less than epoch_blocks")
    for name in ("retail_uwatt_per_kwh", "feed_in_uwatt_per_kwh"):
        if getattr(parameters, name) % TICK_UWATT_PER_KWH:
            raise ParameterError(
                f"{name} = {getattr(parameters, name)} must be a multiple of the tick, {TICK_UWATT_PER_KWH}"
            )
    if parameters.feed_in_uwatt_per_kwh > parameters.retail_uwatt_per_kwh:
        raise ParameterError(
            f"feed_in_uwatt_per_kwh = {parameters.feed_in_uwatt_per_kwh} must be at most retail_uwatt_per_kwh = "
            f"{parameters.retail_uwatt_per_kwh}"
        )


assert set(BOUNDS) == set(Parameters.__struct_fields__), "every parameter has bounds"
