"""The laboratory of chaos itself: it notices what is broken, replays exactly, and tells the shortest story it can."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from consensus.certificates import build_certificate
from consensus.chain_rules import VRF_BEACON, verify_final
from consensus.engine import Evidence
from consensus.verifier import SignatureVerifier
from consensus.vrf import VrfError
from devnet.laboratory.chaos.campaign import Totals, run_all, settings_of
from devnet.laboratory.chaos.disk import Disk, FaultyJournal, PowerCut, WritePoint
from devnet.laboratory.chaos.faults import FaultKind
from devnet.laboratory.chaos.founding import found, member
from devnet.laboratory.chaos.mutants import MUTANTS, with_mutant
from devnet.laboratory.chaos.network import Network
from devnet.laboratory.chaos.notary import Notary
from devnet.laboratory.chaos.scheduler import Scheduler
from devnet.laboratory.chaos.setting import Setting, SettingError, check_setting
from devnet.laboratory.chaos.signatures import StubBeacon, StubSigner, StubVerifier
from devnet.laboratory.chaos.story import shorten, tell
from devnet.laboratory.chaos.world import World
from ledger.genesis import chain_id
from ledger.statements import SignedStatement, Statement, StatementKind
from p2p.simulated import Faults
from storage.errors import DiskFull
from storage.interface import VoteRecord
from tests.simulation.calm import calm, chain_of, first_block, first_committee

ROOT = Path(__file__).parents[2]


class TestStubs:
    def test_a_node_refuses_what_a_stub_signed(self) -> None:
        # Given a real chain's verifier, and a stub's signature that the stub's verifier takes
        world = calm()
        node_key = member(0).node_key
        statement = Statement(StatementKind.NOTARIZE, 1, 0, bytes(32))
        signature = StubSigner(node_key).sign(statement)
        assert StubVerifier().statement(node_key, statement, signature)
        # Then the node's own does not
        assert not SignatureVerifier(world.chain_id).statement(node_key, statement, signature)
        # Nor does it take a certificate of such signatures
        block, committee = first_block(world), first_committee(world)
        final = Statement(StatementKind.FINALIZE, 1, 0, block.hash)
        signatures = {seat: StubSigner(one.node_key).sign(final) for seat, one in enumerate(committee.seats)}
        certificate = build_certificate(final, signatures, committee)
        assert verify_final(block.header, certificate, committee, StubVerifier())
        assert not verify_final(block.header, certificate, committee, SignatureVerifier(world.chain_id))

    def test_a_node_refuses_what_a_stub_beacon_proved(self) -> None:
        opened = chain_of(calm(), 0).open
        key = member(0).node
        proof = StubBeacon().prove(key, opened.alpha(0))
        assert StubBeacon().verify(key.public_key, opened.alpha(0), proof)
        with pytest.raises(VrfError):
            VRF_BEACON.verify(key.public_key, opened.alpha(0), proof)

    def test_a_stub_is_checked_like_the_real_one(self) -> None:
        one, other = member(0), member(1)
        statement = Statement(StatementKind.NULLIFY, 3, 1, None)
        signature = StubSigner(one.node_key).sign(statement)
        assert not StubVerifier().statement(other.node_key, statement, signature)
        assert not StubVerifier().statement(one.node_key, Statement(StatementKind.NULLIFY, 3, 2, None), signature)
        with pytest.raises(VrfError):
            StubBeacon().verify(other.node_key, b"alpha", StubBeacon().prove(one.node, b"alpha"))

    def test_the_notary_attests_what_the_ledger_takes(self) -> None:
        founding = found(Setting(), Random(0))
        one = member(2)
        statements = [Statement(StatementKind.FINALIZE, 1, 0, bytes([number] * 32)) for number in (1, 2)]
        first, second = (SignedStatement(each, StubSigner(one.node_key).sign(each)) for each in statements)
        attested = Notary(founding).attest(Evidence(one.node_key, first, second))
        assert attested.first.verify(one.node_key, chain_id(founding.genesis))
        assert not first.verify(one.node_key, chain_id(founding.genesis))


class TestFaultyParts:
    def vote(self, kind: StatementKind = StatementKind.NOTARIZE) -> VoteRecord:
        return VoteRecord(1, 0, kind, b"vote")

    def test_the_power_goes_before_and_after_a_write(self) -> None:
        for point, kept in ((WritePoint.BEFORE_JOURNAL, 0), (WritePoint.AFTER_JOURNAL, 1)):
            disk = Disk(0, FaultyJournal)
            disk.armed = point
            with pytest.raises(PowerCut) as cut:
                disk.journal.write([self.vote()])
            assert cut.value.point is point
            assert len(disk.journal.load(1).votes) == kept
            disk.journal.write([self.vote()])  # once only

    def test_a_fuse_waits_for_a_finalize_vote(self) -> None:
        disk = Disk(0, FaultyJournal)
        disk.has_fuse = True
        disk.journal.write([self.vote()])
        with pytest.raises(PowerCut) as cut:
            disk.journal.write([self.vote(StatementKind.FINALIZE)])
        assert cut.value.spreads
        assert len(disk.journal.load(1).votes) == 2

    def test_a_full_disk_changes_nothing_and_a_lost_journal_vouches_for_nobody(self) -> None:
        disk = Disk(0, FaultyJournal)
        disk.journal.trust(b"key")
        disk.is_full = True
        with pytest.raises(DiskFull):
            disk.journal.write([self.vote()])
        with pytest.raises(OSError, match="no room"):
            disk.waiting.append([b"raw"])
        assert disk.journal.load(1).votes == {}
        disk.lose_journal()
        assert not disk.journal.vouches_for(b"key")

    def test_wires_lose_double_delay_and_are_cut_one_way(self) -> None:
        def arrivals(faults: Faults, cut: set[tuple[int, int]]) -> list[int]:
            scheduler = Scheduler()
            network = Network(scheduler, "seed", (0, 1))
            network.set_faults(faults)
            network.cut(cut)
            times: list[int] = []
            for _ in range(200):
                network.send(0, 1, lambda: times.append(scheduler.now_ms))
            while (call := scheduler.step(10**6)) is not None:
                call()
            return times

        assert arrivals(Faults(), {(0, 1)}) == []
        assert len(arrivals(Faults(), {(1, 0)})) == 200
        assert 80 < len(arrivals(Faults(loss=0.5), set())) < 120
        assert 280 < len(arrivals(Faults(duplication=0.5), set())) < 320
        assert max(arrivals(Faults(delay_min_s=1.0, delay_max_s=2.0), set())) <= 2_000
        assert arrivals(Faults(loss=0.5), set()) == arrivals(Faults(loss=0.5), set())


class TestMutants:
    @pytest.mark.parametrize("name", sorted(MUTANTS))
    def test_each_is_caught_and_named(self, name: str) -> None:
        report = World(with_mutant(Setting(), name)).run()
        assert report.fault is not None
        assert any(words in report.fault.text for words in MUTANTS[name].shows), report.fault

    @pytest.mark.parametrize("name", ["no-certificate-journal", "justification-unchecked"])
    def test_the_same_weather_and_enemies_harm_nobody_whose_rules_are_whole(self, name: str) -> None:
        setting = replace(with_mutant(Setting(days=0.15), name), mutant=None)
        report = World(setting).run()
        assert report.fault is None
        assert report.heights >= 15


class TestStories:
    def test_a_failure_is_told_with_no_more_faults_than_it_takes(self) -> None:
        # Given a failing run
        setting = with_mutant(Setting(), "no-vote-journal")
        report = World(setting).run()
        assert report.fault is not None
        # When it is made shorter
        shortest, shorter = shorten(setting, report)
        # Then it fails in the same way with fewer faults and no traffic, and the story ends with the fault
        assert shorter.fault is not None
        assert shorter.fault.kind is report.fault.kind is FaultKind.CONVICTABLE
        assert len(shorter.weather) < len(report.weather)
        lines = tell(shortest)
        assert lines[0].startswith("4 homes, seed 0; enemies: home ")
        assert lines[-1].endswith(shorter.fault.text)
        assert tell(shortest) == lines

    def test_a_seed_replays_under_another_hash_seed(self) -> None:
        program = (
            "from devnet.laboratory.chaos.world import World\n"
            "from devnet.laboratory.chaos.setting import Setting\n"
            "setting = Setting(homes=7, days=0.01, interval_ms=15_000, storminess=0.5, seed=3, style='Chameleon')\n"
            "world = World(setting)\n"
            "report = world.run()\n"
            "print(world.checker.final[report.heights].hex(), report.messages, report.equivocations, report.crashes)\n"
        )
        said = {
            subprocess.run(
                [sys.executable, "-c", program],
                env={**os.environ, "PYTHONHASHSEED": seed},
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=True,
                timeout=150,
            ).stdout
            for seed in ("1", "2")
        }
        assert len(said) == 1


class TestCampaigns:
    def test_totals_count_every_run_and_say_what_failed(self) -> None:
        settings = settings_of(Setting(days=0.1), 2, None)
        totals = Totals()
        for outcome in run_all(
            [*settings, with_mutant(Setting(), "wrong-committee")], lambda outcome: None, tells=False
        ):
            totals.add(outcome.report)
        assert (totals.runs, totals.violations, totals.halts, totals.convictable) == (3, 1, 0, 0)
        assert not totals.is_clean
        assert totals.node_days > 0.8
        assert totals.heights > 20

    @pytest.mark.parametrize(
        ("setting", "seeds", "mutant", "says"),
        [
            (Setting(homes=0), 1, None, "nodes must be 4 … 64, not 0"),
            (Setting(homes=3), 1, None, "nodes must be 4 … 64, not 3"),
            (Setting(days=-1.0), 1, None, "days must be above 0"),
            (Setting(days=float("nan")), 1, None, "days must be above 0"),
            (Setting(seed=-1), 1, None, "seed must be 0 or more"),
            (Setting(interval_ms=1_000), 1, None, "the block interval must be 5 … 600 s"),
            (Setting(), 0, None, "seeds must be 1 … 100000"),
            (Setting(), 1, "no-such", "no mutant is called 'no-such'"),
        ],
    )
    def test_what_cannot_be_run_is_said(self, setting: Setting, seeds: int, mutant: str | None, says: str) -> None:
        with pytest.raises(SettingError, match=says):
            settings_of(setting, seeds, mutant)

    def test_the_smallest_setting_is_one(self) -> None:
        check_setting(Setting(homes=4, days=0.001))
