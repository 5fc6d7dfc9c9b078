"""Every path of the API: what it says, and what it says when asked for what is not there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from ledger.encoding import decode, encode
from ledger.genesis import Genesis
from ledger.keys import address_text
from ledger.records import RuleTarget
from ledger.refusal import Refusal
from ledger.transactions import CastVotes, SetVotingRule, Token, Transfer, WithdrawVotes
from node.client.client import NodeClient
from node.client.errors import ApiProblem
from node.client.models import Problem
from node.views.proofs import ProofWrong, check_account_proof
from tests.node.api.household import FINALITY_MS, Household, household, served

pytestmark = pytest.mark.trio

UNKNOWN_ID = "00" * 32


def pay(home: Household, amount: int, memo: str = "") -> Transfer:
    return Transfer(recipient=home.made.home("bob").id, token=Token.WATT, amount=amount, memo=memo)


def lived_in(home: Household) -> None:
    """Seven blocks: a reading with its successor, payments, votes, a rule, and a turn missed at height 4."""
    made = home.made
    for _ in range(3):
        home.produce()
    home.produce(view=1)
    home.produce([made.sign("anne", pay(home, 5, "eggs")), made.sign("anne", pay(home, 2 * 10**9), ahead=1)])
    rule = SetVotingRule(keep_bps=2_000, targets=(RuleTarget(made.home("anne").id, 10_000),))
    home.produce([made.read("george", 100, 1_000), made.sign("george", rule)], time_ms=home.now_ms + 10_000)
    cast = CastVotes(candidate=made.home("anne").id, amount_mvote=50)
    home.produce([made.read("george", 140, 1_310), made.sign("george", cast)], time_ms=home.now_ms + 10_000)


async def problem_of(question: Awaitable[Any]) -> Problem:
    with pytest.raises(ApiProblem) as caught:
        await question
    return caught.value.problem


async def test_status(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        lived_in(home)
        async with served(tmp_path, home) as serving:
            # When
            status = await serving.client.status()
            # Then
            tip = home.made.blocks[-1]
            assert (status.height, status.tip_hash) == (7, tip.hash.hex())
            assert status.state_root == tip.state_root.hex()
            assert status.tip_time_ms == tip.block.header.time_ms
            assert status.tip_time.endswith("Z")
            assert (status.name, status.network, status.chain_id) == (
                "anne's node",
                "Mill Lane",
                home.made.chain_id.hex(),
            )
            assert status.account is not None
            assert status.account.name == "anne"
            assert status.engine.height == 8
            assert status.engine.leader is not None
            assert status.engine.leader.name == home.made.leader().name
            assert status.engine.leader_is_this_node is (home.made.leader().name == "anne")
            assert (status.finality.blocks, status.finality.p50_ms, status.finality.p95_ms) == (7, 360, 360)
            assert status.peer_count == 1


async def test_genesis_and_parameters(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            # When
            genesis, parameters = await serving.client.genesis(), await serving.client.parameters()
            # Then
            assert decode(bytes.fromhex(genesis.document), Genesis, 10**6) == home.made.genesis
            assert genesis.chain_id == home.made.chain_id.hex()
            assert [member.name for member in genesis.members] == ["anne", "bob", "carla", "george"]
            assert parameters.parameters == msgspec.structs.asdict(home.made.genesis.parameters)
            assert parameters.bounds["block_interval_ms"] == (100, 600_000)


async def test_height_zero_is_answered_before_there_is_a_block(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            client = serving.client
            # Then
            assert (await client.status()).height == 0
            assert (await client.blocks()).blocks == []
            assert (await client.draw()).height == 1
            assert (await client.history("anne")).transactions == []
            assert "GET /v1/genesis" in (await problem_of(client.block(0))).detail
            assert (await problem_of(client.prove_account("anne"))).status == 404


async def test_committee_of_every_height_is_the_one_its_block_was_certified_by(tmp_path: Path) -> None:
    """The state forgets old snapshots after two epochs; the node does not."""
    with household(tmp_path) as home:
        hashes = []
        for _ in range(40):
            hashes.append(home.made.open.committee.hash.hex())
            home.produce()
        hashes.append(home.made.open.committee.hash.hex())
        async with served(tmp_path, home) as serving:
            for height in (1, 12, 17, 18, 29, 30, 40, 41):
                # When
                committee = await serving.client.committee(height)
                # Then
                assert committee.hash == hashes[height - 1], height
                assert 3 * committee.quorum_weight > 2 * committee.total_weight
                assert 3 * (committee.quorum_weight - 1) <= 2 * committee.total_weight
            assert len(set(hashes)) > 2, "committees changed on the way"
            assert (await serving.client.committee()).height == 41
            for unknown in (42, 10**6):
                assert (await problem_of(serving.client.committee(unknown))).status == 404
            assert (await problem_of(serving.client.committee(0))).status == 400


async def test_draws_of_all_heights_are_those_the_blocks_were_made_by(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        opened = []
        for height in range(1, 31):
            opened.append(home.made.open)
            home.produce(view=1 if height % 7 == 0 else 0)
        opened.append(home.made.open)
        async with served(tmp_path, home) as serving:
            for height in (1, 7, 14, 18, 20, 30):
                draw, header = await serving.client.draw(height), home.made.blocks[height - 1].block.header
                turn = opened[height - 1].draw.turn(header.view)
                # Then: the numbers are the engine's
                assert (draw.view, draw.produced_view, draw.is_next) == (header.view, header.view, False)
                assert draw.seed == opened[height - 1].draw.seed.hex()
                assert int(draw.u, 16) == turn.number
                assert (draw.total_lottery_weight, draw.ticket) == (turn.total, turn.ticket)
                assert draw.winner == draw.producer
                assert draw.winner.address == address_text(header.producer)
                assert [skip.view for skip in draw.skipped] == list(range(header.view))
                assert draw.beacon_proof == header.beacon_proof.hex()
                # Then: whoever reads them can draw again
                [winning] = [one for one in draw.entries if one.from_ticket <= draw.ticket < one.to_ticket]
                assert winning.account == draw.winner
                assert winning.eligible
                assert sum(one.lottery_weight for one in draw.entries) == draw.total_lottery_weight
                assert (draw.total_lottery_weight * int(draw.u, 16)) >> 128 == draw.ticket
                assert float(draw.u_fraction) == pytest.approx(int(draw.u, 16) / 2**128)
                for entry in draw.entries:
                    assert entry.eligible is (entry.reason is None)
                    assert entry.eligible is (entry.lottery_weight > 0)


async def test_next_draw_is_that_of_the_open_view(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        lived_in(home)
        async with served(tmp_path, home) as serving:
            first, third = await serving.client.draw(), await serving.client.draw(view=2)
            home.status = replace(home.status, view=2)
            # Then
            assert first.is_next
            assert first.height == 8
            assert first.producer is None
            assert first.beacon is None
            assert first.winner.name == home.made.leader(0).name
            assert third.winner.name == home.made.leader(2).name
            assert await serving.client.draw() == third, "by default the view this node is in"
            assert [skip.leader.name for skip in third.skipped] == [home.made.leader(0).name, home.made.leader(1).name]
            reasons = {entry.account.name: entry.reason for entry in third.entries if not entry.eligible}
            assert set(reasons.values()) <= {"produced_last", "led_earlier_view"}
            # And the unknown
            assert (await problem_of(serving.client.draw(9))).status == 404
            assert (await problem_of(serving.client.draw(0))).status == 404
            assert "the last is" in (await problem_of(serving.client.draw(7, view=10**6))).detail


async def test_blocks_in_pages(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        lived_in(home)
        async with served(tmp_path, home) as serving:
            # When
            first = await serving.client.blocks(limit=3)
            second = await serving.client.blocks(before=first.next_before, limit=3)
            third = await serving.client.blocks(before=second.next_before, limit=3)
            # Then
            pages = [[block.height for block in page.blocks] for page in (first, second, third)]
            assert pages == [[7, 6, 5], [4, 3, 2], [1]]
            assert (first.next_before, third.next_before) == (5, None)
            fourth = second.blocks[0]
            assert (fourth.view, len(fourth.skipped), fourth.finality_ms) == (1, 1, FINALITY_MS)
            fifth = first.blocks[2]
            assert (fifth.transaction_count, fifth.refused_count, fifth.reading_count) == (2, 1, 0)
            assert first.blocks[1].reading_count == 1
            for limit in (0, 101):
                assert (await problem_of(serving.client.blocks(limit=limit))).status == 400


async def test_block_by_height_and_by_hash(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        lived_in(home)
        async with served(tmp_path, home) as serving:
            header = home.made.blocks[4].block.header
            # When
            block = await serving.client.block(5)
            # Then
            assert block == await serving.client.block(header.hash.hex())
            assert block.parent_hash == home.made.blocks[3].hash.hex()
            assert block.state_root == header.state_root.hex()
            assert [line.kind for line in block.transactions] == ["transfer", "transfer"]
            assert sorted(line.refusal or "" for line in block.transactions) == ["", "insufficient_watt"]
            assert {signer.name for signer in block.signers} == {"anne", "bob", "carla", "george"}
            assert block.signed_weight == block.total_weight
            for unknown in (8, UNKNOWN_ID, "nonsense", "-1", "9" * 30):
                assert (await problem_of(serving.client.block(unknown))).status == 404


async def test_certificate(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        lived_in(home)
        async with served(tmp_path, home) as serving:
            certificate = await serving.client.certificate(4)
            # Then
            assert certificate.raw == encode(home.made.certificates[3]).hex()
            assert certificate.header == encode(home.made.blocks[3].block.header).hex()
            assert (certificate.kind, certificate.view) == ("finalize", 1)
            assert certificate.signed_weight >= certificate.quorum_weight
            assert b"".join(bytes.fromhex(one.signature) for one in certificate.signers) == (
                home.made.certificates[3].signatures
            )
            assert (await problem_of(serving.client.certificate(8))).status == 404


async def test_transactions_are_decoded_with_names(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        lived_in(home)
        by_kind = {one.kind.word: one.id.hex() for block in home.made.blocks for one in block.transactions}
        async with served(tmp_path, home) as serving:
            # Then: a reading, signed by a meter
            reading = await serving.client.transaction(by_kind["submit_reading"])
            assert (reading.sender.name, reading.signed_by, reading.state) == ("george", "meter", "final")
            assert (reading.payload["import_wh"], reading.payload["export_wh"]) == (140, 1_310)
            assert reading.height == 7
            assert reading.time_ms == home.made.blocks[6].block.header.time_ms
            # Then: a rule, with its targets by name
            rule = await serving.client.transaction(by_kind["set_voting_rule"])
            assert rule.payload["keep_bps"] == 2_000
            assert rule.payload["targets"][0]["candidate"]["name"] == "anne"
            # Then: one that failed says why
            failed = await serving.client.transaction(by_kind["transfer"])
            shown = {failed.refusal, *(one.refusal for one in (await serving.client.history("anne")).transactions)}
            assert "insufficient_watt" in shown
            assert failed.payload["token"] == "watt"
            assert failed.payload["recipient"]["name"] == "bob"
            for unknown in (UNKNOWN_ID, "zz", "a" * 63):
                assert (await problem_of(serving.client.transaction(unknown))).status == 404


async def test_account_by_name_address_and_key(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        lived_in(home)
        async with served(tmp_path, home) as serving:
            client, anne = serving.client, home.made.home("anne")
            # When
            account = await client.account("anne")
            # Then
            assert account == await client.account(address_text(anne.id)) == await client.account(anne.id.hex())
            assert account.nonce == account.next_nonce == 2
            assert account.watt_uwatt == home.made.account("anne").watt_uwatt
            assert account.member is not None
            assert account.member.roles == ["approver", "issuer", "gateway"]
            assert account.member.meters == [anne.meter.public_key.hex()]
            assert account.candidate is not None
            assert account.candidate.pool_mvote == home.made.candidate("anne").pool_mvote
            # And an account nothing has happened to yet
            fresh = await client.account("ab" * 32)
            assert (fresh.exists, fresh.watt_uwatt, fresh.next_nonce, fresh.account.name) == (False, 0, 0, None)
            # And the unknown
            unknown = await problem_of(client.account("anna"))
            assert (unknown.status, unknown.type) == (404, "urn:ecloud:problem:not_found")
            assert "GET /v1/members" in unknown.detail
            mistyped = address_text(anne.id)[:-1] + ("x" if address_text(anne.id)[-1] != "x" else "y")
            assert "typing error" in (await problem_of(client.account(mistyped))).detail
            assert (await problem_of(client.account("../../etc/passwd"))).status == 404
            assert (await problem_of(client.account("x" * 129))).status == 400


async def test_next_nonce_counts_what_waits(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        lived_in(home)
        async with served(tmp_path, home) as serving:
            for ahead in range(3):
                await serving.client.submit(home.made.sign("anne", pay(home, 1), ahead=ahead).raw)
            # Then
            account = await serving.client.account("anne")
            assert (account.nonce, account.next_nonce, account.pending_count) == (2, 5, 3)
            pending = await serving.client.pending(limit=2)
            assert pending.total == 3
            assert [one.nonce for one in pending.transactions] == [2, 3]
            assert pending.transactions[0].state == "pending"
            assert await serving.client.transaction(pending.transactions[0].id) == pending.transactions[0]
            # When: a block takes them
            home.produce(list(home.mempool))
            # Then
            account = await serving.client.account("anne")
            assert (account.nonce, account.next_nonce, account.pending_count) == (5, 5, 0)


async def test_history_in_pages(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        for _ in range(3):
            home.produce([home.made.sign("anne", pay(home, 1), ahead=ahead) for ahead in range(2)])
        async with served(tmp_path, home) as serving:
            shown, before, pages = [], None, 0
            # When
            while True:
                page = await serving.client.history("bob", before=before, limit=4)
                shown += [(one.height, one.index) for one in page.transactions]
                before, pages = page.next_before, pages + 1
                if before is None:
                    break
            # Then
            assert shown == [(3, 1), (3, 0), (2, 1), (2, 0), (1, 1), (1, 0)]
            assert pages == 2
            assert (await problem_of(serving.client.history("bob", before="x:y"))).status == 400
            assert (await problem_of(serving.client.history("nobody"))).status == 404


async def test_members_candidates_and_votes(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        lived_in(home)
        async with served(tmp_path, home) as serving:
            members, candidates = await serving.client.members(), await serving.client.candidates()
            # Then
            assert [one.account.name for one in members.members] == ["anne", "bob", "carla", "george"]
            assert {one.feeder for one in members.members} == {"mill lane", "oak street"}
            assert {one.substation for one in members.members} == {"north"}
            by_name = {one.account.name: one for one in candidates.candidates}
            missed = {name for name, one in by_name.items() if one.missed_total}
            assert len(missed) == 1
            assert sum(one.produced_total for one in by_name.values()) == 7
            assert by_name["anne"].backer_count == 2
            anne = await serving.client.candidate("anne")
            assert {one.account.name for one in anne.backers} == {"anne", "george"}
            assert anne.candidate == by_name["anne"]
            # Then: george keeps 20 % of what he mints, and the rest went to anne
            votes = await serving.client.votes("george")
            assert votes.kept_mvote == home.made.account("george").votes_mvote
            assert votes.rule is not None
            assert (votes.rule.keep_bps, votes.rule.targets[0].candidate.name) == (2_000, "anne")
            assert {stake.candidate.name for stake in votes.stakes} == {"anne", "george"}
            assert votes.cast_mvote == sum(stake.value_mvote for stake in votes.stakes)
            assert (await problem_of(serving.client.candidate("ab" * 32))).status == 404
            assert (await problem_of(serving.client.votes("nobody"))).status == 404


async def test_a_stake_can_be_withdrawn_for_what_the_api_says(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        lived_in(home)
        async with served(tmp_path, home) as serving:
            [stake] = [one for one in (await serving.client.votes("george")).stakes if one.candidate.name == "anne"]
            anne = home.made.home("anne").id
            withdraw = home.made.sign("george", WithdrawVotes(candidate=anne, amount_mvote=stake.value_mvote))
            # When
            home.produce([withdraw])
            # Then
            assert (await serving.client.transaction(withdraw.id.hex())).refusal is None


async def test_meters_and_readings(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        lived_in(home)
        async with served(tmp_path, home) as serving:
            key = home.made.home("george").meter.public_key.hex()
            meters, meter = await serving.client.meters(), await serving.client.meter(key)
            # Then
            assert [one.owner.name for one in meters.meters] == ["anne", "bob", "carla", "george"]
            assert meter == meters.meters[3]
            assert (meter.kind, meter.role, meter.import_wh, meter.export_wh) == ("solar", "connection", 140, 1_310)
            for readings in (await serving.client.readings(), await serving.client.readings(meter=key)):
                newest, oldest = readings.readings
                assert newest.period > oldest.period
                assert (newest.imported_wh, newest.exported_wh) == (40, 310)
                assert (oldest.imported_wh, oldest.exported_wh) == (None, None)
                assert newest.minted_mvote == 310
                assert newest.period_start_ms == newest.period * 10_000
                assert newest.owner.name == "george"
            assert len((await serving.client.readings(limit=1)).readings) == 1
            other = home.made.home("anne").meter.public_key.hex()
            assert (await serving.client.readings(meter=other)).readings == []
            for question in (serving.client.meter, serving.client.readings):
                unknown: Callable[[str], Awaitable[Any]] = question
                assert "GET /v1/meters" in (await problem_of(unknown("ab" * 32))).detail


async def test_peers_health_and_metrics(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        lived_in(home)
        async with served(tmp_path, home) as serving:
            peers = await serving.client.peers()
            # Then
            [peer] = peers.peers
            assert peer.account is not None
            assert (peer.account.name, peer.latency_us, peer.inbound) == ("bob", 1_250, True)
            assert (peers.listening, peers.announced) == (home.listening(), home.announced())
            assert (await serving.client.health()).healthy
            assert 'ecloud_api_requests_total{status="2xx"}' in await serving.client.metrics()
            # When
            home.status = replace(home.status, unhealthy="no block for an hour")
            # Then
            assert (await problem_of(serving.client.health())).detail == "no block for an hour"


async def test_proof_convinces_without_the_node(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        lived_in(home)
        async with served(tmp_path, home) as serving:
            proof = await serving.client.prove_account("bob")
            trusted = (await serving.client.committee(7)).hash
            # Then
            proven = check_account_proof(proof, trusted)
            assert proven.record == home.made.account("bob")
            assert (proven.height, proven.block_hash) == (7, home.made.blocks[6].hash)
            absent = check_account_proof(await serving.client.prove_account("cd" * 32), trusted)
            assert absent.record is None
            # And any part changed is found
            richer = encode(msgspec.structs.replace(proven.record, watt_uwatt=10**12)).hex()
            other_account = "account " + address_text(home.made.home("anne").id)
            for changed in (
                {"value": richer},
                {"value": None},
                {"siblings": proof.siblings[:-1]},
                {"leaf": None},
                {"height": 6},
                {"block_hash": UNKNOWN_ID},
                {"certificate": encode(home.made.certificates[5]).hex()},
                {"certificate": proof.certificate[:-2] + "00"},
                {"header": encode(home.made.blocks[5].block.header).hex()},
                {"record": other_account},
                {"record": "account nonsense"},
                {"key": "zz"},
                {"committee": proof.committee[:-1]},
                {"committee": proof.committee[::-1]},
                {"format": "ecloud-proof/2"},
            ):
                with pytest.raises(ProofWrong):
                    check_account_proof(msgspec.structs.replace(proof, **changed), trusted)
            with pytest.raises(ProofWrong, match="not the one you trust"):
                check_account_proof(proof, UNKNOWN_ID)


async def test_submit(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        lived_in(home)
        async with served(tmp_path, home) as serving:
            transaction = home.made.sign("anne", pay(home, 7))
            # When
            accepted = await serving.client.submit(transaction.raw)
            # Then
            assert accepted == transaction.id.hex()
            assert transaction.id in home.mempool
            # And again: it is there already
            again = await problem_of(serving.client.submit(transaction.raw))
            assert (again.status, again.refusal, again.retry_may_help) == (422, "duplicate", False)


async def test_submit_as_json(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving, httpx.AsyncClient(base_url=serving.address.url) as http:
            transaction = home.made.sign("anne", pay(home, 7))
            # When
            answer = await http.post("/v1/transactions", json={"raw": transaction.raw.hex()})
            # Then
            assert answer.status_code == 202
            assert answer.json() == {"id": transaction.id.hex()}
            for wrong in ({"raw": "zz"}, {"raw": 5}, {}, [], {"raw": "00", "more": 1}):
                refused = await http.post("/v1/transactions", json=wrong)
                assert (refused.status_code, refused.json()["refusal"]) == (422, "malformed"), wrong
            for media_type in ("text/plain", "", "application/x-www-form-urlencoded"):
                other = await http.post("/v1/transactions", content=b"a", headers={"content-type": media_type})
                assert other.status_code == 415


async def test_refusals_carry_the_ledger_s_word(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        lived_in(home)
        made = home.made
        good = made.sign("anne", pay(home, 1))
        cases = {
            Refusal.MALFORMED: b"\xff",
            Refusal.NOT_CANONICAL: good.raw + b"\x00",
            Refusal.OVERSIZED: bytes(17_000),
            Refusal.BAD_SIGNATURE: good.raw[:-1] + bytes([good.raw[-1] ^ 1]),
            Refusal.NONCE_USED: made.sign("anne", pay(home, 1), ahead=-1).raw,
            Refusal.FEE_TOO_LOW: made.sign("anne", pay(home, 1), fee_uwatt=1).raw,
            Refusal.AMOUNT_ZERO: made.sign("anne", pay(home, 0)).raw,
        }
        async with served(tmp_path, home) as serving:
            for refusal, raw in cases.items():
                # When
                problem = await problem_of(serving.client.submit(raw))
                # Then
                assert problem.refusal == refusal.value, problem
                assert problem.status == 422
                assert problem.detail
            assert len(home.mempool) == 0
            # And what only the moment forbids may be tried again
            home.intake.disk_full = True
            full = await problem_of(serving.client.submit(good.raw))
            assert (full.status, full.refusal, full.retry_may_help) == (503, "disk_full", True)


async def test_pruned_blocks_are_said_to_be(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        for _ in range(8):
            home.produce(view=1)
        home.chain.prune(6)
        async with served(tmp_path, home) as serving:
            page = await serving.client.blocks()
            # Then
            assert [block.height for block in page.blocks] == [8, 7, 6]
            assert page.next_before is None
            for question in (serving.client.block(5), serving.client.draw(5), serving.client.certificate(5)):
                problem = await problem_of(question)
                assert problem.status == 404
                assert "pruned" in problem.detail
            assert (await serving.client.status()).height == 8
            assert (await serving.client.draw()).height == 9


async def test_nothing_there(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving, httpx.AsyncClient(base_url=serving.address.url) as http:
            for method, path, status in (
                ("GET", "/", 404),
                ("GET", "/v1/nonsense", 404),
                ("DELETE", "/v1/status", 405),
                ("POST", "/v1/blocks", 405),
                ("GET", "/v1/draws/x", 400),
                ("GET", "/v1/blocks?before=x", 400),
                ("GET", "/v1/blocks?before=99999999999999999999", 400),
            ):
                # When
                answer = await http.request(method, path)
                # Then
                assert answer.status_code == status, path
                assert answer.headers["content-type"] == "application/problem+json"
                problem = msgspec.json.decode(answer.content, type=Problem)
                assert problem.status == status
                assert problem.detail
                assert answer.headers.get("allow") == ("GET" if status == 405 else None)


async def test_unix_socket_serves_its_owner_only(tmp_path: Path) -> None:
    with household(tmp_path) as home:
        async with served(tmp_path, home) as serving:
            socket = serving.address.unix_socket
            assert socket is not None
            # Then
            assert socket.stat().st_mode & 0o777 == 0o600
            async with NodeClient(unix_socket=socket) as client:
                assert (await client.status()).height == 0
            async with NodeClient.of_directory(tmp_path) as client:
                assert client.where == str(socket)
        # And is gone afterwards
        assert not socket.exists()
        assert not (tmp_path / "api.url").exists()
