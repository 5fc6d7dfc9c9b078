"""How fast a node that lacks everything catches up, and what bounds it: ``make catch-up``.

1. A chain of full blocks is made beforehand: every block has a real draw, a real beacon, a quorum's certificate and
   20 transfers signed by 40 members in turn.
2. Two nodes that have it serve it; a third, with nothing but the genesis, starts beside them and fetches it. All three
   are ``ecloud node run`` in processes of their own, over real libp2p on loopback, on this machine's cores. Measured is
   from the first block stored to the last, on its disk (LMDB, fsynced).
3. The breakdown is measured apart, in one thread and in processor time, on the first blocks of the same chain: so it
   does not depend on what else the machine does, which the wall clock does.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench.report import Table, save
from consensus.certificates import build_certificate
from consensus.verifier import SignatureVerifier
from devnet.making import free_ports
from devnet.processes import ProcessId, spawn, stop_all
from ledger.encoding import decode, encode
from ledger.genesis import Genesis, chain_id
from ledger.keys import SigningKey, digest
from ledger.parameters import Parameters
from ledger.records import Role
from ledger.statements import Statement, StatementKind
from ledger.transactions import Token, Transfer, sign_transaction
from node.batches import prepare
from node.chain import NodeChain
from node.client.client import NodeClient
from node.client.errors import ClientError
from node.configuration import ApiSettings, Configuration, NetworkSettings
from node.founding import NO_ROLES, MemberPlan, NetworkPlan, found_network, initialise_node
from node.gossip import SignatureCache
from node.protocol import BLOCKS, MAX_RANGE, BlockRange, StoredBlock, StoredBlocks
from p2p.libp2p import LibP2PNetwork
from p2p.network import MAX_RESPONSE_BYTES
from p2p.peer_identity import peer_id_from_public_key
from storage.chain import DIRECTORY, ChainDatabase
from storage.state_tree import update

MEMBERS: Final = 40
CANDIDATES: Final = 4
PER_BLOCK: Final = 20
SERVERS: Final = 2
START_S: Final = 90.0
DEADLINE_S: Final = 3_600.0
POLL_S: Final = 0.25


def _key(purpose: str, number: int) -> SigningKey:
    return SigningKey(digest(f"{purpose} {number} of the catch-up".encode()))


class _Maker:
    """Makes the chain, as its four candidates would have."""

    def __init__(self, blocks: int) -> None:
        self.accounts = [_key("account", number) for number in range(MEMBERS)]
        self.nodes = {key.public_key: key for key in (_key("node", number) for number in range(CANDIDATES))}
        node_keys = list(self.nodes)
        plan = NetworkPlan(
            name="catch-up",
            time_ms=time.time_ns() // 1_000_000 - (blocks + 100) * Parameters().block_interval_ms,
            parameters=Parameters(),
            feeders=(("F1", "S1"),),
            members=tuple(
                MemberPlan(
                    name=f"member-{number}",
                    feeder="F1",
                    account=key.public_key,
                    node_key=node_keys[number] if number < CANDIDATES else None,
                    roles=Role.APPROVER if number == 0 else NO_ROLES,
                    watt_uwatt=10**12,
                )
                for number, key in enumerate(self.accounts)
            ),
        )
        self.genesis: Genesis = found_network(plan)

    def make(self, directory: Path, blocks: int, step: Callable[[int], object]) -> None:
        chain = chain_id(self.genesis)
        store = ChainDatabase.open(directory, chain_id=chain, create=True)
        certificate, number, signatures = None, 0, SignatureCache()
        follower = NodeChain(store, self.genesis, None, SignatureVerifier(chain), signatures)
        for height in range(1, blocks + 1):
            transactions = []
            for _ in range(PER_BLOCK):
                nonce, sender = divmod(number, MEMBERS)
                payment = Transfer(
                    recipient=self.accounts[(sender + 7) % MEMBERS].public_key,
                    token=Token.WATT,
                    amount=1 + number % 1_000,
                    memo="",
                )
                number += 1
                transactions.append(
                    sign_transaction(
                        self.accounts[sender],
                        chain,
                        payment,
                        nonce=nonce,
                        fee_uwatt=1_000,
                        valid_until_height=height + 10,
                    )
                )
            opened = follower.open
            leader = self.nodes[opened.committee.seats[opened.draw.leader(0)].node_key]
            maker = NodeChain(store, self.genesis, leader, SignatureVerifier(chain), signatures)
            executed = maker.build(height, 0, opened.earliest_ms, certificate, transactions)
            assert executed is not None
            assert len(executed.transactions) == PER_BLOCK
            statement = Statement(StatementKind.FINALIZE, height, 0, executed.hash)
            certificate = build_certificate(
                statement,
                {
                    index: self.nodes[seat.node_key].sign(statement.domain(), chain, statement.message())
                    for index, seat in enumerate(opened.committee.seats)
                },
                opened.committee,
            )
            maker.commit(executed, certificate)
            follower = maker
            step(height)
        store.close()


class _Stages:
    """Processor milliseconds per block of each stage, in one thread."""

    def __init__(self, genesis: Genesis, source: Path, scratch: Path, blocks: int) -> None:
        chain = chain_id(genesis)
        store = ChainDatabase.open(source, chain_id=chain, read_only=True)
        served: list[StoredBlock] = []
        took = dict.fromkeys(
            ("serving", "network encoding", "decoding", "signatures", "execution", "tree", "LMDB"), 0.0
        )
        reader = NodeChain(store, genesis, None, SignatureVerifier(chain), SignatureCache())
        with _timed(took, "serving"):
            for height in range(1, blocks + 1):
                found = reader.stored_block(height)
                assert found is not None
                served.append(found)
        target = ChainDatabase.open(scratch, chain_id=chain, create=True)
        node = NodeChain(target, genesis, None, SignatureVerifier(chain), SignatureCache())
        for first in range(0, blocks, MAX_RANGE):
            with _timed(took, "network encoding"):
                part = decode(encode(tuple(served[first : first + MAX_RANGE])), StoredBlocks, MAX_RESPONSE_BYTES)
            with _timed(took, "decoding"):
                prepared = prepare(part, SignatureCache())
            with _timed(took, "signatures"):
                assert all(transaction.has_valid_signature() for transaction in prepared.unverified)
            rest = prepared.blocks
            while rest:
                with _timed(took, "execution"):
                    row = node.execute_row(rest)
                assert row is not None
                with _timed(took, "tree"):
                    update(target.tree_node, row.committed[-1].state_changes)
                with _timed(took, "LMDB"):
                    node.commit_row(row)
                rest = rest[len(row.executed) :]
        took["execution"] -= took["tree"]  # which it contains
        target.close()
        store.close()
        self.milliseconds = {stage: 1_000 * seconds / blocks for stage, seconds in took.items()}
        self.bytes_per_block = sum(len(one.block) + len(one.certificate) for one in served) / blocks


@contextmanager
def _timed(took: dict[str, float], stage: str) -> Iterator[None]:
    began = time.thread_time()
    yield
    took[stage] += time.thread_time() - began


class _Street:
    """Servers and the newcomer, as processes."""

    def __init__(self, root: Path, genesis: Genesis, source: Path) -> None:
        keys = [_key("street", number) for number in range(SERVERS + 1)]
        ports = free_ports(2 * len(keys))
        self.addresses = [
            f"/ip4/127.0.0.1/tcp/{port}/p2p/{peer_id_from_public_key(key.public_key)}"
            for port, key in zip(ports, keys, strict=False)
        ]
        self.directories = [root / f"node-{number}" for number in range(len(keys))]
        self.urls = [f"http://127.0.0.1:{port}" for port in ports[len(keys) :]]
        for number, (directory, key) in enumerate(zip(self.directories, keys, strict=True)):
            configuration = Configuration(
                network=NetworkSettings(
                    listen=(self.addresses[number].split("/p2p/")[0],), bootstrap=tuple(self.addresses[:number])
                ),
                api=ApiSettings(port=ports[len(keys) + number], unix_socket=False),
            )
            initialise_node(directory, encode(genesis), configuration, key.seed)
            if number < SERVERS:
                shutil.copytree(source / DIRECTORY, directory / DIRECTORY)
        self.processes: list[ProcessId] = []

    def start(self, number: int) -> None:
        directory = self.directories[number]
        command = [sys.executable, "-m", "cli.main", "node", "run", "--data-dir", str(directory)]
        self.processes.append(spawn(command, directory / "node.log"))


async def _height(url: str) -> int | None:
    try:
        async with NodeClient(url) as client:
            return (await client.status()).height
    except ClientError:
        return None  # it is still starting, or busy


async def _until(url: str, height: int, within_s: float, step: Callable[[int], object]) -> tuple[float, float]:
    """When the first block was seen, and when ``height`` was."""
    began = None
    with trio.fail_after(within_s):
        while True:
            found = await _height(url) or 0
            step(found)
            if found > 0 and began is None:
                began = time.perf_counter()
            if found >= height:
                return began or time.perf_counter(), time.perf_counter()
            await trio.sleep(POLL_S)


async def _transport_rate(address: str, blocks: int) -> float:
    """Blocks a second that one connection carries when they are only decoded from the answers, not looked into."""
    network = LibP2PNetwork(_key("street", 99).seed, ["/ip4/127.0.0.1/tcp/0"], [address])
    peer = address.rpartition("/p2p/")[2]
    fetched = 0
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)  # type: ignore[arg-type]  # trio-typing's stubs know no other TaskStatus
        with trio.fail_after(START_S):
            while not any(info.peer == peer for info in network.peers()):  # noqa: ASYNC110 (no event would be sooner)
                await trio.sleep(0.05)
        began = time.perf_counter()
        while fetched < blocks:
            request = encode(BlockRange(first=fetched + 1, count=min(MAX_RANGE, blocks - fetched)))
            answer = await network.request(peer, BLOCKS, request, timeout_s=60)
            fetched += len(decode(answer, StoredBlocks, MAX_RESPONSE_BYTES))
        took_s = time.perf_counter() - began
        nursery.cancel_scope.cancel()
    return blocks / took_s


def _processor_s(process: ProcessId) -> float:
    """Processor time a process and its ended children have used."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


async def _measure(root: Path, blocks: int, bar: Progress) -> Table:
    maker, source = _Maker(blocks), root / "source"
    source.mkdir()
    task = bar.add_task("making the chain", total=blocks)
    maker.make(source, blocks, lambda height: bar.update(task, completed=height))
    stages = _Stages(maker.genesis, source, root / "scratch", min(blocks, 1_000))
    street = _Street(root, maker.genesis, source)
    try:
        for number in range(SERVERS):
            street.start(number)
            await _until(street.urls[number], blocks, START_S, lambda _height: None)
        rate = await _transport_rate(street.addresses[0], min(blocks, 2_000))
        task = bar.add_task("catching up", total=blocks)
        servers_before = [_processor_s(process) for process in street.processes]
        street.start(SERVERS)
        began, ended = await _until(
            street.urls[SERVERS], blocks, DEADLINE_S, lambda height: bar.update(task, completed=height)
        )
        newcomer_s = _processor_s(street.processes[SERVERS])
        servers_s = sum(map(_processor_s, street.processes[:SERVERS])) - sum(servers_before)
    finally:
        stop_all(street.processes)
    per_second = blocks / (ended - began)
    spent = stages.milliseconds
    serial = sum(spent[stage] for stage in ("network encoding", "decoding", "execution", "tree", "LMDB"))
    return Table(
        name="catch-up",
        title=f"Catching up {blocks:,} blocks of {PER_BLOCK} transfers from {SERVERS} nodes over libp2p",
        command="make catch-up",
        columns=("what", "ms a block", "blocks/s"),
        rows=(
            ("caught up, wall clock", 1_000 / per_second, per_second),
            ("newcomer's processor time, but signatures", 1_000 * newcomer_s / blocks, blocks / newcomer_s),
            ("both servers' processor time", 1_000 * servers_s / blocks, blocks / servers_s),
            ("one connection, nothing but bytes, wall clock", 1_000 / rate, rate),
            *((f"stage: {stage}", milliseconds, 1_000 / milliseconds) for stage, milliseconds in spent.items()),
            ("stages that share one interpreter", serial, 1_000 / serial),
        ),
        notes=(
            f"A block has {stages.bytes_per_block:,.0f} bytes as it is served.",
            "Stages: processor time in one thread, on the first blocks. Signatures are checked in a process beside; "
            "the newcomer's other stages share one Python interpreter with the network, which bounds it.",
            "The three nodes share the cores with whatever else ran: see the load.",
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Blocks a second of catch-up, and what bounds it.")
    parser.add_argument("--blocks", type=int, default=10_000)
    arguments = parser.parse_args()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    root = Path(tempfile.mkdtemp(prefix="ecloud-catch-up-"))
    try:
        with Progress(*columns, console=Console(stderr=True)) as bar:
            table = trio.run(_measure, root, arguments.blocks, bar)
    finally:
        shutil.rmtree(root)
    save(table)


if __name__ == "__main__":
    main()
