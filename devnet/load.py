"""Transfers into a devnet whose nodes come and go, and what was promised of them.

1. Every home has an account for this alone, which its wallet fills first: the wallet itself is the autopilot's, and two
   programs cannot sign for one account. From there go transfers of the smallest amount to the next home, one nonce
   after the other.
2. A transfer is handed to one node. If that node does not answer, the same bytes go to another, until one acknowledges
   them: takes them in, or says that it has them.
3. ``acknowledged`` is exactly what nodes have promised. Whatever else becomes of a node, these must become final.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import trio

from devnet.making import PASSWORD, WALLETS
from devnet.manifest import HomeRecord
from ledger.keys import SigningKey, digest, parse_address
from ledger.refusal import Refusal
from ledger.transactions import Token, Transaction, Transfer, sign_transaction
from node.client.client import NodeClient
from node.client.errors import ApiProblem, ClientError
from node.client.models import Account
from node.keystore import Keystore
from node.services import TaskStatus

PURPOSE: Final = b"ecloud devnet load"
FUNDS_UWATT: Final = 20_000_000
FEE_UWATT: Final = 1_000
"""The funds are enough for twenty thousand transfers."""
ANSWERS_WITHIN_S: Final = 5.0
PAUSE_S: Final = 0.1
VALID_FOR_BLOCKS: Final = 5_000
"""From the beginning of the load on: hours."""


class LoadRefused(Exception):
    """A node refuses a transfer that is in order, and says that trying again will not help."""


@dataclass(slots=True)
class _Sender:
    """``wallet`` fills the account of ``key``."""

    wallet: SigningKey
    key: SigningKey
    recipient: bytes
    nonce: int = 0


class Load:
    """See the module's rules. ``focus``: the only node that is asked, as fast as it answers; None for all in turn."""

    def __init__(self, root: Path, homes: Sequence[HomeRecord], chain_id: bytes, seed: int) -> None:
        keystore = Keystore(root / WALLETS)
        seeds = [keystore.unlock(home.name, PASSWORD) for home in homes]
        recipients = [parse_address(home.address) for home in [*homes[1:], homes[0]]]
        self.acknowledged: dict[bytes, str] = {}  # transaction id → the node that promised
        self.focus: str | None = None
        self._senders = [
            _Sender(SigningKey(seed), SigningKey(digest(PURPOSE, seed)), recipient)
            for seed, recipient in zip(seeds, recipients, strict=True)
        ]
        self._homes = {home.name: home for home in homes}
        self._clients: dict[str, NodeClient] = {}
        self._chain_id = chain_id
        self._random = Random(seed)  # noqa: S311 (chooses whom to ask)
        self._height = self._filled_height = 0
        self._stopping = False
        self._ended = trio.Event()

    async def run(self, per_second: float, task_status: TaskStatus = trio.TASK_STATUS_IGNORED) -> None:
        """Until ``stop``. Errors: LoadRefused."""
        async with AsyncExitStack() as stack:
            for name, home in self._homes.items():
                self._clients[name] = await stack.enter_async_context(NodeClient(home.api_url))
            async with trio.open_nursery() as nursery:
                for sender in self._senders:
                    nursery.start_soon(self._fill, sender)
            async with trio.open_nursery() as nursery:
                for sender in self._senders:
                    nursery.start_soon(self._send, sender, len(self._senders) / per_second)
                task_status.started()
        self._ended.set()

    async def stop(self) -> None:
        """Has what is being handed over acknowledged, and ends ``run``."""
        self._stopping = True
        await self._ended.wait()

    async def _send(self, sender: _Sender, every_s: float) -> None:
        await trio.sleep(every_s * self._random.random())
        while not self._stopping:
            due_s = trio.current_time() + every_s
            await self._hand_over(self._sign(sender))
            sender.nonce += 1
            if self.focus is None:
                await trio.sleep_until(due_s)

    def _sign(self, sender: _Sender) -> Transaction:
        return self._transfer(sender.key, sender.recipient, 1, sender.nonce)

    def _transfer(self, key: SigningKey, recipient: bytes, amount_uwatt: int, nonce: int) -> Transaction:
        return sign_transaction(
            key,
            self._chain_id,
            Transfer(recipient=recipient, token=Token.WATT, amount=amount_uwatt, memo=""),
            nonce=nonce,
            fee_uwatt=FEE_UWATT,
            valid_until_height=self._height + VALID_FOR_BLOCKS,
        )

    async def _hand_over(self, transaction: Transaction) -> None:
        """Until a node acknowledges it."""
        while True:
            name = self.focus or self._random.choice(list(self._clients))
            try:
                with trio.fail_after(ANSWERS_WITHIN_S):
                    await self._clients[name].submit(transaction.raw)
            except ApiProblem as problem:
                if problem.refusal is Refusal.DUPLICATE:
                    break
                if not (problem.retry_may_help or await self._is_behind(name, problem)):
                    raise LoadRefused(f"{name}'s node: {problem}") from problem
            except (ClientError, trio.TooSlowError):
                pass  # it is down, or hangs: another one is asked
            else:
                break
            await trio.sleep(PAUSE_S * self._random.random())
        self.acknowledged[transaction.id] = name

    async def _is_behind(self, name: str, problem: ApiProblem) -> bool:
        """Whether a node refuses only because it has not heard yet of the gifts that filled the accounts."""
        if problem.refusal is not Refusal.CANNOT_PAY_FEE:
            return False
        try:
            return (await self._clients[name].status()).height < self._filled_height
        except ClientError:
            return True  # it cannot be asked any more, so it is no judge

    async def _fill(self, sender: _Sender) -> None:
        """Until the sender's account has what it needs, and its next nonce is known."""
        while (own := await self._look_up(sender.key)).watt_uwatt < FUNDS_UWATT // 2:
            wallet = await self._look_up(sender.wallet)
            await self._give(
                sender, self._transfer(sender.wallet, sender.key.public_key, FUNDS_UWATT, wallet.next_nonce)
            )
        sender.nonce, self._filled_height = own.next_nonce, max(self._filled_height, own.height)

    async def _give(self, sender: _Sender, gift: Transaction) -> None:
        """Waits until the gift, or what somebody else signed with its nonce, is in the chain."""
        try:
            await self._hand_over(gift)
        except LoadRefused:
            return  # the autopilot was faster: the next gift has another nonce
        del self.acknowledged[gift.id]  # it may be replaced by what the autopilot signs with its nonce
        while (await self._look_up(sender.wallet)).nonce <= gift.nonce:  # noqa: ASYNC110 (nodes of other processes)
            await trio.sleep(PAUSE_S)

    async def _look_up(self, key: SigningKey) -> Account:
        """As the first node that answers has it."""
        while True:
            for client in self._clients.values():
                try:
                    account = await client.account(key.public_key.hex())
                except ClientError:
                    await trio.sleep(PAUSE_S)  # it is still starting, or down
                else:
                    self._height = account.height
                    return account
