"""The numbers a chain is run by: set at genesis, changed only by its members, each within declared bounds."""

from __future__ import annotations

from typing import Final

from ledger.encoding import Unsigned, Wire


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


assert set(BOUNDS) == set(Parameters.__struct_fields__), "every parameter has bounds"
