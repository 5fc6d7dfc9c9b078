"""Signatures of many transactions checked at once, beside the execution of others.

1. libsodium lets go of the interpreter while it checks one signature, but to go on a thread must get it back, and a
   thread that executes blocks keeps it for milliseconds: measured, a busy interpreter checks 2,400 to 4,300 a second in
   a thread, 13,000 in a process of its own. So a process checks, started when there is much to check, ended when there
   is nothing for a while.
2. What is few is checked in place. Where the process cannot be had, or dies, all is checked in a thread, in chunks.
3. It answers only whether all are good: who serves one bad signature is at fault for all it served.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from typing import Final, Protocol

import trio

from ledger.keys import Domain
from ledger.transactions import Transaction
from node.log import Log

FEW: Final = 64
CHUNK: Final = 64
ANSWER_S: Final = 60.0


class SignatureChecker(Protocol):
    async def are_good(self, transactions: Sequence[Transaction]) -> bool:
        """True if every one is signed by its sender."""

    async def rest(self) -> None:
        """There is nothing to check for a while."""


class InlineChecker:
    """For virtual time: takes none of it."""

    async def are_good(self, transactions: Sequence[Transaction]) -> bool:
        await trio.lowlevel.checkpoint()
        return all(transaction.has_valid_signature() for transaction in transactions)

    async def rest(self) -> None:
        await trio.lowlevel.checkpoint()


class ProcessChecker:
    """See the module's rules."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._turn = trio.Lock()
        self._process: trio.Process | None = None
        self._cannot = False

    async def are_good(self, transactions: Sequence[Transaction]) -> bool:
        if len(transactions) < FEW:
            await trio.lowlevel.checkpoint()
            return all(transaction.has_valid_signature() for transaction in transactions)
        async with self._turn:
            if not self._cannot:
                try:
                    return await self._ask(transactions)
                except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as error:
                    self._log.warning(
                        "signatures are checked in a thread: the process for it failed", reason=str(error)
                    )
                    self._cannot = True
        return await _in_thread(transactions)

    async def rest(self) -> None:
        async with self._turn:
            await self._end()

    async def _ask(self, transactions: Sequence[Transaction]) -> bool:
        process = self._process
        if process is None:
            process = self._process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "node.signature_process"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        assert process.stdin is not None
        assert process.stdout is not None
        body = b"".join(map(_item, transactions))
        answered = False
        try:
            with trio.fail_after(ANSWER_S):
                await process.stdin.send_all(len(body).to_bytes(4, "big") + body)
                answer = await process.stdout.receive_some(1)
            if not answer:
                raise trio.BrokenResourceError("it has died")
            answered = True
        finally:
            if not answered:  # cancelled or broken: what it may still answer is to an old question
                with trio.CancelScope(shield=True):
                    await self._end()
        return answer == b"\x01"

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with suppress(OSError):  # it may have died already
                process.kill()
            await process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    await stream.aclose()


def _item(transaction: Transaction) -> bytes:
    signed = transaction.signature + Domain.TRANSACTION.value + transaction.chain_id + transaction.body
    item = signed + transaction.sender
    return len(item).to_bytes(2, "big") + item


async def _in_thread(transactions: Sequence[Transaction]) -> bool:
    rest = iter(transactions)
    while chunk := list(islice(rest, CHUNK)):
        good = await trio.to_thread.run_sync(
            lambda chunk=chunk: all(transaction.has_valid_signature() for transaction in chunk)
        )
        if not good:
            return False
    return True
