"""Signatures checked by a process of their own, which may be slow to come, or die."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from ledger.transactions import Token, Transaction, Transfer, sign_transaction
from node.log import get
from node.signature_checker import FEW, InlineChecker, ProcessChecker
from node.signature_process import all_good
from tests.support.chain import key_for


def transfers(count: int) -> list[Transaction]:
    key, other = key_for("account", "anne"), key_for("account", "bob")
    payload = Transfer(recipient=other.public_key, token=Token.WATT, amount=1, memo="")
    return [sign_transaction(key, bytes(32), payload, nonce=nonce) for nonce in range(count)]


def forged(transaction: Transaction) -> Transaction:
    return replace(transaction, signature=bytes(64))


@pytest.mark.trio
@pytest.mark.parametrize("count", [0, 1, FEW - 1, FEW, 3 * FEW])
@pytest.mark.parametrize("place", [None, 0, -1])
async def test_one_bad_signature_among_many_is_found(count: int, place: int | None) -> None:
    batch = transfers(count)
    if place is not None and batch:
        batch[place] = forged(batch[place])
    good = place is None or not batch
    checker = ProcessChecker(get("test"))
    assert await checker.are_good(batch) is good
    assert await InlineChecker().are_good(batch) is good
    await checker.rest()


@pytest.mark.trio
async def test_it_rests_and_begins_again_and_its_death_costs_nothing_but_time() -> None:
    checker, batch = ProcessChecker(get("test")), transfers(FEW)
    assert await checker.are_good(batch)
    await checker.rest()
    assert checker._process is None
    assert await checker.are_good(batch)
    # When the process is killed
    process = checker._process
    assert process is not None
    process.kill()
    await process.wait()
    # Then signatures are checked all the same
    assert await checker.are_good(batch)
    assert not await checker.are_good([*batch, forged(batch[0])])
    await checker.rest()


@pytest.mark.trio
async def test_a_question_that_was_given_up_is_not_mistaken_for_the_next() -> None:
    checker, batch = ProcessChecker(get("test")), transfers(FEW)
    with trio.move_on_after(0):
        await checker.are_good([forged(batch[0]), *batch])
    assert await checker.are_good(batch)
    await checker.rest()


def test_a_body_that_is_cut_short_is_not_good() -> None:
    assert all_good(b"")
    assert not all_good(b"\x00")
    assert not all_good(b"\x00\x10" + bytes(16))
