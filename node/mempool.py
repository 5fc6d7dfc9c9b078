"""Transactions that wait for a block.

1. What enters was admitted by the ledger (``ledger.execute.admit``) and its signature was checked.
2. Every sender has a queue by nonce. A waiting transaction is replaced by one of the same nonce with a fee at least a
   tenth higher. A reading has no nonce: it waits under (meter, period, id).
3. Bounds: ``max_bytes`` in all, ``MAX_PER_SENDER`` each. A full pool refuses; it never forgets what it accepted, except
   what can no longer be valid.
4. ``revise`` after each block drops what was included, what has expired, and nonces that are used up.
5. A transaction counts its bytes and WEIGHT_BYTES, which is about what it takes in memory beyond them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from ledger.refusal import Refusal, TransactionRefused
from ledger.transactions import Kind, SubmitReading, Transaction
from ledger.units import watt_text

MAX_PER_SENDER: Final = 64
MAX_READINGS_PER_METER: Final = 256
DEFAULT_MAX_BYTES: Final = 32 * 1024 * 1024
REPLACEMENT_BPS: Final = 11_000
WEIGHT_BYTES: Final = 1_000


class Mempool:
    """See the module's rules. Iterates over what waits, senders in order of arrival, each by nonce."""

    def __init__(self, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0  # of the transactions alone
        self._by_id: dict[bytes, Transaction] = {}
        self._queues: dict[bytes, dict[int, Transaction]] = {}
        self._readings: dict[bytes, dict[bytes, Transaction]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, transaction_id: bytes) -> bool:
        return transaction_id in self._by_id

    def __iter__(self) -> Iterator[Transaction]:
        for readings in self._readings.values():
            yield from readings.values()
        for queue in self._queues.values():
            for nonce in sorted(queue):
                yield queue[nonce]

    def get(self, transaction_id: bytes) -> Transaction | None:
        return self._by_id.get(transaction_id)

    def pending(self, sender: bytes) -> list[Transaction]:
        """What waits from one sending key, by nonce."""
        queue = self._queues.get(sender, {})
        return [queue[nonce] for nonce in sorted(queue)]

    def next_nonce(self, sender: bytes, committed: int) -> int:
        """The first nonce from ``committed`` on that does not wait here."""
        queue = self._queues.get(sender, {})
        nonce = committed
        while nonce in queue:
            nonce += 1
        return nonce

    def add(self, transaction: Transaction) -> Transaction | None:
        """Takes one transaction; returns the one it replaces. Errors: TransactionRefused."""
        if transaction.id in self._by_id:
            raise TransactionRefused(Refusal.DUPLICATE, "this transaction is already waiting for a block")
        if transaction.kind is Kind.SUBMIT_READING:
            self._check_room(transaction, None)
            self._add_reading(transaction)
            return None
        queue = self._queues.get(transaction.sender, {})
        replaced = queue.get(transaction.nonce)
        if replaced is not None and transaction.fee_uwatt * 10_000 < replaced.fee_uwatt * REPLACEMENT_BPS:
            least = -(-replaced.fee_uwatt * REPLACEMENT_BPS // 10_000)
            raise TransactionRefused(
                Refusal.FEE_NOT_HIGHER,
                f"nonce {transaction.nonce} is waiting already; to replace it offer at least {watt_text(least)} as fee",
            )
        if replaced is None and len(queue) >= MAX_PER_SENDER:
            raise TransactionRefused(
                Refusal.SENDER_QUEUE_FULL, f"{MAX_PER_SENDER} transactions of this sender wait already; try again later"
            )
        self._check_room(transaction, replaced)
        if replaced is not None:
            self._forget(replaced)
        self._queues.setdefault(transaction.sender, {})[transaction.nonce] = transaction
        self._keep(transaction)
        return replaced

    def revise(
        self,
        included: Iterable[bytes],
        height: int,
        next_nonces: Mapping[bytes, int],
        keeps: Callable[[Transaction], bool],
    ) -> None:
        """After a block: ``included`` are its transaction ids, ``height`` the next height to be made, ``next_nonces``
        those of the block's senders. ``keeps`` says whether a waiting reading can still be accepted.
        """
        for transaction_id in included:
            found = self._by_id.get(transaction_id)
            if found is not None:
                self._forget(found)
        for sender, queue in list(self._queues.items()):
            used_up_to = next_nonces.get(sender, 0)
            for transaction in list(queue.values()):
                if transaction.nonce < used_up_to or transaction.valid_until_height < height:
                    self._forget(transaction)
        for readings in list(self._readings.values()):
            for transaction in list(readings.values()):
                if not keeps(transaction):
                    self._forget(transaction)

    def take_back(self, transaction: Transaction, replaced: Transaction | None) -> None:
        """Undoes an ``add`` that could not be written down, and what it replaced."""
        self._forget(transaction)
        if replaced is not None:
            self._queues.setdefault(replaced.sender, {})[replaced.nonce] = replaced
            self._keep(replaced)

    def _add_reading(self, transaction: Transaction) -> None:
        assert isinstance(transaction.payload, SubmitReading)
        readings = self._readings.setdefault(transaction.sender, {})
        if len(readings) >= MAX_READINGS_PER_METER:
            raise TransactionRefused(
                Refusal.SENDER_QUEUE_FULL,
                f"{MAX_READINGS_PER_METER} readings of this meter wait already; try again later",
            )
        readings[transaction.id] = transaction
        self._keep(transaction)

    def _check_room(self, transaction: Transaction, replaced: Transaction | None) -> None:
        more = _weight(transaction) - (0 if replaced is None else _weight(replaced))
        if self.bytes + WEIGHT_BYTES * len(self) + more > self.max_bytes:
            raise TransactionRefused(
                Refusal.MEMPOOL_FULL,
                f"{len(self)} transactions of {self.bytes} bytes are waiting; try again after the next block",
            )

    def _keep(self, transaction: Transaction) -> None:
        self._by_id[transaction.id] = transaction
        self.bytes += len(transaction.raw)

    def _forget(self, transaction: Transaction) -> None:
        del self._by_id[transaction.id]
        self.bytes -= len(transaction.raw)
        assert self.bytes >= 0
        if transaction.kind is Kind.SUBMIT_READING:
            readings = self._readings[transaction.sender]
            del readings[transaction.id]
            if not readings:
                del self._readings[transaction.sender]
        else:
            queue = self._queues[transaction.sender]
            del queue[transaction.nonce]
            if not queue:
                del self._queues[transaction.sender]


def _weight(transaction: Transaction) -> int:
    """Rule 5."""
    return len(transaction.raw) + WEIGHT_BYTES
