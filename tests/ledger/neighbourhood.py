"""A neighbourhood in memory for the ledger's tests: genesis, keys, and blocks one after another.

Every block is made by ``select_transactions`` or given to ``execute_block`` by the real code, and the whole state's
sums are checked after each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from msgspec.structs import replace

from ledger.block import BlockContext, BlockResult, InvalidBlock, Receipt
from ledger.committee import committee_at
from ledger.conservation import check_all
from ledger.execute import PrescribedOrder, admit, execute_block
from ledger.genesis import Genesis, GenesisFeeder, GenesisMember, chain_id, genesis_changes
from ledger.keys import SigningKey
from ledger.parameters import Parameters
from ledger.records import (
    ACCOUNTS,
    CANDIDATES,
    MEMBERS,
    METERS,
    NODE_KEYS,
    STAKES,
    SUPPLY,
    Account,
    Candidate,
    Member,
    Meter,
    MeterKind,
    MeterRole,
    Role,
    Supply,
)
from ledger.refusal import Refusal, TransactionRefused
from ledger.settlement.lines import next_period
from ledger.state import DictReader, State
from ledger.transactions import Payload, RegisterMeter, SubmitReading, Transaction, sign_transaction

PERIOD_MS = 10_000
GENESIS_TIME_MS = 1_750_000_000_000
FIRST_PERIOD = GENESIS_TIME_MS // PERIOD_MS
WATT_UWATT = 1_000_000_000
GRID_UGRID = 5_000_000
RESERVE_UGRID = 7_000_000
NAMES = ("anne", "bob", "carla", "george")
UTILITY = "utility"

PARAMETERS = Parameters(
    block_interval_ms=2_000,
    period_ms=PERIOD_MS,
    metered_ms_per_period=900_000,
    sampling_tolerance_ms=3_000,
    acceptance_window_ms=100_000,
    epoch_blocks=8,
    committee_delay_blocks=2,
    freeze_blocks=3,
    gate_closure_ms=2_000,
    forward_periods=6,
    max_open_orders=4,
    reading_deadline_ms=20_000,
    settlement_blocks=3,
)


def seeded_key(*words: object) -> SigningKey:
    return SigningKey(sha256(repr(words).encode()).digest())


def account_key(name: str) -> SigningKey:
    return seeded_key("account", name)


def node_key(name: str) -> SigningKey:
    return seeded_key("node", name)


def meter_key(name: str) -> SigningKey:
    return seeded_key("meter", name)


def make_genesis(
    names: Sequence[str] = NAMES,
    parameters: Parameters = PARAMETERS,
    *,
    without_node: Iterable[str] = (),
    kinds: dict[str, MeterKind] | None = None,
    storage_wh: int = 0,
    with_gateway: bool = False,
    feeders: Sequence[GenesisFeeder] = (GenesisFeeder(name="feeder-1", substation="substation-1"),),
) -> Genesis:
    """Homes that alternate between the feeders, the first one an approver; each with 1000 WATT, 5 GRID, and a solar
    connection meter. The gateway is called utility, and has nothing but WATT.
    """
    homes_without_node = set(without_node)
    gateway = GenesisMember(
        account=account_key(UTILITY).public_key,
        name=UTILITY,
        roles=int(Role.GATEWAY),
        feeder=feeders[0].name,
        node_key=None,
        watt_uwatt=WATT_UWATT,
        grid_ugrid=0,
        voting_rule=None,
    )
    return Genesis(
        name="test street",
        time_ms=GENESIS_TIME_MS,
        parameters=parameters,
        feeders=tuple(feeders),
        members=(
            *(
                GenesisMember(
                    account=account_key(name).public_key,
                    name=name,
                    roles=int(Role.APPROVER) if name == names[0] else 0,
                    feeder=feeders[index % len(feeders)].name,
                    node_key=None if name in homes_without_node else node_key(name).public_key,
                    watt_uwatt=WATT_UWATT,
                    grid_ugrid=GRID_UGRID,
                    voting_rule=None,
                )
                for index, name in enumerate(names)
            ),
            *([gateway] if with_gateway else ()),
        ),
        meters=tuple(
            RegisterMeter(
                meter=meter_key(name).public_key,
                owner=account_key(name).public_key,
                kind=(kinds or {}).get(name, MeterKind.SOLAR),
                role=MeterRole.CONNECTION,
                import_nameplate_w=11_000,
                export_nameplate_w=8_000,
                storage_capacity_wh=storage_wh,
                import_wh=50_000,
                export_wh=20_000,
            )
            for name in names
        ),
        grid_supply_ugrid=len(names) * GRID_UGRID + RESERVE_UGRID,
        grid_reserve_ugrid=RESERVE_UGRID,
    )


@dataclass
class Neighbourhood:
    """The chain so far. ``time_ms`` is that of the last block."""

    genesis: Genesis = field(default_factory=make_genesis)
    reader: DictReader = field(init=False)
    chain_id: bytes = field(init=False)
    height: int = 0
    time_ms: int = field(init=False)
    last_result: BlockResult = field(init=False)

    def __post_init__(self) -> None:
        self.reader = DictReader({})
        self.reader.apply(genesis_changes(self.genesis))
        self.chain_id = chain_id(self.genesis)
        self.time_ms = self.genesis.time_ms
        check_all(self.reader)

    @property
    def parameters(self) -> Parameters:
        return self.genesis.parameters

    @property
    def state(self) -> State:
        return State(self.reader)

    def account(self, name: str) -> Account:
        return ACCOUNTS.get(self.state, account_key(name).public_key) or Account()

    def candidate(self, name: str) -> Candidate:
        found = CANDIDATES.get(self.state, account_key(name).public_key)
        assert found is not None
        return found

    def member(self, name: str) -> Member:
        found = MEMBERS.get(self.state, account_key(name).public_key)
        assert found is not None
        return found

    def meter(self, name: str) -> Meter:
        found = METERS.get(self.state, meter_key(name).public_key)
        assert found is not None
        return found

    def shares(self, candidate: str, backer: str) -> int:
        stake = STAKES.get(self.state, account_key(candidate).public_key, account_key(backer).public_key)
        return 0 if stake is None else stake.shares

    def supply(self) -> Supply:
        found = SUPPLY.get(self.state)
        assert found is not None
        return found

    def settle_all(self) -> None:
        """Empty blocks until every period that has ended is settled."""
        ended = self.time_ms // self.parameters.period_ms
        while next_period(self.state) < ended:
            self.block()

    def set_candidate(self, name: str, **fields: object) -> None:
        """Puts a candidate into a situation that would take many blocks to reach; the sums must still hold."""
        state = self.state
        CANDIDATES.put(state, replace(self.candidate(name), **fields), account_key(name).public_key)
        self.reader.apply(state.changes())
        check_all(self.reader)

    def sign(
        self,
        name: str,
        payload: Payload,
        *,
        nonce: int | None = None,
        fee_uwatt: int = 1_000,
        valid_until_height: int | None = None,
        key: SigningKey | None = None,
    ) -> Transaction:
        """A transaction of the account's key with the next nonce, unless told otherwise."""
        key = key or account_key(name)
        if nonce is None:
            delegated = NODE_KEYS.get(self.state, key.public_key)
            account = ACCOUNTS.get(self.state, key.public_key) or Account()
            nonce = account.nonce if delegated is None else delegated.nonce
        return sign_transaction(
            key,
            self.chain_id,
            payload,
            nonce=nonce,
            fee_uwatt=fee_uwatt,
            valid_until_height=self.height + 10 if valid_until_height is None else valid_until_height,
        )

    def reading(
        self,
        name: str,
        period: int,
        import_wh: int,
        export_wh: int,
        *,
        sampled_at_ms: int | None = None,
        key: SigningKey | None = None,
    ) -> Transaction:
        """A reading with the registers given as growth since installation."""
        payload = SubmitReading(
            period=period,
            import_wh=50_000 + import_wh,
            export_wh=20_000 + export_wh,
            sampled_at_ms=(period + 1) * PERIOD_MS if sampled_at_ms is None else sampled_at_ms,
            phases=(),
            samples_root=None,
        )
        return sign_transaction(key or meter_key(name), self.chain_id, payload)

    def context(
        self,
        producer: str = "anne",
        *,
        skipped: Sequence[str] = (),
        absent: Sequence[str] = (),
        after_ms: int = 2_000,
    ) -> BlockContext:
        """The next block's facts. All of the committee signed the parent but ``absent``."""
        height = self.height + 1
        members = committee_at(self.reader, self.height).members if self.height else ()
        committee = frozenset(member.account for member in members)
        beacon = sha256(b"beacon" + height.to_bytes(8, "big")).digest() * 2
        return BlockContext(
            chain_id=self.chain_id,
            height=height,
            time_ms=self.time_ms + after_ms,
            producer=account_key(producer).public_key,
            skipped=tuple(account_key(name).public_key for name in skipped),
            signers=committee - {account_key(name).public_key for name in absent},
            committee=committee,
            beacon=beacon,
            seed=sha256(beacon).digest(),
        )

    def commit(self, context: BlockContext, result: BlockResult) -> None:
        self.reader.apply(result.changes)
        self.height = context.height
        self.time_ms = context.time_ms
        self.last_result = result
        check_all(self.reader)

    def block(
        self,
        *transactions: Transaction,
        producer: str = "anne",
        skipped: Sequence[str] = (),
        absent: Sequence[str] = (),
        after_ms: int = 2_000,
    ) -> list[Receipt]:
        """Executes and commits the next block, transactions put in order; returns receipts in the order given."""
        context = self.context(producer, skipped=skipped, absent=absent, after_ms=after_ms)
        ordered = sorted(transactions, key=PrescribedOrder(context.beacon).key)
        result = execute_block(self.reader, context, ordered)
        self.commit(context, result)
        receipts = {receipt.transaction_id: receipt for receipt in result.receipts}
        return [receipts[transaction.id] for transaction in transactions]

    def refusal(self, transaction: Transaction, **block: object) -> Refusal | None:
        """Commits a block with one transaction; returns why it was refused, None if it took effect."""
        (receipt,) = self.block(transaction, **block)  # type: ignore[arg-type]
        return receipt.reason

    def is_invalid(self, *transactions: Transaction, **context: object) -> bool:
        """True if the next block may not contain these; commits nothing."""
        made = self.context(**context)  # type: ignore[arg-type]
        ordered = sorted(transactions, key=PrescribedOrder(made.beacon).key)
        try:
            execute_block(self.reader, made, ordered)
        except InvalidBlock:
            return True
        return False

    def admission(
        self, transaction: Transaction, *, after_ms: int = 0, waiting: Sequence[Transaction] = ()
    ) -> Refusal | None:
        """Why the API would refuse the transaction now, None if it would be taken in."""
        time_ms = self.time_ms + after_ms
        try:
            admit(self.reader, self.chain_id, transaction, height=self.height + 1, time_ms=time_ms, waiting=waiting)
        except TransactionRefused as refused:
            return refused.refusal
        return None
