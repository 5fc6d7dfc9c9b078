"""The chain of a simulated neighbourhood: real blocks, real draw, committees that change, contents that are stubs.

A block's one transaction is a random number, so that a leader that forgot its block cannot make it again. Its state
root is zero if the block is valid.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from hashlib import sha256, sha512

from consensus.block import NO_HASH, VERSION, Block, Certificate, Header
from consensus.certificates import verify_certificate
from consensus.committee import Committee
from consensus.draw import Draw, DrawMember, next_seed
from consensus.engine import HeightContext
from ledger.merkle import merkle_root
from ledger.parameters import Parameters
from ledger.records import CommitteeSnapshot, SnapshotMember
from ledger.statements import StatementKind
from tests.simulation.signatures import StubVerifier

CHAIN_ID = sha256(b"simulation").digest()
GENESIS_HASH = sha256(b"genesis").digest()
DELTA_MS = 1_000
INTERVAL_MS = 5_000
TOLERANCE_MS = 1_000
EPOCH = 4
DELAY = 3
REJOIN_AFTER = 8

_PARAMETERS = Parameters()


@dataclass(frozen=True)
class Tip:
    """The state after a block, as far as the next draw needs it; tuples are by home."""

    height: int
    time_ms: int
    hash: bytes
    seed: bytes
    producer: bytes | None
    last_mined: tuple[int, ...]
    reputation: tuple[int, ...]
    missed: tuple[int, ...]
    suspended: frozenset[int]


@dataclass
class HeightFacts:
    """What every node knows of the height after a tip."""

    draw: Draw
    committee: Committee
    parent_committee: Committee | None
    leaders: dict[int, int] = field(default_factory=dict)

    def leader(self, view: int) -> int:
        if view not in self.leaders:
            self.leaders[view] = self.draw.leader(view)
        return self.leaders[view]


def account_of(home: int) -> bytes:
    return bytes([home + 1]) * 32


def node_key_of(home: int) -> bytes:
    return sha256(account_of(home)).digest()


def weights_of(pools: list[int]) -> list[int]:
    """The ledger's vote weights: no home has a third."""
    present = sorted(pool for pool in pools if pool)
    low = max(1, present[(len(present) - 1) // 2] // 2)
    high = low * max(1, (len(present) - 1) // 3)
    return [min(max(pool, low), high) if pool else 0 for pool in pools]


class ChainFacts:
    """Facts every node can compute: committees by height, the tip after each block, draws."""

    def __init__(self, homes: int, rng: random.Random, *, equal: bool, byzantine: bool, suspend: bool) -> None:
        self.homes = homes
        self.suspend = suspend
        pools = [1_000 if equal else max(1, int(1_000 * rng.lognormvariate(0, 0.7))) for _ in range(homes)]
        self.byzantine = self._choose_byzantine(weights_of(pools), rng) if byzantine else frozenset()
        self._pools = [pools]
        for _ in range(400):
            self._pools.append(self._next_pools(self._pools[-1], rng, equal))
        self._committees: dict[int, Committee] = {}
        genesis = Tip(
            0, 0, GENESIS_HASH, rng.randbytes(32), None, (0,) * homes, (1_000,) * homes, (0,) * homes, frozenset()
        )
        self.tips: dict[bytes, Tip] = {GENESIS_HASH: genesis}
        self._facts: dict[bytes, HeightFacts] = {}

    @staticmethod
    def _choose_byzantine(weights: list[int], rng: random.Random) -> frozenset[int]:
        """A set of homes of as much weight as is less than a third."""
        best: tuple[int, list[int]] = (0, [])
        for _ in range(60):
            order = list(range(len(weights)))
            rng.shuffle(order)
            chosen: list[int] = []
            for home in order:
                if 3 * sum(weights[other] for other in [*chosen, home]) < sum(weights):
                    chosen.append(home)
            best = max(best, (sum(weights[home] for home in chosen), sorted(chosen)))
        return frozenset(best[1])

    def _next_pools(self, pools: list[int], rng: random.Random, equal: bool) -> list[int]:
        if equal or rng.random() < 0.5:
            return pools
        for _ in range(50):
            changed = [max(1, int(max(1, pool) * rng.lognormvariate(0, 0.4))) for pool in pools]
            if self.homes > 4 and rng.random() < 0.5:  # an honest home leaves for an epoch
                changed[rng.choice([home for home in range(self.homes) if home not in self.byzantine])] = 0
            weights = weights_of(changed)
            if 3 * sum(weights[home] for home in self.byzantine) < sum(weights):
                return changed
        return pools

    def _epoch(self, height: int) -> int:
        return min(max(0, height - DELAY) // EPOCH, len(self._pools) - 1)

    def home_of_seat(self, height: int, index: int) -> int:
        return self.committee(height).seats[index].account[0] - 1

    def committee(self, height: int) -> Committee:
        epoch = self._epoch(height)
        if epoch not in self._committees:
            pools = self._pools[epoch]
            weights = weights_of(pools)
            members = tuple(
                SnapshotMember(account_of(home), node_key_of(home), pools[home], 0, weights[home])
                for home in range(self.homes)
                if pools[home]
            )
            self._committees[epoch] = self._make_committee(CommitteeSnapshot(members))
        return self._committees[epoch]

    def _make_committee(self, snapshot: CommitteeSnapshot) -> Committee:
        return Committee(snapshot)

    def facts(self, parent_hash: bytes) -> HeightFacts:
        """The height after a block this world has seen committed or executed."""
        if parent_hash not in self._facts:
            tip = self.tips[parent_hash]
            height = tip.height + 1
            committee = self.committee(height)
            members = []
            for seat in committee.snapshot.members:
                home = seat.account[0] - 1
                members.append(
                    DrawMember(
                        seat.account,
                        seat.pool_mvote,
                        tip.reputation[home],
                        tip.last_mined[home],
                        home not in tip.suspended,
                    )
                )
            draw = Draw(height, tip.seed, tuple(members), tip.producer, _PARAMETERS)
            parent_committee = self.committee(tip.height) if tip.height else None
            self._facts[parent_hash] = HeightFacts(draw, committee, parent_committee)
        return self._facts[parent_hash]

    def context(self, parent_hash: bytes, parent_certificate: Certificate | None) -> HeightContext:
        tip, facts = self.tips[parent_hash], self.facts(parent_hash)
        return HeightContext(
            height=tip.height + 1,
            parent_hash=tip.hash,
            parent_time_ms=tip.time_ms,
            parent_certificate=parent_certificate,
            parent_committee=facts.parent_committee,
            committee=facts.committee,
            leader=facts.leader,
            block_interval_ms=INTERVAL_MS,
            delta_ms=DELTA_MS,
            clock_tolerance_ms=TOLERANCE_MS,
        )

    def make_block(
        self,
        parent_hash: bytes,
        view: int,
        time_ms: int,
        parent_certificate: Certificate | None,
        rng: random.Random,
        *,
        valid: bool = True,
    ) -> Block:
        """A block of the view's drawn leader."""
        tip, facts = self.tips[parent_hash], self.facts(parent_hash)
        transactions = (rng.randbytes(32),)
        producer = facts.committee.seats[facts.leader(view)].account
        proof = sha512(producer + tip.seed + bytes([view % 256])).digest() + bytes(16)
        header = Header(
            version=VERSION,
            chain_id=CHAIN_ID,
            height=tip.height + 1,
            view=view,
            time_ms=time_ms,
            parent_hash=parent_hash,
            producer=producer,
            beacon_proof=proof,
            transactions_root=merkle_root(transactions),
            receipts_root=NO_HASH,
            state_root=NO_HASH if valid else sha256(b"wrong").digest(),
            parent_certificate_hash=NO_HASH if parent_certificate is None else parent_certificate.hash,
            committee_hash=self.committee(tip.height + 2).hash,
        )
        return Block(header, parent_certificate, transactions)

    def is_valid(self, block: Block) -> bool:
        """Execution: the stub of state, and the real check of place, producer and parent certificate."""
        header, parent = block.header, self.tips.get(block.header.parent_hash)
        if parent is None or header.state_root != NO_HASH or header.height != parent.height + 1:
            return False
        facts = self.facts(header.parent_hash)
        if header.producer != facts.committee.seats[facts.leader(header.view)].account:
            return False
        certificate = block.parent_certificate
        if facts.parent_committee is None or certificate is None:
            return facts.parent_committee is None and certificate is None
        named = (certificate.kind, certificate.height, certificate.block_hash)
        return named == (StatementKind.FINALIZE, parent.height, parent.hash) and verify_certificate(
            certificate, facts.parent_committee, StubVerifier()
        )

    def apply(self, block: Block) -> None:
        """Computes the tip after a block that became final."""
        block_hash, header = block.hash, block.header
        if block_hash in self.tips:
            return
        parent, facts = self.tips[header.parent_hash], self.facts(header.parent_hash)
        last, reputation, missed = list(parent.last_mined), list(parent.reputation), list(parent.missed)
        suspended = set(parent.suspended)
        for view in range(header.view):
            home = self.home_of_seat(header.height, facts.leader(view))
            reputation[home] = max(0, reputation[home] - 1_000)
            last[home] = header.height
            missed[home] += 1
            if self.suspend and missed[home] >= 2:
                suspended.add(home)
        producer = header.producer[0] - 1
        last[producer], missed[producer] = header.height, 0
        reputation[producer] += 1_000
        suspended = {home for home in suspended if header.height - last[home] < REJOIN_AFTER}
        self.tips[block_hash] = Tip(
            header.height,
            header.time_ms,
            block_hash,
            next_seed(parent.seed, sha512(header.beacon_proof).digest()),
            header.producer,
            tuple(last),
            tuple(reputation),
            tuple(missed),
            frozenset(suspended),
        )


def body_is_bound(block: Block) -> bool:
    certificate_hash = NO_HASH if block.parent_certificate is None else block.parent_certificate.hash
    return (
        block.header.transactions_root == merkle_root(block.transactions)
        and block.header.parent_certificate_hash == certificate_hash
    )
