"""What the state holds: every record, its key, and its table.

Account ids, meter keys and node keys are 32-byte Ed25519 public keys; an account's id is the key it began with.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

from ledger.encoding import BasisPoints, Bytes32, Unsigned, Wire
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


class Feeder(Wire, frozen=True):
    """Key: the feeder's name in UTF-8."""

    substation: str


class Meter(Wire, frozen=True):
    """Key: meter key. Registers are the cumulative ones of the last accepted reading.

    ``stored_wh`` is the energy a storage behind this connection may hold that was imported and so must not mint.
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


class Reading(Wire, frozen=True):
    """Key: meter key ‖ period (u64 big endian). Kept for the acceptance window, so that a second one is recognised."""

    transaction_id: Bytes32
    import_wh: Unsigned
    export_wh: Unsigned
    sampled_at_ms: Unsigned
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


def height_key(height: int) -> bytes:
    """Heights and periods in keys: u64 big endian, so that scanning is in order."""
    return height.to_bytes(8, "big")
