"""Random neighbourhoods living through random blocks: whatever happens, every sum holds after every block.

What is selected for a block is executed again as somebody else's, with the same result; nothing that is offered,
however senseless, makes a block invalid.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from ledger.agreements import CONTRACT_OFFERS, SHARING_POOLS, PoolShare, PreferredPrice, last_eight, next_numbers
from ledger.block import BlockContext
from ledger.committee import committee_at
from ledger.contracts.standing import offered_wh, subscriptions_of
from ledger.execute import PrescribedOrder, check_form, execute_block, select_transactions
from ledger.genesis import GenesisFeeder
from ledger.keys import Domain, SigningKey
from ledger.market.grid_fee import FeeModel, Mechanism, amount_uwatt
from ledger.market.terms import first_open_period, tariff_of
from ledger.pools import withdrawable_mvote
from ledger.records import (
    CANDIDATES,
    FEEDER_FLOWS,
    MARKET_PERIODS,
    NODE_KEYS,
    OWN_ORDERS,
    READINGS,
    SETTLED_PERIODS,
    TIP,
    TRADES,
    CandidateStatus,
    MeterKind,
    MeterRole,
    RuleTarget,
    VotingRule,
    height_key,
)
from ledger.refusal import Refusal, TransactionRefused
from ledger.settlement.lines import next_period
from ledger.sharing import pools_in
from ledger.statements import SignedStatement, Statement
from ledger.transactions import (
    AttestMember,
    CancelOrder,
    CastVotes,
    ChangeContractPrice,
    DelegateNodeKey,
    EndContract,
    JoinPool,
    LeavePool,
    OfferContract,
    OpenPool,
    OrderReference,
    PayBill,
    Payload,
    PlaceOrder,
    RecordBills,
    RegisterMember,
    RegisterMeter,
    Rejoin,
    ReplaceQuote,
    ReportEquivocation,
    SetPoolRule,
    SetVotingRule,
    SubscribeContract,
    Transaction,
    Transfer,
    WithdrawVotes,
    decode_transaction,
)
from tests.ledger.billing.sums import require_balanced_bills
from tests.ledger.neighbourhood import (
    PARAMETERS,
    PERIOD_MS,
    Neighbourhood,
    account_key,
    make_genesis,
    meter_key,
    node_key,
    seeded_key,
)

HOMES = ("anne", "bob", "carla", "george", "hugo", "ida")
EVERYBODY = (*HOMES, "dora", "emil", "stranger")  # dora and emil may be registered, the stranger never is

homes = st.sampled_from(HOMES)
people = st.sampled_from(EVERYBODY)
amounts = st.sampled_from([1, 2, 999, 1_000, 50_000, 99_990, 100_000, 10**9]) | st.integers(1, 2 * 10**9)


class Street(RuleBasedStateMachine):
    """The machine's world is a real chain; ``pending`` is what a mempool would hold."""

    def __init__(self) -> None:
        super().__init__()
        self.pending: list[Transaction] = []
        self.nonces: dict[bytes, int] = {}
        self.registers: dict[str, tuple[int, int]] = {}
        self.last_read: dict[str, int] = {}
        self.node_keys: dict[str, SigningKey] = {name: node_key(name) for name in EVERYBODY}
        self.rotations = 0

    @initialize(
        storage_wh=st.sampled_from([0, 1_000]),
        missed_turn_antes=st.sampled_from([100, 10_000]),
        ante_divisor=st.sampled_from([10_000, 100]),
        with_gateway=st.sampled_from([True, True, True, True, True, True, False]),
        mechanism=st.sampled_from(Mechanism),
        fee_model=st.sampled_from(FeeModel),
    )
    def begin(
        self,
        storage_wh: int,
        missed_turn_antes: int,
        ante_divisor: int,
        with_gateway: bool,
        mechanism: Mechanism,
        fee_model: FeeModel,
    ) -> None:
        parameters = replace(
            PARAMETERS,
            missed_turn_antes=missed_turn_antes,
            ante_divisor=ante_divisor,
            market_mechanism=int(mechanism),
            grid_fee_model=int(fee_model),
            forward_periods=12,
            max_open_orders=6,
            billing_cycle_periods=3,
            history_periods=4,
            payment_term_ms=15_000,
        )
        genesis = make_genesis(
            HOMES,
            parameters,
            without_node=["ida"],
            kinds={"hugo": MeterKind.LOAD, "ida": MeterKind.MIXED},
            storage_wh=storage_wh,
            with_gateway=with_gateway,
            feeders=(GenesisFeeder("feeder-1", "S", 4_000), GenesisFeeder("feeder-2", "S", 400_000)),
        )
        keeping = replace(genesis.members[1], voting_rule=VotingRule(keep_bps=10_000, targets=()))
        members = (genesis.members[0], keeping, *genesis.members[2:])
        members = tuple(replace(member, grid_ugrid=member.grid_ugrid * 10) for member in members)  # stakes for offers
        supply = sum(member.grid_ugrid for member in members) + genesis.grid_reserve_ugrid
        self.street = Neighbourhood(replace(genesis, members=members, grid_supply_ugrid=supply))

    def offer(self, name: str, payload: Payload, key: SigningKey | None = None, **terms: Any) -> None:
        signer = (key or account_key(name)).public_key
        nonce = self.nonces.get(signer, 0)
        transaction = self.street.sign(name, payload, key=key, nonce=nonce, **terms)
        self.pending.append(transaction)
        try:
            check_form(transaction, self.street.chain_id)
        except TransactionRefused:
            return  # it will never use its nonce
        self.nonces[signer] = nonce + 1

    @rule(sender=people, recipient=people, token=st.sampled_from([1, 1, 1, 2, 3]), amount=amounts)
    def transfer(self, sender: str, recipient: str, token: int, amount: int) -> None:
        payload = Transfer(recipient=account_key(recipient).public_key, token=token, amount=amount, memo="")
        self.offer(sender, payload)

    @rule(backer=people, candidate=people, part=st.sampled_from([1, 1, 2, 1_000]), more=st.integers(0, 1))
    def cast(self, backer: str, candidate: str, part: int, more: int) -> None:
        amount = self.street.account(backer).votes_mvote // part + more
        self.offer(backer, CastVotes(candidate=account_key(candidate).public_key, amount_mvote=amount))

    @rule(backer=homes, source=homes, candidate=homes, less=st.sampled_from([0, 0, 1, 500]))
    def move_votes(self, backer: str, source: str, candidate: str, less: int) -> None:
        """All of a backer's part in one pool, most often its own, into another, less a little."""
        for pool in (source, backer):
            found = CANDIDATES.get(self.street.state, account_key(pool).public_key)
            part = withdrawable_mvote(found, self.street.shares(pool, backer)) if found else 0
            if part > less + 100:
                key = account_key(pool).public_key
                self.offer(backer, WithdrawVotes(candidate=key, amount_mvote=part - 20))
                cast = CastVotes(candidate=account_key(candidate).public_key, amount_mvote=part - 20 - less)
                self.offer(backer, cast)
                return

    @rule(backer=homes, candidate=homes, part=st.sampled_from([1, 1, 2, 1_000]), more=st.sampled_from([0, 0, 1]))
    def withdraw(self, backer: str, candidate: str, part: int, more: int) -> None:
        found = CANDIDATES.get(self.street.state, account_key(candidate).public_key)
        worth = withdrawable_mvote(found, self.street.shares(candidate, backer)) if found else 0
        amount = worth // part + more
        self.offer(backer, WithdrawVotes(candidate=account_key(candidate).public_key, amount_mvote=amount))

    @rule(owner=people, keep_bps=st.integers(0, 10_000), chosen=st.lists(people, max_size=3, unique=True))
    def set_rule(self, owner: str, keep_bps: int, chosen: list[str]) -> None:
        shares = [10_000 // len(chosen) for _ in chosen]
        shares[:1] = [share + 10_000 - sum(shares) for share in shares[:1]]
        targets = tuple(
            RuleTarget(candidate=account_key(name).public_key, share_bps=share)
            for name, share in zip(chosen, shares, strict=True)
        )
        self.offer(owner, SetVotingRule(keep_bps=keep_bps, targets=targets))

    @rule(name=people, with_node_key=st.booleans())
    def rejoin(self, name: str, with_node_key: bool) -> None:
        self.offer(name, Rejoin(), key=self.node_keys[name] if with_node_key else None)

    @rule(approver=st.sampled_from(["anne", "anne", "bob"]), name=people)
    def register(self, approver: str, name: str) -> None:
        payload = RegisterMember(account=account_key(name).public_key, name=name, roles=0, feeder="feeder-1")
        self.offer(approver, payload)

    @rule(name=people, role=st.sampled_from(list(MeterRole)), number=st.integers(0, 1))
    def register_meter(self, name: str, role: MeterRole, number: int) -> None:
        key = meter_key(name) if number == 0 else seeded_key("sub meter", name)
        payload = RegisterMeter(
            meter=key.public_key,
            owner=account_key(name).public_key,
            kind=MeterKind.SOLAR,
            role=role,
            import_nameplate_w=11_000,
            export_nameplate_w=8_000,
            storage_capacity_wh=500,
            import_wh=50_000,
            export_wh=20_000,
        )
        self.offer("anne", payload)

    @rule(name=people, fresh=st.booleans())
    def delegate(self, name: str, fresh: bool) -> None:
        if fresh:
            self.rotations += 1
            self.node_keys[name] = seeded_key("node", name, self.rotations)
        key = self.node_keys[name]
        proof = key.sign(Domain.NODE_KEY, self.street.chain_id, account_key(name).public_key)
        self.offer(name, DelegateNodeKey(node_key=key.public_key, proof=proof))

    @rule(reporter=homes, guilty=people, back=st.integers(0, 3), kind=st.sampled_from([0, 1, 3]))
    def report(self, reporter: str, guilty: str, back: int, kind: int) -> None:
        key = self.node_keys[guilty]
        height = max(0, self.street.height + 1 - back)
        statements = [Statement(kind=kind, height=height, view=0, block_hash=bytes([n]) * 32) for n in (1, 2)]
        first, second = (
            SignedStatement(statement=one, signature=key.sign(one.domain(), self.street.chain_id, one.message()))
            for one in statements
        )
        payload = ReportEquivocation(node_key=key.public_key, first=first, second=second)
        self.offer(reporter, payload, key=self.node_keys[reporter] if back % 2 else None)

    @rule(
        name=people,
        periods_ahead=st.integers(-1, 1),
        import_wh=st.integers(0, 2_000),
        export_wh=st.integers(0, 2_300),
        twice=st.sampled_from([False, False, False, True]),
    )
    def read_meter(self, name: str, periods_ahead: int, import_wh: int, export_wh: int, twice: bool) -> None:
        period = self.street.time_ms // PERIOD_MS + periods_ahead
        imported, exported = self.registers.get(name, (0, 0))
        self.registers[name] = imported + import_wh, exported + export_wh
        for extra in range(1 + twice):
            self.pending.append(
                self.street.reading(name, period, *self.registers[name], sampled_at_ms=(period + 1) * PERIOD_MS + extra)
            )

    @rule(
        orders=st.lists(
            st.tuples(
                people,
                st.sampled_from([1, 2, 1, 2, 1, 2, 3]),
                st.sampled_from([(3,), (3,), (3,), (3,), (3, 4), (4,), (1,), (0,), (13,)]),
                st.sampled_from([1, 5, 30, 30, 60, 120, 0, 10**7]),
                st.sampled_from([1_500, 1_500, 1_500, 1_501, 1_499, 3_000, 799]),
            ),
            min_size=4,
            max_size=12,
        )
    )
    def place_orders(self, orders: list[tuple[str, int, tuple[int, ...], int, int]]) -> None:
        """Many at once, in a block of their own, so that some meet."""
        now = self.street.time_ms // PERIOD_MS
        for name, side, ahead, lots, ticks in orders:
            periods = tuple(now + one for one in ahead)
            self.offer(name, PlaceOrder(side, periods, energy_wh=10 * lots, limit_uwatt_per_kwh=100 * ticks))
        self.block_of_what_is_pending(0, [], [], 2_000, 1_000, 10**6)

    @rule(energies=st.lists(st.tuples(st.integers(0, 900), st.integers(0, 1_500)), min_size=6, max_size=6))
    def everybody_reads(self, energies: list[tuple[int, int]]) -> None:
        """When the period that runs has ended, all homes' meters that have not yet said anything of it."""
        self.empty_blocks(1, 0, [])
        period = self.street.time_ms // PERIOD_MS
        self.street.time_ms = (period + 1) * PERIOD_MS
        for name, (import_wh, export_wh) in zip(HOMES, energies, strict=True):
            if self.street.meter(name).last_period < period and self.last_read.get(name, 0) < period:
                self.last_read[name] = period
                imported, exported = self.registers.get(name, (0, 0))
                self.registers[name] = imported + import_wh, exported + export_wh
                self.pending.append(self.street.reading(name, period, *self.registers[name]))
        self.block_of_what_is_pending(0, [], [], 2_000, 1_000, 10**6)

    @rule(name=people, chosen=st.integers(0, 10**6), whose=homes)
    def cancel_order(self, name: str, chosen: int, whose: str) -> None:
        """Most often one's own order, if there is one."""
        for owner in (name, whose):
            own = [key for key, _ in OWN_ORDERS.scan(self.street.state, account_key(owner).public_key)]
            if own:
                key = own[chosen % len(own)]
                period, number = int.from_bytes(key[32:40], "big"), int.from_bytes(key[40:], "big")
                self.offer(name, CancelOrder((OrderReference(period, number),)))
                return

    @rule(name=people, ahead=st.integers(0, 4), lots=st.integers(0, 60), bid=st.integers(1_490, 1_502))
    def replace_quote(self, name: str, ahead: int, lots: int, bid: int) -> None:
        period = self.street.time_ms // PERIOD_MS + ahead
        self.offer(name, ReplaceQuote(period, 10 * lots, 100 * bid, 10 * (60 - lots), 100 * (bid + lots % 3)))

    @rule(
        founder=people,
        joiners=st.lists(st.tuples(people, st.sampled_from([1, 2, 2, 3, 4]), st.integers(500, 3_000)), max_size=4),
        pool=st.integers(0, 3),
        pool_rule=st.integers(1, 3),
        ticks=st.integers(0, 3_000),
        shares=st.dictionaries(homes, st.integers(0, 4_000), max_size=4),
        leaver=st.none() | people,
    )
    def share(
        self,
        founder: str,
        joiners: list[tuple[str, int, int]],
        pool: int,
        pool_rule: int,
        ticks: int,
        shares: dict[str, int],
        leaver: str | None,
    ) -> None:
        """A pool opened or given another rule, joined, and left."""
        named = tuple(PoolShare(account_key(name).public_key, bps) for name, bps in shares.items())
        numbers = [last_eight(key) for key, _ in SHARING_POOLS.scan(self.street.state)]
        if numbers and pool:
            number = numbers[pool % len(numbers)]
            found = SHARING_POOLS.get(self.street.state, height_key(number))
            assert found is not None
            owner = next(name for name in EVERYBODY if account_key(name).public_key == found.founder)
            self.offer(founder if pool == 3 else owner, SetPoolRule(number, pool_rule, 100 * ticks, named))
        else:
            self.offer(founder, OpenPool(f"pool-{founder}", 1 + ticks % 3, pool_rule, 100 * ticks, named))
            number = next_numbers(self.street.state).next_pool
            self.block_of_what_is_pending(0, [], [], 1, 1_000, 10**6)
        for name, roles, highest in joiners:
            self.offer(name, JoinPool(number, roles, 0, 100 * highest))
        if leaver is not None:
            self.offer(leaver, LeavePool(number))

    @rule(
        seller=people,
        buyers=st.lists(st.tuples(people, st.integers(90, 500)), min_size=1, max_size=4),
        offer=st.integers(0, 3),
        limit_wh=st.integers(90, 700) | st.integers(2_000, 2_100),
        ticks=st.integers(490, 3_000),
        first=st.integers(0, 4),
        periods=st.integers(2, 8),
        preferred=st.dictionaries(homes, st.integers(450, 3_000), max_size=2),
        then=st.sampled_from(["end", "end", "change", "attest", "nothing"]),
        ender=people,
    )
    def contract(
        self,
        seller: str,
        buyers: list[tuple[str, int]],
        offer: int,
        limit_wh: int,
        ticks: int,
        first: int,
        periods: int,
        preferred: dict[str, int],
        then: str,
        ender: str,
    ) -> None:
        """An offer or an earlier one, subscriptions of it, and what may come after."""
        now = self.street.time_ms // PERIOD_MS
        prices = tuple(PreferredPrice(account_key(name).public_key, 100 * price) for name, price in preferred.items())
        price = None if prices and ticks % 5 == 0 else 100 * ticks
        numbers = [last_eight(key) for key, _ in CONTRACT_OFFERS.scan(self.street.state)]
        if numbers and not offer:
            number = numbers[ticks % len(numbers)]
        else:
            number = next_numbers(self.street.state).next_offer
            end = now + first + periods
            self.offer(seller, OfferContract(1 + ticks % 10 // 9, limit_wh, now + first, end, price, prices))
            self.block_of_what_is_pending(0, [], [], 1, 1_000, 10**6)
        for name, wanted_wh in buyers:
            self.offer(name, SubscribeContract(number, wanted_wh, 300_000))
        if then == "end":
            self.offer(ender, EndContract(number))
        elif then == "change":
            self.offer(seller, ChangeContractPrice(number, price, prices))
        elif then == "attest":
            self.offer("anne", AttestMember(account_key(ender).public_key, ticks % 4))

    @rule(sender=people, back=st.integers(-1, 3), page=st.sampled_from([0, 0, 0, 1]), payer=people)
    def bill(self, sender: str, back: int, page: int, payer: str) -> None:
        """Most often one that is closed, and somebody pays it."""
        cycle = next_period(self.street.state) // 3 - back
        self.offer(sender, RecordBills(cycle=cycle, page=page))
        self.offer(payer, PayBill(cycle=cycle))
        self.offer(sender, PayBill(cycle=cycle - 1))

    @rule(
        name=people,
        nonce=st.integers(0, 70),
        fee_uwatt=st.sampled_from([0, 1_000, 10**10]),
        valid_for=st.integers(-1, 6_000),
    )
    def offer_nonsense(self, name: str, nonce: int, fee_uwatt: int, valid_for: int) -> None:
        self.pending.append(
            self.street.sign(
                name,
                Rejoin(),
                nonce=nonce,
                fee_uwatt=fee_uwatt,
                valid_until_height=max(0, self.street.height + valid_for),
            )
        )

    @rule(
        turn=st.integers(0, 10**6),
        misses=st.lists(st.integers(0, 10**6), max_size=3),
        absent=st.lists(homes, max_size=3),
        after_ms=st.sampled_from([1, 2_000, 2_000, 2_000, PERIOD_MS, 6 * PERIOD_MS]),
        max_count=st.sampled_from([1_000, 1_000, 3]),
        max_bytes=st.sampled_from([10**6, 10**6, 600]),
    )
    def block_of_what_is_pending(
        self, turn: int, misses: list[int], absent: list[str], after_ms: int, max_count: int, max_bytes: int
    ) -> None:
        street = self.street
        context = self.context(turn, misses, absent, after_ms)
        taken, result = select_transactions(street.reader, context, self.pending, max_bytes, max_count)
        travelled = [decode_transaction(one.raw) for one in taken]
        assert all(one.has_valid_signature() for one in travelled)
        assert execute_block(street.reader, context, travelled) == result
        assert [PrescribedOrder(context.beacon).key(one) for one in taken] == sorted(
            PrescribedOrder(context.beacon).key(one) for one in taken
        )
        street.commit(context, result)
        if max_count == 1_000 and max_bytes == 10**6:
            self.forget_what_is_pending()
        else:
            self.pending = [one for one in self.pending if one not in taken]

    @rule(count=st.sampled_from([1, 3, 9]), turn=st.integers(0, 10**6), absent=st.lists(homes, max_size=2))
    def empty_blocks(self, count: int, turn: int, absent: list[str]) -> None:
        for number in range(count):
            context = self.context(turn + 7 * number, [], absent, 2_000)
            self.street.commit(context, execute_block(self.street.reader, context, []))

    def context(self, turn: int, misses: list[int], absent: list[str], after_ms: int) -> BlockContext:
        """The next block's, with leaders from the committee in force, whatever their status."""
        names = {account_key(name).public_key: name for name in EVERYBODY}
        members = committee_at(self.street.reader, self.street.height + 1).members
        committee = [names[member.account] for member in members]
        return self.street.context(
            committee[turn % len(committee)],
            skipped=[committee[miss % len(committee)] for miss in misses],
            absent=absent,
            after_ms=after_ms,
        )

    def forget_what_is_pending(self) -> None:
        """What was left out stays out; the next transactions take the nonces the state wants."""
        self.pending = []
        self.nonces = {}
        for name in EVERYBODY:
            self.nonces[account_key(name).public_key] = self.street.account(name).nonce
            record = NODE_KEYS.get(self.street.state, self.node_keys[name].public_key)
            self.nonces[self.node_keys[name].public_key] = record.nonce if record else 0

    @invariant()
    def candidates_are_in_order(self) -> None:
        state = self.street.state
        tip = TIP.get(state)
        assert tip is not None
        for _, candidate in CANDIDATES.scan(state):
            assert candidate.last_mined_height <= tip.height
            assert candidate.epoch_signed <= candidate.epoch_counted <= PARAMETERS.epoch_blocks
            assert (candidate.suspended_height > 0) == (candidate.status == CandidateStatus.SUSPENDED)
            assert all(pot.release_height > tip.height and pot.amount_mvote for pot in candidate.frozen)
        members = committee_at(state, tip.height + 1).members
        assert list(members) == sorted(members, key=lambda member: member.account)
        weights = [member.weight for member in members]
        assert weights
        assert len(weights) < 4 or 3 * max(weights) < sum(weights)

    @invariant()
    def escrow_is_what_the_trades_that_are_not_settled_need(self) -> None:
        state = self.street.state
        for key, market in MARKET_PERIODS.scan(state):
            period = int.from_bytes(key, "big")
            retail = tariff_of(state, period).retail
            trades = [trade for _, trade in TRADES.scan(state, key)]
            needed = sum(amount_uwatt(trade.energy_wh, retail + trade.rate) for trade in trades)
            assert market.escrow_uwatt == (0 if period < next_period(state) else needed)
            assert all(trade.seller != trade.buyer for trade in trades)

    @invariant()
    def no_feeder_carries_more_than_it_can(self) -> None:
        for key, flow in FEEDER_FLOWS.scan(self.street.state):
            assert max(flow.out_wh, flow.into_wh) <= (1_000 if key[8:] == b"feeder-1" else 100_000)

    @invariant()
    def what_the_gateway_delivered_is_what_came_from_outside(self) -> None:
        for _, settled in SETTLED_PERIODS.scan(self.street.state):
            gateway_wh = settled.drawn_wh + settled.shortfall_wh - settled.fed_in_wh - settled.excess_wh
            assert gateway_wh == settled.import_wh - settled.export_wh
            assert settled.certified_wh <= min(settled.import_wh, settled.export_wh)

    @invariant()
    def nobody_is_in_two_pools_and_contracts_are_within_what_can_be_exported(self) -> None:
        state = self.street.state
        period = first_open_period(self.street.parameters, self.street.time_ms)
        for one in range(period - 1, period + 2):
            shared = [account for pool in pools_in(state, one) for account in {*pool.producers, *pool.shares_bps}]
            assert len(shared) == len(set(shared))
            for name in HOMES:
                account = account_key(name).public_key
                assert 0 <= offered_wh(state, self.street.parameters, account, one) <= 2_000
        for key, offer in CONTRACT_OFFERS.scan(state):
            assert offer.until_period > next_period(state), "what is over has been given back"
            for _, _, subscription in subscriptions_of(state, last_eight(key)):
                assert subscription.until_period <= offer.until_period

    @invariant()
    def bills_add_up(self) -> None:
        require_balanced_bills(self.street.state)

    @invariant()
    def readings_never_outgrow_the_window(self) -> None:
        assert len(list(READINGS.scan(self.street.state))) < 400

    @invariant()
    def no_refusal_is_one_that_would_have_made_the_block_invalid(self) -> None:
        if self.street.height == 0:
            return
        never = {Refusal.NONCE_USED, Refusal.FEE_TOO_LOW, Refusal.EXPIRED, Refusal.MALFORMED, Refusal.DUPLICATE}
        assert not never & {receipt.reason for receipt in self.street.last_result.receipts}


TestStreet = Street.TestCase
TestStreet.settings = settings(max_examples=20, stateful_step_count=40, deadline=None)
