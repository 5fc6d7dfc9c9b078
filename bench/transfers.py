"""How many transfers become final, and how soon: ``make bench-transfers``.

1. Transfers are signed beforehand by many senders and gossiped into the network by one more peer, in batches, as fast
   as the network takes them; nothing else is going on but blocks.
2. A transfer is *final* when the slowest of the nodes has committed its block to its disk (LMDB, fsynced). Its time
   counts from the moment its batch was published.
3. Nodes are processes of their own over real libp2p on loopback, all on this machine: with n nodes every transfer is
   verified, executed and stored n times by the same cores. One node is measured the same way, then Ed25519
   verification alone (PyNaCl), on one core, in the same run.
"""

from __future__ import annotations

import argparse
import os
import platform
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Final

import msgspec
import trio
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from devnet.making import free_ports
from devnet.processes import ProcessId, spawn, stop_all
from ledger.encoding import decode, encode
from ledger.genesis import Genesis, GenesisFeeder, GenesisMember, chain_id
from ledger.keys import Domain, SigningKey, digest, verify_signature
from ledger.parameters import Parameters
from ledger.records import Role
from ledger.transactions import Signed, Token, Transfer, sign_transaction
from node.client.client import NodeClient
from node.client.errors import ClientError
from node.client.events import Back, BlockFinal
from node.configuration import ApiSettings, Configuration, NetworkSettings
from node.founding import initialise_node
from node.protocol import MAX_BATCH_BYTES, TransactionBatch, topic
from p2p.libp2p import LibP2PNetwork
from p2p.network import Verdict
from p2p.peer_identity import peer_id_from_public_key

SENDERS: Final = 240
MAX_PER_SENDER: Final = 60  # below what a mempool keeps of one sender
BLOCK_INTERVAL_MS: Final = 1_000
DEADLINE_S: Final = 240.0
START_S: Final = 60.0
PAUSE_PER_BATCH_S: Final = 0.02
VERIFIED: Final = 5_000


@dataclass(frozen=True, slots=True)
class Result:
    """``per_second``: transfers from the first batch published to the last block final everywhere."""

    nodes: int
    transfers: int
    per_second: float
    p50_s: float
    p95_s: float
    blocks: int


@dataclass(frozen=True, slots=True)
class _Keys:
    nodes: list[SigningKey]
    senders: list[SigningKey]


def _genesis(keys: _Keys, time_ms: int) -> Genesis:
    members = [
        GenesisMember(
            account=key.public_key,
            name=f"sender-{index}",
            roles=int(Role.APPROVER) if index == 0 else 0,
            feeder="F1",
            node_key=keys.nodes[index].public_key if index < len(keys.nodes) else None,
            watt_uwatt=10**12,
            grid_ugrid=0,
            voting_rule=None,
        )
        for index, key in enumerate(keys.senders)
    ]
    parameters = Parameters(block_interval_ms=BLOCK_INTERVAL_MS, max_block_transactions=2_000)
    return Genesis(
        name="bench",
        time_ms=time_ms,
        parameters=parameters,
        feeders=(GenesisFeeder("F1", "S"),),
        members=tuple(members),
        meters=(),
        grid_supply_ugrid=0,
        grid_reserve_ugrid=0,
    )


def _signed(keys: _Keys, chain: bytes, count: int) -> list[bytes]:
    """``count`` transfers, senders taking turns, each to its neighbour."""
    raws: list[bytes] = []
    for number in range(count):
        nonce, index = divmod(number, len(keys.senders))
        payload = Transfer(
            recipient=keys.senders[(index + 1) % len(keys.senders)].public_key,
            token=Token.WATT,
            amount=1 + number,
            memo="",
        )
        transaction = sign_transaction(
            keys.senders[index], chain, payload, nonce=nonce, fee_uwatt=1_000, valid_until_height=5_000
        )
        raws.append(transaction.raw)
    return raws


def _batches(raws: Sequence[bytes]) -> list[bytes]:
    batches: list[bytes] = []
    part: list[bytes] = []
    size = 0
    for raw in raws:
        part.append(raw)
        size += len(raw)
        if size >= MAX_BATCH_BYTES // 2:
            batches.append(encode(TransactionBatch(transactions=tuple(part), salt=len(batches))))
            part, size = [], 0
    if part:
        batches.append(encode(TransactionBatch(transactions=tuple(part), salt=len(batches))))
    return batches


class _Network:
    """The nodes' processes and their directories."""

    def __init__(self, root: Path, count: int) -> None:
        self.keys = _Keys(
            [SigningKey(secrets.token_bytes(32)) for _ in range(count)],
            [SigningKey(secrets.token_bytes(32)) for _ in range(SENDERS)],
        )
        self.genesis = _genesis(self.keys, time.time_ns() // 1_000_000)
        ports = free_ports(2 * count)
        self.addresses = [
            f"/ip4/127.0.0.1/tcp/{port}/p2p/{peer_id_from_public_key(key.public_key)}"
            for port, key in zip(ports[:count], self.keys.nodes, strict=True)
        ]
        self.urls = [f"http://127.0.0.1:{port}" for port in ports[count:]]
        self.processes: list[ProcessId] = []
        for index, key in enumerate(self.keys.nodes):
            directory = root / f"node-{index}"
            configuration = Configuration(
                network=NetworkSettings(
                    listen=(self.addresses[index].split("/p2p/")[0],), bootstrap=tuple(self.addresses[:index])
                ),
                api=ApiSettings(port=ports[count + index], unix_socket=False),
            )
            initialise_node(directory, encode(self.genesis), configuration, key.seed)
            command = [sys.executable, "-m", "cli.main", "node", "run", "--data-dir", str(directory)]
            self.processes.append(spawn(command, directory / "node.log"))

    async def wait_for_block(self) -> None:
        with trio.fail_after(START_S):
            for url in self.urls:
                async with NodeClient(url) as client:
                    while True:
                        try:
                            if (await client.status()).height >= 1:
                                break
                        except ClientError:
                            pass  # it is still starting
                        await trio.sleep(0.2)


async def _watch(url: str, finals: dict[int, float], ready: trio.Event) -> None:
    """Notes when each height became final at one node, from the height it has at the beginning on."""
    async with NodeClient(url) as client:
        async for event in client.events():
            if isinstance(event, Back):
                finals.setdefault(event.height, trio.current_time())
                ready.set()
            if isinstance(event, BlockFinal):
                finals.setdefault(event.height, trio.current_time())


async def _publish(network: LibP2PNetwork, name: str, batches: Sequence[bytes], published: dict[bytes, float]) -> None:
    for batch in batches:
        now = trio.current_time()
        for raw in decode(batch, TransactionBatch, 2 * MAX_BATCH_BYTES).transactions:
            published[digest(decode(raw, Signed, MAX_BATCH_BYTES).body)] = now
        await network.publish(name, batch)
        await trio.sleep(PAUSE_PER_BATCH_S)


async def measure(count: int, transfers: int, progress: Progress) -> Result:
    """Runs one network of ``count`` nodes."""
    root = Path(tempfile.mkdtemp(prefix="ecloud-bench-"))
    network = _Network(root, count)
    try:
        return await _measure(network, transfers, progress)
    finally:
        stop_all(network.processes)
        shutil.rmtree(root)


async def _measure(network: _Network, transfers: int, progress: Progress) -> Result:
    count = len(network.keys.nodes)
    chain = chain_id(network.genesis)
    batches = _batches(_signed(network.keys, chain, transfers))
    task = progress.add_task(f"{count} node{'s' if count > 1 else ''}", total=transfers)
    await network.wait_for_block()
    finals: list[dict[int, float]] = [{} for _ in range(count)]
    published: dict[bytes, float] = {}
    committed: dict[bytes, int] = {}
    peer = LibP2PNetwork(secrets.token_bytes(32), ["/ip4/127.0.0.1/tcp/0"], network.addresses)
    name = topic(chain, "transactions")
    async with trio.open_nursery() as nursery:
        await nursery.start(peer.run)  # type: ignore[arg-type]  # trio-typing's stubs know no other TaskStatus
        nursery.start_soon(_listen, peer, name)
        for url, heights in zip(network.urls, finals, strict=True):
            ready = trio.Event()
            nursery.start_soon(_watch, url, heights, ready)
            await ready.wait()
        while not any(name in info.topics for info in peer.peers()):  # noqa: ASYNC110 (the network tells no such event)
            await trio.sleep(0.1)
        began = trio.current_time()
        nursery.start_soon(_publish, peer, name, batches, published)
        height = max(max(heights) for heights in finals)
        with trio.fail_after(DEADLINE_S):
            async with NodeClient(network.urls[0]) as client:
                while len(committed) < transfers:
                    height += 1
                    while any(height not in heights for heights in finals):  # noqa: ASYNC110 (they note the times)
                        await trio.sleep(0.05)
                    for summary in (await client.block(height)).transactions:
                        committed[bytes.fromhex(summary.id)] = height
                    progress.update(task, completed=len(committed))
        nursery.cancel_scope.cancel()
    last = max(heights[height] for heights in finals)
    waits = sorted(
        max(heights[at] for heights in finals) - published[transaction] for transaction, at in committed.items()
    )
    cuts = quantiles(waits, n=20)
    return Result(count, transfers, transfers / (last - began), cuts[9], cuts[18], len(set(committed.values())))


async def _listen(network: LibP2PNetwork, name: str) -> None:
    async for _ in network.subscribe(name, lambda _peer, _data: Verdict.IGNORE):
        pass


def verify_rate() -> float:
    """Ed25519 signatures verified per second on one core."""
    key = SigningKey(secrets.token_bytes(32))
    message = bytes(200)
    signature = key.sign(Domain.TRANSACTION, bytes(32), message)
    began = time.perf_counter()
    for _ in range(VERIFIED):
        assert verify_signature(key.public_key, Domain.TRANSACTION, bytes(32), message, signature)
    return VERIFIED / (time.perf_counter() - began)


def main() -> None:
    """Prints one table. Exit status 1 if not every transfer became final."""
    parser = argparse.ArgumentParser(description="Transfers per second, final and fsynced on every node.")
    parser.add_argument("--transfers", type=int, default=5_000, help=f"at most {SENDERS * MAX_PER_SENDER}")
    parser.add_argument("--nodes", type=int, nargs="+", default=[4, 1])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    transfers = min(arguments.transfers, SENDERS * MAX_PER_SENDER)
    console = Console(stderr=True)
    rate = verify_rate()
    with Progress(console=console) as progress:
        results = [trio.run(measure, count, transfers, progress) for count in arguments.nodes]
    if arguments.json:
        print(msgspec.json.encode({"ed25519_verifications_per_second": round(rate), "results": results}).decode())
        return
    table = Table(title=f"{transfers} transfers on {platform.machine()}, {os.cpu_count()} cores")
    for heading in ("nodes", "transfers/s", "of one core's Ed25519 rate", "final p50", "final p95", "blocks"):
        table.add_column(heading, justify="right")
    for result in results:
        table.add_row(
            str(result.nodes),
            f"{result.per_second:,.0f}",
            f"{result.per_second / rate:.1%}",
            f"{result.p50_s:.2f} s",
            f"{result.p95_s:.2f} s",
            str(result.blocks),
        )
    Console().print(table, f"Ed25519: {rate:,.0f} verifications/s on one core")


if __name__ == "__main__":
    main()
