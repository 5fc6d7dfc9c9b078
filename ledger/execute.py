"""Carries out a block on a state: the one way in which the ledger changes.

1. Whoever calls has verified every signature (``Transaction.has_valid_signature``) and the facts of the context.
2. First the turn is accounted for (``turns``); then books are closed (``market.closing``), at most one period is
   settled (``settlement.periods``), and unpaid bills come into arrears (``billing.upkeep``); then the transactions take
   effect one by one, in the prescribed order; at an epoch's last block reputation decays, the committee snapshot is
   taken, old readings and bill lines are forgotten; then the tip moves on; last the sums are checked
   (``conservation``).
3. Prescribed order: readings by (period, meter, id); then senders by SHA-256(beacon ‖ sender), each by nonce.
4. A transaction that can never be valid, a reading that is refused, and an envelope that is wrong or cannot be paid
   make the block invalid. A transaction that is refused for any other reason takes its fee and its nonce, changes
   nothing else, and its receipt says why.
5. Work on the books is counted (``execution``). An order, cancellation, quote or offer of a contract that comes when
   the block's work is ``MAX_BLOCK_WORK`` or more makes the block invalid: so a block never has more than that and one
   transaction's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Final

from ledger import evidence, registry, sharing, transfers, votes
from ledger.balances import give_watt
from ledger.billing import recording
from ledger.billing.upkeep import forget_lines, note_arrears
from ledger.block import BlockContext, BlockResult, HistoryEntry, InvalidBlock, Receipt
from ledger.committee import take_snapshot
from ledger.conservation import check_block
from ledger.contracts import licences
from ledger.contracts import rules as contract_rules
from ledger.effects import HISTORY_KIND
from ledger.envelope import charge, check_next_nonce, check_terms, resolve_sender
from ledger.execution import Execution, Rule, get_parameters, get_tip
from ledger.keys import digest
from ledger.market import orders
from ledger.market.closing import close_books
from ledger.readings import apply_reading, check_reading, prune_readings
from ledger.records import TIP, Tip
from ledger.refusal import Refusal, TransactionRefused
from ledger.settlement.periods import settle_due
from ledger.state import Base, State
from ledger.transactions import MAX_TRANSACTION_BYTES, Kind, SubmitReading, Transaction
from ledger.turns import decay_reputation, restart_participation, take_turn

RULES: Final[dict[Kind, Rule[Any]]] = {
    **transfers.RULES,
    **registry.RULES,
    **votes.RULES,
    **evidence.RULES,
    **orders.RULES,
    **sharing.RULES,
    **contract_rules.RULES,
    **licences.RULES,
    **recording.RULES,
}
MAX_NONCE_GAP: Final = 64
COUNTED_KINDS: Final = frozenset({*orders.RULES, Kind.OFFER_CONTRACT})
MAX_BLOCK_WORK: Final = 8_192
"""When a block's orders were so much work, none that comes after is for that block."""
MAX_WAITING_WORK: Final = 1_024
"""When what waits of a sender is so much work, what it adds is looked at in its block."""
OTHERS_PART: Final = 4
"""Readings leave one part in so many of a block to all others."""

assert set(RULES) == set(Kind) - {Kind.SUBMIT_READING}, "every kind has a rule; readings have a way of their own"

OrderKey = tuple[int, Any, Any, bytes]


def execute_block(base: Base, context: BlockContext, transactions: Sequence[Transaction]) -> BlockResult:
    """Executes a block that somebody else put together, on the state after its parent; ``base`` is not changed.

    The signatures of the transactions have been verified by the caller. Errors: InvalidBlock; BrokenInvariant, which is
    a defect of this program.
    """
    run = _execute_all(base, context, transactions)
    return run.result(run.execution.state.changes())


def execute_onto(state: State, context: BlockContext, transactions: Sequence[Transaction]) -> BlockResult:
    """``execute_block`` for one of several blocks in a row: ``state`` is the one after its parent and becomes the one
    after it, as long as nothing is raised. The result's changes are left out: ``state.changes()`` has those of all.
    """
    run = _execute_all(state, context, transactions)
    state.absorb(run.execution.state)
    return run.result({})


def _execute_all(base: Base, context: BlockContext, transactions: Sequence[Transaction]) -> _Run:
    order = PrescribedOrder(context.beacon)
    keys = [order.key(transaction) for transaction in transactions]
    for index, (one, following) in enumerate(pairwise(keys), 1):
        if following <= one:
            raise InvalidBlock(f"transaction {index} is not in the prescribed order")
    run = _Run(base, context)
    run.require_size(transactions)
    for index, transaction in enumerate(transactions):
        try:
            run.execute(transaction)
        except TransactionRefused as refused:
            raise InvalidBlock(f"transaction {index} may not be in a block: {refused}") from refused
    run.finish()
    return run


def select_transactions(
    base: Base,
    context: BlockContext,
    candidates: Iterable[Transaction],
    max_bytes: int,
    max_count: int,
) -> tuple[list[Transaction], BlockResult]:
    """The producer's side: takes what fits in prescribed order, leaves out what would make the block invalid, and
    executes what it takes, once. The result is the one ``execute_block`` gives for the same transactions.

    ``max_bytes`` bounds Σ len(raw), ``max_count`` the number; the chain's own limits hold besides. Readings come first
    in a block, but leave the others a quarter of it, or what they need of that: after an outage there are readings for
    many blocks. That is a habit of producers, not a rule that blocks must keep. The signatures have been verified by
    the caller. Errors: InvalidBlock for the context; BrokenInvariant.
    """
    run = _Run(base, context)
    parameters = run.execution.parameters
    bytes_left = min(max_bytes, parameters.max_block_bytes)
    count_left = min(max_count, parameters.max_block_transactions)
    ordered = sorted(candidates, key=PrescribedOrder(context.beacon).key)
    others = [transaction for transaction in ordered if transaction.kind is not Kind.SUBMIT_READING]
    kept_bytes = min(bytes_left // OTHERS_PART, sum(len(transaction.raw) for transaction in others))
    kept_count = min(count_left // OTHERS_PART, len(others))
    taken: list[Transaction] = []
    for transaction in ordered:
        if len(taken) == count_left:
            break
        kept = transaction.kind is Kind.SUBMIT_READING
        if len(transaction.raw) > bytes_left - kept * kept_bytes or len(taken) == count_left - kept * kept_count:
            continue
        try:
            run.execute(transaction)
        except TransactionRefused:
            continue  # it stays with the producer, for a later block or for oblivion
        bytes_left -= len(transaction.raw)
        taken.append(transaction)
    run.finish()
    return taken, run.result(run.execution.state.changes())


def admit(
    base: Base,
    chain_id: bytes,
    transaction: Transaction,
    *,
    height: int,
    time_ms: int,
    waiting: Sequence[Transaction] = (),
) -> None:
    """Whether a node should take a transaction in, for a block at ``height`` or later and ``time_ms`` or later.

    What can never be valid is refused, and what the state of now refuses: wrong nonce (up to 64 ahead may wait), fee,
    validity; and the payload when its nonce is the next one, after those of ``waiting``: what is admitted of the same
    sender already, by nonce, as long as those are not too much work. A reading is checked in full, as for a block one
    sampling tolerance later, since it can wait for its period's end. The signature is the caller's to verify.
    Errors: TransactionRefused.
    """
    state = State(base)
    parameters = get_parameters(state)
    execution = Execution(state=state, parameters=parameters, chain_id=chain_id, height=height, time_ms=time_ms)
    check_form(transaction, chain_id)
    if isinstance(transaction.payload, SubmitReading):
        execution.time_ms += parameters.sampling_tolerance_ms
        apply_reading(execution, transaction, transaction.payload)
        return
    sender = resolve_sender(state, transaction)
    if transaction.nonce > sender.nonce + MAX_NONCE_GAP:
        raise TransactionRefused(
            Refusal.NONCE_TOO_HIGH,
            f"nonce {transaction.nonce}; the next is {sender.nonce}, at most {MAX_NONCE_GAP} ahead may wait",
        )
    if transaction.nonce < sender.nonce:
        check_next_nonce(sender, transaction)
    check_terms(state, parameters, sender, transaction, height)
    for earlier in waiting:
        if execution.work >= MAX_WAITING_WORK:
            return
        if earlier.nonce < transaction.nonce:
            _try(execution, earlier)
    if transaction.nonce == resolve_sender(state, transaction).nonce:
        refused = _try(execution, transaction)
        if refused is not None:
            raise refused


def _try(execution: Execution, transaction: Transaction) -> TransactionRefused | None:
    """What a block would make of it, on a state that is thrown away."""
    state = execution.state
    sender = resolve_sender(state, transaction)
    try:
        check_next_nonce(sender, transaction)
        check_terms(state, execution.parameters, sender, transaction, execution.height)
        charge(state, sender, transaction)
        execution.begin_work()
        with state.transaction():
            RULES[transaction.kind].apply(execution, sender.account, transaction.payload)
    except TransactionRefused as refused:
        return refused
    return None


def check_form(transaction: Transaction, chain_id: bytes) -> None:
    """What no state can mend. Errors: TransactionRefused WRONG_CHAIN, OVERSIZED, and those of the kind's ``check``."""
    if transaction.chain_id != chain_id:
        raise TransactionRefused(
            Refusal.WRONG_CHAIN, f"made for chain {transaction.chain_id.hex()}; this is chain {chain_id.hex()}"
        )
    if len(transaction.raw) > MAX_TRANSACTION_BYTES:
        raise TransactionRefused(
            Refusal.OVERSIZED, f"{len(transaction.raw)} bytes; a transaction has at most {MAX_TRANSACTION_BYTES}"
        )
    if isinstance(transaction.payload, SubmitReading):
        check_reading(transaction, transaction.payload)
    else:
        RULES[transaction.kind].check(transaction, transaction.payload)


class PrescribedOrder:
    """Sorts transactions as the beacon prescribes; remembers the senders' hashes while a block is put together."""

    def __init__(self, beacon: bytes) -> None:
        self._beacon = beacon
        self._places: dict[bytes, bytes] = {}

    def key(self, transaction: Transaction) -> OrderKey:
        """Keys of different kinds compare by their first item; equal keys cannot both be in a block."""
        if isinstance(transaction.payload, SubmitReading):
            return 0, transaction.payload.period, transaction.sender, transaction.id
        place = self._places.get(transaction.sender)
        if place is None:
            place = self._places[transaction.sender] = digest(self._beacon, transaction.sender)
        return 1, place, transaction.nonce, b""


class _Run:
    """One block under way: begun when made, then transaction by transaction, then finished once. Errors when made:
    InvalidBlock, BrokenInvariant.
    """

    def __init__(self, base: Base, context: BlockContext) -> None:
        state = State(base)
        tip = get_tip(state)
        if context.height != tip.height + 1:
            raise InvalidBlock(f"height {context.height} does not follow {tip.height}")
        if context.time_ms <= tip.time_ms:
            raise InvalidBlock(f"block time {context.time_ms} is not after its parent's, {tip.time_ms}")
        self.context = context
        self.execution = Execution(
            state=state,
            parameters=get_parameters(state),
            chain_id=context.chain_id,
            height=context.height,
            time_ms=context.time_ms,
        )
        self._receipts: list[Receipt] = []
        self._history: list[HistoryEntry] = []
        take_turn(self.execution, context)
        close_books(self.execution)
        settle_due(self.execution)
        note_arrears(self.execution)

    def require_size(self, transactions: Sequence[Transaction]) -> None:
        """Errors: InvalidBlock."""
        parameters = self.execution.parameters
        if len(transactions) > parameters.max_block_transactions:
            raise InvalidBlock(
                f"{len(transactions)} transactions; a block has at most {parameters.max_block_transactions}"
            )
        size_bytes = sum(len(transaction.raw) for transaction in transactions)
        if size_bytes > parameters.max_block_bytes:
            raise InvalidBlock(f"{size_bytes} bytes of transactions; a block has at most {parameters.max_block_bytes}")

    def execute(self, transaction: Transaction) -> None:
        """Carries out one transaction. Errors: TransactionRefused if it may not be in the block; then nothing has
        changed.
        """
        execution = self.execution
        execution.concerned = {}
        execution.note = ""
        execution.index = len(self._receipts)
        check_form(transaction, execution.chain_id)
        if isinstance(transaction.payload, SubmitReading):
            with execution.state.transaction():
                apply_reading(execution, transaction, transaction.payload)
            self._record(transaction, None)
        else:
            self._record(transaction, self._act(transaction))

    def _act(self, transaction: Transaction) -> Refusal | None:
        execution = self.execution
        state = execution.state
        sender = resolve_sender(state, transaction)
        check_next_nonce(sender, transaction)
        check_terms(state, execution.parameters, sender, transaction, execution.height)
        if execution.work >= MAX_BLOCK_WORK and transaction.kind in COUNTED_KINDS:
            raise TransactionRefused(Refusal.TOO_MUCH_WORK, "the block's orders are work enough; the next one takes it")
        charge(state, sender, transaction)
        give_watt(state, self.context.producer, transaction.fee_uwatt)
        execution.concern(sender.account)
        execution.begin_work()
        effects_before = len(execution.effects)
        try:
            with state.transaction():
                RULES[transaction.kind].apply(execution, sender.account, transaction.payload)
        except TransactionRefused as refused:
            del execution.effects[effects_before:]
            execution.concerned = {sender.account: None}
            execution.note = ""
            return refused.refusal
        return None

    def _record(self, transaction: Transaction, refusal: Refusal | None) -> None:
        index = len(self._receipts)
        kind = int(transaction.kind)
        self._receipts.append(
            Receipt(
                transaction_id=transaction.id,
                kind=kind,
                fee_uwatt=transaction.fee_uwatt,
                refusal=None if refusal is None else refusal.value,
                note=self.execution.note,
            )
        )
        self._history.extend(HistoryEntry(account, index, kind) for account in self.execution.concerned)

    def finish(self) -> None:
        """Closes the epoch if it ends here, moves the tip, checks the sums. Errors: BrokenInvariant."""
        execution, context = self.execution, self.context
        execution.index = None
        state = execution.state
        if context.height % execution.parameters.epoch_blocks == 0:
            decay_reputation(execution)
            take_snapshot(execution)
            restart_participation(execution)
            prune_readings(execution)
            forget_lines(execution)
        TIP.put(
            state,
            Tip(height=context.height, time_ms=context.time_ms, seed=context.seed, previous_producer=context.producer),
        )
        check_block(state)

    def result(self, changes: dict[bytes, bytes | None]) -> BlockResult:
        """What to tell of the finished block."""
        effects, count = tuple(self.execution.effects), len(self._receipts)
        beside = (
            HistoryEntry(effect.account, count + place, HISTORY_KIND + effect.kind)
            for place, effect in enumerate(effects)
        )
        return BlockResult(
            changes=changes,
            receipts=tuple(self._receipts),
            history=(*self._history, *beside),
            effects=effects,
            lines=tuple(self.execution.lines),
        )
