"""Transactions between nodes: what is checked before it is passed on, and what is sent together.

1. Nothing is forwarded that was not verified: a validator decodes, bounds and checks signatures, so what a node passes
   on is well-formed and signed. Whether it can be *executed* is each node's own question and costs nobody anything.
2. A batch with a malformed or wrongly signed transaction is rejected whole and costs the peer that handed it over.
   A batch of another chain likewise. A batch in which nothing is new is not forwarded.
3. A signature costs far more to check than to make up. So what comes from a key that the state does not know is neither
   checked nor forwarded nor taken in (the state may be behind: it costs nobody anything), and while more than
   MAX_UNREAD_BYTES wait to be taken in, nothing is looked at. Whoever sent it will send it again.
4. Own transactions are sent together: a batch leaves 50 ms after its first transaction, or at 64 KiB.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import trio

from ledger.encoding import EncodingError, decode, encode
from ledger.refusal import TransactionRefused
from ledger.transactions import Transaction, decode_transaction
from node.protocol import MAX_BATCH_BYTES, MAX_BATCH_MESSAGE_BYTES, MAX_BATCH_TRANSACTIONS, TransactionBatch
from p2p.network import Network, PeerId, Verdict

FLUSH_S: Final = 0.05
VERIFIED_IDS: Final = 65_536
QUEUE: Final = 8_192
MAX_UNREAD_BYTES: Final = 4 * 1024 * 1024


class SignatureCache:
    """Remembers whose signatures were found good, so that none is checked twice: at the door, in gossip, in a block.

    The key is the id *and* the signature: an id names a body, and a body may arrive with a bad signature.
    """

    def __init__(self, capacity: int = VERIFIED_IDS) -> None:
        self._capacity = capacity
        self._good: OrderedDict[tuple[bytes, bytes], None] = OrderedDict()

    def check(self, transaction: Transaction) -> bool:
        """True if the transaction's signature is good."""
        key = (transaction.id, transaction.signature)
        if key in self._good:
            return True
        if not transaction.has_valid_signature():
            return False
        self._good[key] = None
        if len(self._good) > self._capacity:
            self._good.popitem(last=False)
        return True

    def knows(self, transaction_id: bytes, signature: bytes) -> bool:
        """True if this very signature of the transaction was found good before."""
        return (transaction_id, signature) in self._good


def decode_batch(data: bytes, chain_id: bytes) -> list[Transaction] | None:
    """The transactions of a batch, signatures not checked; None if any is malformed or of another chain."""
    try:
        batch = decode(data, TransactionBatch, MAX_BATCH_MESSAGE_BYTES)
        transactions = [decode_transaction(raw) for raw in batch.transactions]
    except (EncodingError, TransactionRefused):
        return None
    return transactions if all(transaction.chain_id == chain_id for transaction in transactions) else None


class TransactionGossip:
    """Sends own transactions in batches, and hands over what is new in the batches of others.

    ``is_known`` tells by id whether a transaction waits or is committed already; ``may_send`` whether the state knows a
    key; ``first_salt`` is beyond every salt of an earlier run. The topic is joined here, once.
    """

    def __init__(
        self,
        network: Network,
        topic: str,
        chain_id: bytes,
        signatures: SignatureCache,
        is_known: Callable[[bytes], bool],
        may_send: Callable[[bytes], bool],
        first_salt: int,
    ) -> None:
        self._network = network
        self._topic = topic
        self._chain_id = chain_id
        self._signatures = signatures
        self._is_known = is_known
        self._may_send = may_send
        self._salt = first_salt
        self._outgoing: OrderedDict[bytes, bytes] = OrderedDict()
        self._outgoing_bytes = 0
        self._wake = trio.Event()
        self._unread: deque[Transaction] = deque()
        self._unread_bytes = 0
        self._unread_added = trio.Event()
        self._subscription = network.subscribe(topic, self.validate)

    def send(self, transaction: Transaction) -> None:
        """Queues one accepted transaction. Beyond the queue's bound the oldest leaves the queue, not the mempool."""
        if transaction.id in self._outgoing:
            return
        self._outgoing[transaction.id] = transaction.raw
        self._outgoing_bytes += len(transaction.raw)
        if len(self._outgoing) > QUEUE:
            _, dropped = self._outgoing.popitem(last=False)
            self._outgoing_bytes -= len(dropped)
        self._wake.set()

    async def run_sender(self) -> None:
        """Flushes batches for ever."""
        while True:
            await self._wake.wait()
            if self._outgoing_bytes < MAX_BATCH_BYTES:
                await trio.sleep(FLUSH_S)
            self._salt += 1
            batch = TransactionBatch(transactions=tuple(self._take_batch()), salt=self._salt)
            await self._network.publish(self._topic, encode(batch))
            if not self._outgoing:
                self._wake = trio.Event()

    async def run_receiver(self) -> None:
        """Keeps the topic's queue empty, for ever; ``validate`` has taken everything already."""
        async for _ in self._subscription:
            pass

    async def run_intake(self, accept: Callable[[Transaction], Awaitable[None]]) -> None:
        """Hands every new transaction to ``accept``, one by one, for ever."""
        while True:
            while self._unread:
                transaction = self._unread.popleft()
                self._unread_bytes -= len(transaction.raw)
                await accept(transaction)
            self._unread_added = trio.Event()
            await self._unread_added.wait()

    def validate(self, _peer: PeerId, data: bytes) -> Verdict:
        """The topic's validator; see the module's rules."""
        if self._unread_bytes > MAX_UNREAD_BYTES:
            return Verdict.IGNORE
        transactions = decode_batch(data, self._chain_id)
        if transactions is None:
            return Verdict.REJECT
        familiar = [transaction for transaction in transactions if self._may_send(transaction.sender)]
        if not all(self._signatures.check(transaction) for transaction in familiar):
            return Verdict.REJECT
        news = [transaction for transaction in familiar if not self._is_known(transaction.id)]
        self._unread.extend(news)
        self._unread_bytes += sum(len(transaction.raw) for transaction in news)
        self._unread_added.set()
        return Verdict.ACCEPT if news and len(familiar) == len(transactions) else Verdict.IGNORE

    def _take_batch(self) -> Iterator[bytes]:
        size = count = 0
        while self._outgoing and size < MAX_BATCH_BYTES and count < MAX_BATCH_TRANSACTIONS:
            _, raw = self._outgoing.popitem(last=False)
            self._outgoing_bytes -= len(raw)
            size += len(raw)
            count += 1
            yield raw
