"""Signing with the node's help, submitting, and waiting until it is final."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ledger.refusal import Refusal
from ledger.transactions import PhaseSample, SubmitReading, Token, Transfer
from node.client.client import NodeClient
from node.client.errors import ApiProblem, NotFinal
from node.client.wallet import VALIDITY_BLOCKS, sign, sign_and_submit, wait_final
from tests.node.api.household import Household, household, served

pytestmark = pytest.mark.trio


def payment(home: Household, amount: int = 5) -> Transfer:
    return Transfer(recipient=home.made.home("bob").id, token=Token.WATT, amount=amount, memo="eggs")


async def test_signed_here_with_what_the_node_knows(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        home.produce()
        async with served(tmp_path, home) as serving:
            key = home.made.home("anne").account
            # When
            transaction = await sign(serving.client, key, payment(home))
            # Then
            assert transaction.has_valid_signature()
            assert transaction.chain_id == home.made.chain_id
            assert (transaction.nonce, transaction.fee_uwatt) == (0, 1_000)
            assert transaction.valid_until_height == 1 + VALIDITY_BLOCKS
            assert len(home.mempool) == 0, "nothing was sent"
            # And on request otherwise
            other = await sign(serving.client, key, payment(home), fee_uwatt=5_000, valid_for_blocks=3)
            assert (other.fee_uwatt, other.valid_until_height) == (5_000, 4)


async def test_several_in_a_row_take_successive_nonces_and_become_final(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            key = home.made.home("anne").account
            sent = [await sign_and_submit(serving.client, key, payment(home)) for _ in range(3)]
            assert [one.nonce for one in sent] == [0, 1, 2]
            # When
            home.produce(list(home.mempool))
            # Then
            for one in sent:
                assert (await wait_final(serving.client, one.id.hex(), 5)).refusal is None
            assert home.made.account("bob").watt_uwatt >= 1_000_000_015


async def test_a_reading_needs_neither_nonce_nor_fee(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        home.produce(time_ms=home.now_ms + 10_000)
        async with served(tmp_path, home) as serving:
            period = home.now_ms // 10_000 - 1
            reading = SubmitReading(
                period=period,
                import_wh=10,
                export_wh=20,
                sampled_at_ms=(period + 1) * 10_000,
                phases=(PhaseSample(230_000, 50_000, 990),),
                samples_root=None,
            )
            # When
            transaction = await sign_and_submit(serving.client, home.made.home("george").meter, reading)
            # Then
            assert (transaction.nonce, transaction.fee_uwatt, transaction.valid_until_height) == (0, 0, 0)
            home.produce([transaction])
            final = await wait_final(serving.client, transaction.id.hex(), 5)
            assert final.payload["phases"] == [
                {"voltage_mv": 230_000, "frequency_mhz": 50_000, "power_factor_milli": 990}
            ]


async def test_a_refusal_comes_back_with_its_word(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            with pytest.raises(ApiProblem) as caught:
                await sign_and_submit(serving.client, home.made.home("anne").account, payment(home), fee_uwatt=1)
            assert caught.value.refusal is Refusal.FEE_TOO_LOW
            assert not caught.value.retry_may_help


async def test_a_nonce_taken_meanwhile_is_signed_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two programs with one key: both ask, both get the same nonce, both submit."""
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            key = home.made.home("anne").account
            first = await sign(serving.client, key, payment(home, 1))
            submit = serving.client.submit

            async def after_the_other(raw: bytes) -> str:
                if not len(home.mempool):
                    await submit(first.raw)
                return await submit(raw)

            monkeypatch.setattr(serving.client, "submit", after_the_other)
            # When
            second = await sign_and_submit(serving.client, key, payment(home, 2))
            # Then
            assert (first.nonce, second.nonce) == (0, 1)
            assert [one.id for one in home.mempool] == [first.id, second.id]


async def test_waiting_ends_when_the_block_comes(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving, trio.open_nursery() as nursery:
            transaction = await sign_and_submit(serving.client, home.made.home("anne").account, payment(home))
            heights: list[int | None] = []

            async def wait() -> None:
                heights.append((await wait_final(serving.client, transaction.id.hex(), 10)).height)

            nursery.start_soon(wait)
            with trio.fail_after(5):
                while not len(home.events):
                    await trio.lowlevel.checkpoint()
            # When
            home.produce()
            home.produce([transaction])
            # Then
            with trio.fail_after(5):
                while not heights:
                    await trio.lowlevel.checkpoint()
            assert heights == [2]


async def test_waiting_outlasts_the_node_s_absence(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            transaction = await sign_and_submit(serving.client, home.made.home("anne").account, payment(home))
            socket = serving.address.unix_socket
        async with NodeClient(unix_socket=socket) as client, trio.open_nursery() as nursery:
            heights: list[int | None] = []

            async def wait() -> None:
                heights.append((await wait_final(client, transaction.id.hex(), 20)).height)

            nursery.start_soon(wait)
            await wait_all_tasks_blocked(0.01)
            assert not heights
            home.produce([transaction])
            # When
            async with served(tmp_path, home):
                with trio.fail_after(10):
                    while not heights:
                        await trio.lowlevel.checkpoint()
            assert heights == [1]


async def test_one_that_is_refused_in_its_block_is_final_too(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            both = [home.made.sign("anne", payment(home, 900_000_000), ahead=ahead) for ahead in range(2)]
            home.produce(both)
            refusals = {(await wait_final(serving.client, one.id.hex(), 5)).refusal for one in both}
            assert refusals == {None, "insufficient_watt"}


async def test_waiting_gives_up_in_time(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            with pytest.raises(NotFinal, match="ecloud chain transaction"):
                await wait_final(serving.client, "ab" * 32, 0.2)
