"""A neighbourhood's chain in memory, with real keys, real signatures and a real state tree, made block by block.

    chain = Chain()                                  # anne, bob, carla and george at height 0
    chain.produce()                                  # one block, final
    chain.produce(view=1)                            # the leader of view 0 missed its turn
    pay = Transfer(recipient=chain.home("bob").id, token=Token.WATT, amount=5, memo="")
    chain.produce([chain.sign("anne", pay)])
    chain.state, chain.blocks[-1], chain.certificates[-1]

Every block is built by its leader and then validated as by anybody else before it is committed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from consensus.block import Block, Certificate, CommittedBlock
from consensus.certificates import build_certificate
from consensus.chain_rules import ExecutedBlock, OpenHeight, Parent, build_block, validate_block, verify_final
from consensus.committee import Committee
from consensus.verifier import SignatureVerifier
from ledger.genesis import Genesis, GenesisFeeder, GenesisMember, chain_id, genesis_changes
from ledger.keys import Domain, SigningKey, digest
from ledger.parameters import Parameters
from ledger.records import (
    ACCOUNTS,
    CANDIDATES,
    NODE_KEYS,
    Account,
    Candidate,
    MeterKind,
    MeterRole,
    Role,
)
from ledger.state import DictReader, State
from ledger.statements import Statement, StatementKind
from ledger.transactions import (
    KIND_OF,
    NODE_KEY_KINDS,
    DelegateNodeKey,
    Payload,
    RegisterMeter,
    SubmitReading,
    Transaction,
    sign_transaction,
)
from storage.state_tree import TreeUpdate, update

NAMES = ("anne", "bob", "carla", "george")
GENESIS_TIME_MS = 1_750_000_000_000
FEE_UWATT = 1_000
PARAMETERS = Parameters(
    block_interval_ms=2_000,
    message_delay_ms=200,
    period_ms=10_000,
    sampling_tolerance_ms=5_000,
    epoch_blocks=12,
    committee_delay_blocks=6,
    reading_deadline_ms=1_000,
    settlement_blocks=1,
)


def key_for(purpose: str, name: str) -> SigningKey:
    """The same key in every run."""
    return SigningKey(digest(f"{purpose} of {name}".encode()))


@dataclass(slots=True)
class Home:
    """One member and its keys. ``node`` is the current node key; ``id`` the account id."""

    name: str
    account: SigningKey
    node: SigningKey
    meter: SigningKey

    @property
    def id(self) -> bytes:
        return self.account.public_key


def make_home(name: str) -> Home:
    return Home(name, key_for("account", name), key_for("node", name), key_for("meter", name))


def make_genesis(names: Sequence[str] = NAMES, parameters: Parameters = PARAMETERS) -> Genesis:
    """Homes with 1,000 WATT and 1,000 GRID each, all candidates, a connection meter each; the first one approves and
    issues, the last one has solar panels, the others consume.
    """
    homes = [make_home(name) for name in names]
    first, last = homes[0], homes[-1]
    members = tuple(
        GenesisMember(
            account=home.id,
            name=home.name,
            roles=int(Role.APPROVER | Role.ISSUER | Role.GATEWAY) if home is first else 0,
            feeder="oak street" if index % 2 else "mill lane",
            node_key=home.node.public_key,
            watt_uwatt=1_000_000_000,
            grid_ugrid=1_000_000_000,
            voting_rule=None,
        )
        for index, home in enumerate(homes)
    )
    meters = tuple(
        RegisterMeter(
            meter=home.meter.public_key,
            owner=home.id,
            kind=MeterKind.SOLAR if home is last else MeterKind.LOAD,
            role=MeterRole.CONNECTION,
            import_nameplate_w=17_000,
            export_nameplate_w=10_000 if home is last else 0,
            storage_capacity_wh=0,
            import_wh=0,
            export_wh=0,
        )
        for home in homes
    )
    return Genesis(
        name="Mill Lane",
        time_ms=GENESIS_TIME_MS,
        parameters=parameters,
        feeders=(GenesisFeeder("mill lane", "north"), GenesisFeeder("oak street", "north")),
        members=members,
        meters=meters,
        grid_supply_ugrid=len(homes) * 1_000_000_000 + 500_000_000,
        grid_reserve_ugrid=500_000_000,
    )


class Chain:
    """The chain up to its tip. ``blocks[h − 1]`` and ``certificates[h − 1]`` belong to height h.

    ``state`` is the one after the tip, ``tree`` the state tree's nodes, ``open`` the height after the tip.
    """

    def __init__(self, names: Sequence[str] = NAMES, parameters: Parameters = PARAMETERS) -> None:
        self.genesis = make_genesis(names, parameters)
        self.chain_id = chain_id(self.genesis)
        self.homes = {name: make_home(name) for name in names}
        self.verifier = SignatureVerifier(self.chain_id)
        self.state = DictReader({})
        self.tree: dict[bytes, bytes] = {}
        self.blocks: list[ExecutedBlock] = []
        self.certificates: list[Certificate] = []
        self._node_keys = {home.node.public_key: home.node for home in self.homes.values()}
        self._apply(genesis_changes(self.genesis))
        self.open = OpenHeight(self.chain_id, Parent(0, self.chain_id, self.genesis.time_ms), self.state)

    @property
    def height(self) -> int:
        return len(self.blocks)

    def home(self, who: str | bytes) -> Home:
        """The home with this name or account id."""
        return next(home for home in self.homes.values() if who in (home.name, home.id))

    def add_home(self, name: str) -> Home:
        """One more home with its keys, of which the chain knows nothing yet."""
        home = self.homes[name] = make_home(name)
        self._node_keys[home.node.public_key] = home.node
        return home

    def leader(self, view: int = 0) -> Home:
        """Whose turn it is at the open height."""
        return self.home(self.open.draw.leader_account(view))

    # -- blocks

    def produce(
        self,
        transactions: Sequence[Transaction] = (),
        *,
        view: int = 0,
        time_ms: int | None = None,
        signers: Collection[str] | None = None,
    ) -> ExecutedBlock:
        """Makes, validates, certifies and commits the next block, in which all of ``transactions`` are.

        ``time_ms``: the earliest by default. ``signers``: names of those whose signatures the finalize certificate
        carries, all by default.
        """
        built = self.build(transactions, view=view, time_ms=time_ms)
        assert {one.id for one in built.transactions} == {one.id for one in transactions}, "some cannot be in a block"
        executed = self.validate(built.block)
        assert executed == built
        self.commit(executed, self.certify(executed.block, signers=signers))
        return executed

    def build(
        self, transactions: Sequence[Transaction] = (), *, view: int = 0, time_ms: int | None = None
    ) -> ExecutedBlock:
        """The leader's block for the open height, not committed."""
        node_key = self._node_keys[self.open.committee.seats[self.open.draw.leader(view)].node_key]
        parent_certificate = self.certificates[-1] if self.certificates else None
        when = self.open.earliest_ms if time_ms is None else time_ms
        return build_block(self.open, view, when, node_key, parent_certificate, transactions, self.root_of)

    def validate(self, block: Block) -> ExecutedBlock:
        """Errors: InvalidBlock."""
        return validate_block(self.open, block, self.verifier, self.root_of)

    def certify(
        self,
        block: Block,
        *,
        kind: StatementKind = StatementKind.FINALIZE,
        view: int | None = None,
        signers: Collection[str] | None = None,
        committee: Committee | None = None,
    ) -> Certificate:
        """A certificate for a block of the open height, by default in the view it was made in. It need not be a
        quorum's.
        """
        statement = Statement(kind, block.header.height, block.header.view if view is None else view, block.hash)
        committee = committee or self.open.committee
        signatures = {}
        for index, seat in enumerate(committee.seats):
            node_key = self._node_keys[seat.node_key]
            if signers is None or self.home(seat.account).name in signers:
                signatures[index] = node_key.sign(statement.domain(), self.chain_id, statement.message())
        return build_certificate(statement, signatures, committee)

    def commit(self, executed: ExecutedBlock, certificate: Certificate) -> None:
        header = executed.block.header
        assert verify_final(header, certificate, self.open.committee, self.verifier)
        self._apply(executed.result.changes)
        self.blocks.append(executed)
        self.certificates.append(certificate)
        self.open = OpenHeight(self.chain_id, Parent.of(header), self.state)

    def committed(self, height: int) -> CommittedBlock:
        """As it is stored and served."""
        return CommittedBlock(self.blocks[height - 1].block, self.certificates[height - 1])

    def root_of(self, changes: dict[bytes, bytes | None]) -> bytes:
        """The state root after these changes to the tip's state."""
        return self.tree_update(changes).root

    def tree_update(self, changes: dict[bytes, bytes | None]) -> TreeUpdate:
        return update(self.tree.get, changes)

    def _apply(self, changes: dict[bytes, bytes | None]) -> None:
        for path, node in self.tree_update(changes).nodes.items():
            if node is None:
                self.tree.pop(path, None)
            else:
                self.tree[path] = node
        self.state.apply(changes)

    # -- transactions

    def sign(self, name: str, payload: Payload, *, ahead: int = 0, fee_uwatt: int = FEE_UWATT) -> Transaction:
        """A transaction of this home, valid now: by its node key where that may sign, else by its account key.

        ``ahead``: how many others by the same key are to come before it in the same block.
        """
        home, state = self.home(name), State(self.state)
        node_key = NODE_KEYS.get(state, home.node.public_key)
        if KIND_OF[type(payload)] in NODE_KEY_KINDS and node_key is not None:
            key, nonce = home.node, node_key.nonce
        else:
            key, nonce = home.account, (ACCOUNTS.get(state, home.id) or Account()).nonce
        return sign_transaction(
            key,
            self.chain_id,
            payload,
            nonce=nonce + ahead,
            fee_uwatt=fee_uwatt,
            valid_until_height=self.height + 100,
        )

    def read(self, name: str, import_wh: int, export_wh: int, *, period: int | None = None) -> Transaction:
        """This home's meter's reading, cumulative, by default of the last period that ends before the next block."""
        period_ms = self.open.parameters.period_ms
        period = self.open.earliest_ms // period_ms - 1 if period is None else period
        payload = SubmitReading(
            period=period,
            import_wh=import_wh,
            export_wh=export_wh,
            sampled_at_ms=(period + 1) * period_ms,
            phases=(),
            samples_root=None,
        )
        return sign_transaction(self.home(name).meter, self.chain_id, payload)

    def delegate(self, name: str) -> Transaction:
        """Delegates the home's node key."""
        home = self.home(name)
        proof = home.node.sign(Domain.NODE_KEY, self.chain_id, home.id)
        return self.sign(name, DelegateNodeKey(node_key=home.node.public_key, proof=proof))

    def change_node_key(self, name: str) -> Transaction:
        """Delegates a new node key, which this home holds from now on and uses once the committee has it."""
        home = self.home(name)
        home.node = SigningKey(digest(home.node.seed))
        self._node_keys[home.node.public_key] = home.node
        return self.delegate(name)

    # -- what the state says

    def candidate(self, name: str) -> Candidate:
        candidate = CANDIDATES.get(State(self.state), self.home(name).id)
        assert candidate is not None
        return candidate

    def account(self, name: str) -> Account:
        return ACCOUNTS.get(State(self.state), self.home(name).id) or Account()
