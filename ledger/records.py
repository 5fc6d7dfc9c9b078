"""What the state holds: every record, its key, and its table.

Account ids, meter keys and node keys are 32-byte Ed25519 public keys; an account's id is the key it began with.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

from ledger.encoding import BasisPoints, Bytes32, Integer, Unsigned, Wire
from ledger.market.grid_fee import Tariff
from ledger.parameters import Parameters
from ledger.state import Table


class Role(IntFlag):
    """What a member may do besides living there."""

    APPROVER = 1
    ISSUER = 2
    GATEWAY = 4
    ARBITRATOR = 8


class MeterKind(IntEnum):
    LOAD = 1
    SOLAR = 2
    WIND = 3
    BATTERY = 4
    MIXED = 5


class MeterRole(IntEnum):
    """CONNECTION is the one meter per member that settles and mints; SUB informs."""

    CONNECTION = 1
    SUB = 2


class CandidateStatus(IntEnum):
    """ACTIVE antes and is drawn; SUSPENDED missed two turns in a row; EXPELLED was convicted of equivocation."""

    ACTIVE = 1
    SUSPENDED = 2
    EXPELLED = 3


class Account(Wire, frozen=True):
    """Key: account id. ``votes_mvote`` are voting tokens kept, not cast; ``nonce`` is the next one to use."""

    nonce: Unsigned = 0
    watt_uwatt: Unsigned = 0
    grid_ugrid: Unsigned = 0
    votes_mvote: Unsigned = 0


class NodeKey(Wire, frozen=True):
    """Key: node key. The node key signs blocks, votes, and the few transactions of ``transactions.NODE_KEY_KINDS``."""

    account: Bytes32
    nonce: Unsigned = 0


class Member(Wire, frozen=True):
    """Key: account id. ``node_key`` is None until one is delegated; ``meters`` are keys in order of registration."""

    name: str
    roles: Unsigned
    feeder: str
    node_key: Bytes32 | None
    meters: tuple[Bytes32, ...]
    registered_height: Unsigned


class Name(Wire, frozen=True):
    """Key: the member's name in UTF-8."""

    account: Bytes32


class Gateway(Wire, frozen=True):
    """The one record of who is the counterparty of last resort, where there is one."""

    account: Bytes32


class Feeder(Wire, frozen=True):
    """Key: the feeder's name in UTF-8."""

    substation: str
    capacity_w: Unsigned


class Meter(Wire, frozen=True):
    """Key: meter key. Registers are the cumulative ones of the last accepted reading.

    ``stored_wh`` is the energy a storage behind this connection may hold that was imported and so must not mint.
    ``first_period`` is the first one that is settled by this meter.
    """

    owner: Bytes32
    kind: Unsigned
    role: Unsigned
    import_nameplate_w: Unsigned
    export_nameplate_w: Unsigned
    storage_capacity_wh: Unsigned
    suspended: bool
    last_period: Unsigned
    import_wh: Unsigned
    export_wh: Unsigned
    stored_wh: Unsigned
    first_period: Unsigned


class Reading(Wire, frozen=True):
    """Key: meter key ‖ period (u64 big endian). Kept for the acceptance window, so that a second one is recognised, and
    until it is settled.

    ``imported_wh`` and ``exported_wh`` are what the registers grew by since the reading before, ``periods`` periods
    ago. ``minted_mvote`` is zero until the period is settled.
    """

    transaction_id: Bytes32
    import_wh: Unsigned
    export_wh: Unsigned
    sampled_at_ms: Unsigned
    imported_wh: Unsigned
    exported_wh: Unsigned
    periods: Unsigned
    minted_mvote: Unsigned


class FrozenPot(Wire, frozen=True):
    """A pot won, part of the pool from ``release_height`` on, lost if the candidate is convicted before."""

    release_height: Unsigned
    amount_mvote: Unsigned


class Candidate(Wire, frozen=True):
    """Key: account id. ``pool_mvote`` is owned by backers in proportion to their ``Stake.shares`` of ``shares``.

    Pool and frozen pots are empty where there are no shares; all of it is zero once the candidate is expelled.
    """

    status: Unsigned
    pool_mvote: Unsigned
    shares: Unsigned
    reputation_milli: Unsigned
    last_mined_height: Unsigned
    frozen: tuple[FrozenPot, ...]
    missed_in_row: Unsigned
    missed_total: Unsigned
    produced_total: Unsigned
    epoch_counted: Unsigned  # blocks of this epoch whose finalize certificate the candidate could have signed
    epoch_signed: Unsigned  # those of them that carry its signature
    suspended_height: Unsigned  # 0 when not suspended


class Stake(Wire, frozen=True):
    """Key: candidate's account id ‖ backer's account id."""

    shares: Unsigned


class RuleTarget(Wire, frozen=True):
    candidate: Bytes32
    share_bps: BasisPoints


class VotingRule(Wire, frozen=True):
    """Key: account id. Of voting tokens minted, ``keep_bps`` stay with the owner; ``targets`` (Σ = 10,000) split the
    rest.
    """

    keep_bps: BasisPoints
    targets: tuple[RuleTarget, ...]


class SnapshotMember(Wire, frozen=True):
    """One committee member as it stood at the snapshot. Sorted by account in the snapshot."""

    account: Bytes32
    node_key: Bytes32
    pool_mvote: Unsigned
    reputation_milli: Unsigned
    weight: Unsigned


class CommitteeSnapshot(Wire, frozen=True):
    """Key: height of the snapshot (u64 big endian). In force from ``committee_delay_blocks`` later."""

    members: tuple[SnapshotMember, ...]


class Tip(Wire, frozen=True):
    """The one record of where the chain stands after the last block: what the next draw needs."""

    height: Unsigned
    time_ms: Unsigned
    seed: Bytes32
    previous_producer: Bytes32 | None


class Supply(Wire, frozen=True):
    """The one record of what was ever made and destroyed. Σ accounts = minted − burned for each token, after each
    block.
    """

    watt_minted_uwatt: Unsigned = 0
    watt_burned_uwatt: Unsigned = 0
    grid_ugrid: Unsigned = 0
    votes_minted_mvote: Unsigned = 0
    votes_burned_mvote: Unsigned = 0


class GridReserve(Wire, frozen=True):
    """The one record of GRID set aside at genesis to pay staking rewards."""

    ugrid: Unsigned


class EnergyTotals(Wire, frozen=True):
    """The one record of energy metered so far, all connection meters together."""

    import_wh: Unsigned = 0
    export_wh: Unsigned = 0
    readings: Unsigned = 0


class SettlementProgress(Wire, frozen=True):
    """The one record of how far settlement is: all periods before ``next_period`` are settled."""

    next_period: Unsigned


class PeriodEnd(Wire, frozen=True):
    """Key: the last period (u64) that had ended when the block at ``height`` was made, the first one after its end.
    Kept until that period is settled.
    """

    height: Unsigned


class ImportHistory(Wire, frozen=True):
    """Key: connection meter ‖ time of day as a number of periods (u64). What was taken out at this time of day on its
    last three metered days, Wh, latest first.
    """

    imports_wh: tuple[Unsigned, ...]


class Silence(Wire, frozen=True):
    """Key: member ‖ period. How a silent member's period was settled; see ``settlement.residual``. Kept until a reading
    covers it, or becomes part of the member's ``LongSilence`` when none can come for it alone any more.
    """

    estimate_wh: Unsigned
    sold_wh: Unsigned
    bought_wh: Unsigned
    offered_wh: Unsigned
    wanted_wh: Unsigned
    retail: Unsigned
    feed_in: Unsigned
    offered_at: Unsigned


class LongSilence(Wire, frozen=True):
    """Key: member. Silent periods too old to be read one by one, together."""

    estimate_wh: Unsigned
    matched_wh: Unsigned
    highest_retail: Unsigned
    lowest_retail: Unsigned
    lowest_feed_in: Unsigned


class SettledPeriod(Wire, frozen=True):
    """Key: period. What a period came to, in Wh, and when it was settled. ``settlement.settle.Account`` has the
    meanings.
    """

    height: Unsigned
    metered: Unsigned
    silent: Unsigned
    export_wh: Unsigned
    import_wh: Unsigned
    contract_wh: Unsigned
    trade_wh: Unsigned
    property_wh: Unsigned
    pool_wh: Unsigned
    fed_in_wh: Unsigned
    excess_wh: Unsigned
    drawn_wh: Unsigned
    shortfall_wh: Unsigned
    certified_wh: Unsigned
    minted_mvote: Unsigned


class LineKind(IntEnum):
    """What stands behind a line of a bill."""

    METERED = 1
    ESTIMATED = 2
    CORRECTION = 3


class BillLine(Wire, frozen=True):
    """Key: cycle (u64) ‖ debtor ‖ creditor ‖ title (1 byte) ‖ price (u64) ‖ kind (1 byte). What was settled so far in
    the cycle: the debtor owes the creditor ``amount_uwatt`` and the gateway ``fee_uwatt``. Lines of trades and
    shortfalls were paid out of escrow.
    """

    energy_wh: Unsigned
    amount_uwatt: Unsigned
    fee_uwatt: Unsigned


class CycleMember(Wire, frozen=True):
    """Key: cycle (u64) ‖ member. What a member's periods of the cycle came to so far, corrections included; also the
    gateway's, whose own energy is none.

    ``import_wh`` and ``export_wh`` are its registers' or estimated, ``received_wh`` and ``delivered_wh`` what its lines
    say; paid and received is what settlement took from escrow. The costs are what the member would have paid, less what
    it would have earned, with the utility alone and with a plain sharing key (``settlement.comparison``).
    """

    periods: Unsigned = 0
    estimated_periods: Unsigned = 0
    import_wh: Integer = 0
    export_wh: Integer = 0
    received_wh: Unsigned = 0
    delivered_wh: Unsigned = 0
    escrow_paid_uwatt: Unsigned = 0
    escrow_received_uwatt: Unsigned = 0
    utility_cost_uwatt: Integer = 0
    sharing_cost_uwatt: Integer = 0


class Claim(Wire, frozen=True):
    """Key: cycle (u64) ‖ member ‖ counterparty. What the cycle's lines that no escrow has paid leave between the two,
    seen by the member: it owes, and it is owed. Kept from both sides.
    """

    owed_uwatt: Unsigned = 0
    due_uwatt: Unsigned = 0


class Bill(Wire, frozen=True):
    """Key: cycle (u64) ‖ member. Recorded once. Claims are set off by counterparty: ``to_pay_uwatt`` is what is left
    for all to whom the member owes more than they owe it, ``to_receive_uwatt`` what is left to get from the others.
    ``paid_height`` is 0 until it is paid; a bill that leaves nothing to pay is paid when it is recorded.
    """

    recorded_height: Unsigned
    due_ms: Unsigned
    to_pay_uwatt: Unsigned
    to_receive_uwatt: Unsigned
    paid_height: Unsigned


class BillingCycle(Wire, frozen=True):
    """Key: cycle (u64). A cycle whose bills are being recorded or paid, or whose lines are still kept."""

    members: Unsigned
    recorded: Unsigned
    unpaid: Unsigned


class DueBill(Wire, frozen=True):
    """Key: ``Bill.due_ms`` (u64) ‖ cycle (u64) ‖ member. An unpaid bill that is not in arrears yet."""

    amount_uwatt: Unsigned


class Arrears(Wire, frozen=True):
    """Key: member ‖ cycle (u64). An unpaid bill past its due time, first seen so by the block at ``since_height``."""

    amount_uwatt: Unsigned
    since_height: Unsigned


class Origin(Wire, frozen=True):
    """A certificate: energy of this period, produced by one member and used by another. ``storage_wh`` of it came out
    of a storage.
    """

    producer: Bytes32
    consumer: Bytes32
    energy_wh: Unsigned
    storage_wh: Unsigned


class Origins(Wire, frozen=True):
    """Key: period. Its certificates of origin, issued and cancelled by settlement."""

    certificates: tuple[Origin, ...]


class MarketCounter(Wire, frozen=True):
    """The one record of the next order's number."""

    next_order: Unsigned


class MarketPeriod(Wire, frozen=True):
    """Key: period. Its trades so far. ``escrow_uwatt`` is what they are paid from at settlement: retail and grid fee of
    all that was sold. ``cleared``: its auction was held.
    """

    trades: Unsigned = 0
    energy_wh: Unsigned = 0
    value_uwatt: Unsigned = 0
    last_price: Unsigned = 0
    escrow_uwatt: Unsigned = 0
    cleared: bool = False


class OpenOrder(Wire, frozen=True):
    """Key: period (u64) ‖ side (1 byte) ‖ rank (u64) ‖ number (u64); the rank is the limit price for a sale, and
    2⁶³ − 1 less it for a purchase: keys in order are best price first, then oldest. ``locked_uwatt`` belongs to the
    account.
    """

    account: Bytes32
    limit: Unsigned
    energy_wh: Unsigned
    left_wh: Unsigned
    locked_uwatt: Unsigned
    height: Unsigned


class OwnOrder(Wire, frozen=True):
    """Key: account ‖ period ‖ number. Where the account's open order stands in the book."""

    side: Unsigned
    limit: Unsigned


class Position(Wire, frozen=True):
    """Key: period ‖ account. What the account traded for the period, and what it has open."""

    sold_wh: Unsigned = 0
    bought_wh: Unsigned = 0
    open_sell_wh: Unsigned = 0
    open_orders: Unsigned = 0


class FeederFlow(Wire, frozen=True):
    """Key: period ‖ feeder's name. Energy traded across the feeder's border, gross; it never falls."""

    out_wh: Unsigned
    into_wh: Unsigned


class MarketTrade(Wire, frozen=True):
    """Key: period ‖ number (u64). ``price`` and grid fee ``rate`` in uwatt per kWh. An auction pairs members, not
    orders: there the orders' numbers are 0.
    """

    seller: Bytes32
    buyer: Bytes32
    energy_wh: Unsigned
    price: Unsigned
    rate: Unsigned
    sell_order: Unsigned
    buy_order: Unsigned
    height: Unsigned


ACCOUNTS: Final = Table(0x01, Account)
NODE_KEYS: Final = Table(0x02, NodeKey)
MEMBERS: Final = Table(0x03, Member)
NAMES: Final = Table(0x04, Name)
FEEDERS: Final = Table(0x05, Feeder)
METERS: Final = Table(0x06, Meter)
READINGS: Final = Table(0x07, Reading)
CANDIDATES: Final = Table(0x10, Candidate)
STAKES: Final = Table(0x11, Stake)
VOTING_RULES: Final = Table(0x12, VotingRule)
SNAPSHOTS: Final = Table(0x13, CommitteeSnapshot)
TIP: Final = Table(0x20, Tip)
SUPPLY: Final = Table(0x21, Supply)
PARAMETERS: Final = Table(0x22, Parameters)
GRID_RESERVE: Final = Table(0x23, GridReserve)
ENERGY_TOTALS: Final = Table(0x24, EnergyTotals)
GATEWAY: Final = Table(0x25, Gateway)
TARIFFS: Final = Table(0x40, Tariff)
SETTLEMENT_PROGRESS: Final = Table(0x41, SettlementProgress)
PERIOD_ENDS: Final = Table(0x42, PeriodEnd)
IMPORT_HISTORIES: Final = Table(0x43, ImportHistory)
SILENCES: Final = Table(0x44, Silence)
LONG_SILENCES: Final = Table(0x45, LongSilence)
SETTLED_PERIODS: Final = Table(0x46, SettledPeriod)
BILL_LINES: Final = Table(0x47, BillLine)
ORIGINS: Final = Table(0x48, Origins)
MARKET_COUNTER: Final = Table(0x50, MarketCounter)
MARKET_PERIODS: Final = Table(0x51, MarketPeriod)
ORDERS: Final = Table(0x52, OpenOrder)
OWN_ORDERS: Final = Table(0x53, OwnOrder)
POSITIONS: Final = Table(0x54, Position)
FEEDER_FLOWS: Final = Table(0x55, FeederFlow)
TRADES: Final = Table(0x56, MarketTrade)
CYCLE_MEMBERS: Final = Table(0x70, CycleMember)
CLAIMS: Final = Table(0x71, Claim)
BILLS: Final = Table(0x72, Bill)
BILLING_CYCLES: Final = Table(0x73, BillingCycle)
DUE_BILLS: Final = Table(0x74, DueBill)
ARREARS: Final = Table(0x75, Arrears)


def height_key(height: int) -> bytes:
    """Heights and periods in keys: u64 big endian, so that scanning is in order."""
    return height.to_bytes(8, "big")
