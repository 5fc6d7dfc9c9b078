"""The door through which transactions come in: from the household's API, and from other nodes.

1. A transaction is decoded, its signature checked, admitted by the ledger, put into the mempool, written to the
   mempool's file, and only then acknowledged and passed on. Whatever fails is refused with its ``Refusal`` and not
   passed on.
2. What came from other nodes and is refused here is dropped in silence: their state may be ahead of ours or behind.
3. After each block the mempool is revised; what has waited for some blocks, or since before a restart, is sent again,
   for gossip may have lost it.
4. While the disk is full nothing is accepted: neither while the chain or the journal wait for room (``disk_full``), nor
   while the mempool's file does (``file_is_full``, which ends by itself: ``look_for_room``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

import trio

from consensus.chain_rules import ExecutedBlock
from ledger.execute import admit
from ledger.execution import get_parameters, get_tip
from ledger.records import ACCOUNTS, METERS, NODE_KEYS
from ledger.refusal import Refusal, TransactionRefused
from ledger.state import State, StateReader
from ledger.transactions import SubmitReading, Transaction, decode_transaction
from node.clock import WallClock
from node.gossip import SignatureCache
from node.log import Log
from node.mempool import Mempool

RESEND_EVERY_BLOCKS: Final = 2
RESENT_AT_ONCE: Final = 256
RESTORED_AT_ONCE: Final = 64


class Memory(Protocol):
    """What waits, written down: ``node.mempool_file.MempoolFile``. Errors: OSError."""

    def load(self) -> list[bytes]: ...

    def append(self, raws: Iterable[bytes]) -> None: ...

    def rewrite_if_grown(self, waiting_bytes: int, raws: Iterable[bytes]) -> None: ...

    def has_room(self) -> bool: ...

    def close(self) -> None: ...


class Outgoing(Protocol):
    """Passes transactions on to other nodes: ``node.gossip.TransactionGossip``."""

    def send(self, transaction: Transaction) -> None: ...


class Intake:
    """See the module's rules. ``next_height`` is the height to be made next."""

    def __init__(
        self,
        *,
        chain_id: bytes,
        base: StateReader,
        next_height: Callable[[], int],
        is_committed: Callable[[bytes], bool],
        signatures: SignatureCache,
        mempool: Mempool,
        file: Memory,
        wall: WallClock,
        accepted: Callable[[Transaction], None],
        log: Log,
    ) -> None:
        self._chain_id = chain_id
        self._base = base
        self._next_height = next_height
        self._is_committed = is_committed
        self._signatures = signatures
        self.mempool = mempool
        self._file = file
        self._wall = wall
        self._accepted = accepted
        self._log = log
        self._waits_since: dict[bytes, int] = {}
        self.gossip: Outgoing | None = None
        self.disk_full = False
        self.file_is_full = False

    def is_known(self, transaction_id: bytes) -> bool:
        """True for what waits or is committed."""
        return transaction_id in self.mempool or self._is_committed(transaction_id)

    def may_send(self, key: bytes) -> bool:
        """True if the state knows the key: an account's, a node's or a meter's."""
        state = State(self._base)
        return any(table.get(state, key) is not None for table in (ACCOUNTS, METERS, NODE_KEYS))

    async def restore(self) -> None:
        """Takes back what waited before a restart; what is no longer valid is dropped. Errors: OSError."""
        for index, raw in enumerate(self._file.load()):
            if index % RESTORED_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
            self.take_back(raw)

    def take_back(self, raw: bytes) -> None:
        """Takes back one transaction that waited before a restart. It was promised a block then: it is dropped for what
        ``revise`` would have dropped it for, not because a new one like it would be refused by now.
        """
        try:
            transaction = decode_transaction(raw)
            self._require_genuine(transaction)
            self._require_possible(transaction)
            self.mempool.add(transaction)
        except TransactionRefused as refused:
            self._log.debug("dropped after restart", reason=str(refused))
        else:
            self._waits_since[transaction.id] = 0

    async def submit(self, raw: bytes) -> Transaction:
        """``take``, for a task that takes many. Errors: TransactionRefused."""
        transaction = self.take(raw)
        await trio.lowlevel.checkpoint()
        return transaction

    def take(self, raw: bytes) -> Transaction:
        """Takes one transaction in and passes it on. Errors: TransactionRefused."""
        transaction = decode_transaction(raw)
        # What the sender has waiting is counted, so that nobody is told yes for money that is spent already.
        self._take(self._admit(transaction, self.mempool.pending(transaction.sender)))
        if self.gossip is not None:
            self.gossip.send(transaction)
        return transaction

    async def accept(self, transaction: Transaction) -> None:
        """``take_gossiped``, for a task that takes many."""
        self.take_gossiped(transaction)
        await trio.lowlevel.checkpoint()

    def take_gossiped(self, transaction: Transaction) -> None:
        """Takes in one that another node passed on; its signature was checked."""
        try:
            self._take(self._admit(transaction))
        except TransactionRefused as refused:
            self._log.debug("gossiped transaction not taken", reason=str(refused))

    def revise(self, executed: ExecutedBlock) -> None:
        """After a block: forgets what is settled, and sends again what waits too long."""
        state = State(self._base)
        height = executed.block.header.height
        oldest_period = _oldest_period(state, executed.block.header.time_ms)
        self.mempool.revise(
            [transaction.id for transaction in executed.transactions],
            height + 1,
            {transaction.sender: _next_nonce(state, transaction.sender) for transaction in executed.transactions},
            lambda reading: isinstance(reading.payload, SubmitReading) and reading.payload.period >= oldest_period,
        )
        self._waits_since = {one: since for one, since in self._waits_since.items() if one in self.mempool}
        self._send_again(height)
        try:
            self._file.rewrite_if_grown(self.mempool.bytes, (transaction.raw for transaction in self.mempool))
        except OSError as error:
            self._note_disk(error)

    def close(self) -> None:
        """Lets go of the mempool's file."""
        self._file.close()

    def _admit(self, transaction: Transaction, waiting: Sequence[Transaction] = ()) -> Transaction:
        self._require_genuine(transaction)
        admit(
            self._base,
            self._chain_id,
            transaction,
            height=self._next_height(),
            time_ms=self._wall(),
            waiting=waiting,
        )
        return transaction

    def _require_genuine(self, transaction: Transaction) -> None:
        """Errors: TransactionRefused DUPLICATE, WRONG_CHAIN, BAD_SIGNATURE."""
        if self.is_known(transaction.id):
            raise TransactionRefused(Refusal.DUPLICATE, "this transaction is waiting or committed already")
        if transaction.chain_id != self._chain_id:
            raise TransactionRefused(Refusal.WRONG_CHAIN, f"this chain is {self._chain_id.hex()}")
        if not self._signatures.check(transaction):
            raise TransactionRefused(Refusal.BAD_SIGNATURE, "the signature is not the sender's over this body")

    def _require_possible(self, transaction: Transaction) -> None:
        """Errors: TransactionRefused NONCE_USED, EXPIRED, OUTSIDE_WINDOW: it can be in no block any more."""
        state = State(self._base)
        if isinstance(transaction.payload, SubmitReading):
            if transaction.payload.period < _oldest_period(state, get_tip(state).time_ms):
                raise TransactionRefused(
                    Refusal.OUTSIDE_WINDOW, f"period {transaction.payload.period} is too old by now"
                )
        elif transaction.nonce < _next_nonce(state, transaction.sender):
            raise TransactionRefused(Refusal.NONCE_USED, f"nonce {transaction.nonce} is used by now")
        elif transaction.valid_until_height < self._next_height():
            raise TransactionRefused(Refusal.EXPIRED, f"valid until height {transaction.valid_until_height}")

    def _take(self, transaction: Transaction) -> None:
        if self.disk_full:
            raise TransactionRefused(Refusal.DISK_FULL, "this node's disk is full; make room and try again")
        replaced = self.mempool.add(transaction)
        try:
            self._file.append([transaction.raw])
        except OSError as error:
            self.mempool.take_back(transaction, replaced)
            self._note_disk(error)
            raise TransactionRefused(
                Refusal.DISK_FULL, f"this node cannot write it down ({error.strerror}); make room and try again"
            ) from error
        self.file_is_full = False
        self._waits_since[transaction.id] = self._next_height()
        self._accepted(transaction)

    def _send_again(self, height: int) -> None:
        if self.gossip is None:
            return
        late = [one for one, since in self._waits_since.items() if height - since >= RESEND_EVERY_BLOCKS]
        for transaction_id in late[:RESENT_AT_ONCE]:
            transaction = self.mempool.get(transaction_id)
            if transaction is not None:
                self.gossip.send(transaction)
                self._waits_since[transaction_id] = height

    def look_for_room(self) -> None:
        """After the file could not be written: sees whether it can be again. Nobody need send anything for that."""
        if self.file_is_full and self._file.has_room():
            self.file_is_full = False
            self._log.info("there is room for the mempool's file again")

    def _note_disk(self, error: OSError) -> None:
        if not self.file_is_full:
            self._log.error("the mempool's file cannot be written", detail=str(error))
        self.file_is_full = True


def _oldest_period(state: State, time_ms: int) -> int:
    """Readings of earlier ones cannot be accepted any more at that time."""
    parameters = get_parameters(state)
    return (time_ms - parameters.acceptance_window_ms) // parameters.period_ms


def _next_nonce(state: State, sender: bytes) -> int:
    delegated = NODE_KEYS.get(state, sender)
    if delegated is not None:
        return delegated.nonce
    account = ACCOUNTS.get(state, sender)
    return 0 if account is None else account.nonce
