"""Runs a node on the real disk and the real network: what ``ecloud node run`` does.

Every way in which starting can fail is said in one line that tells what to do.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import SystemRandom
from typing import Final

import trio

from consensus.engine import FinalBlockInvalid
from ledger.block import BrokenInvariant
from ledger.encoding import EncodingError, decode
from ledger.genesis import Genesis, chain_id
from ledger.keys import SigningKey
from node import clock
from node.api.server import ApiConfig, CannotServe, serve_api
from node.chain import MAX_GENESIS_BYTES
from node.configuration import Configuration
from node.key_files import KeyFileError, load_seed
from node.log import get
from node.node import Node, Parts
from node.worker import ThreadWorker
from p2p.libp2p import LibP2PNetwork
from p2p.limits import Limits
from p2p.network import NetworkError
from storage.chain import ChainDatabase
from storage.errors import StorageError
from storage.journal import Journal

GENESIS_FILE: Final = "genesis.cbor"
NODE_KEY_FILE: Final = "node.key"
MEMPOOL_FILE: Final = "mempool.log"
PEERS_FILE: Final = "peers.cbor"


class CannotStart(Exception):
    """The node cannot be started; one line that says why and what to do."""


class NodeBroken(Exception):
    """The node stopped itself rather than go on with something wrong; says what to do."""


async def run_node(directory: Path, configuration: Configuration) -> None:
    """Runs the node in ``directory`` until SIGTERM or SIGINT.

    Errors: CannotStart, NodeBroken.
    """
    genesis = _load_genesis(directory / GENESIS_FILE)
    try:
        seed = load_seed(directory / NODE_KEY_FILE)
    except KeyFileError as error:
        raise CannotStart(str(error)) from error
    with _databases(directory, chain_id(genesis)) as (store, journal):
        network = _network(directory, seed, configuration)
        parts = Parts(
            name=directory.name,
            genesis=genesis,
            node_key=SigningKey(seed),
            store=store,
            journal=journal,
            network=network,
            mempool_path=directory / MEMPOOL_FILE,
            wall=clock.system_wall_ms,
            worker=ThreadWorker(),
            random=SystemRandom(),
        )
        try:
            node = Node(parts, configuration)
            await _serve(node, network, directory, configuration)
        except* (CannotServe, NetworkError, OSError) as group:
            raise CannotStart("; ".join(str(error) for error in _leaves(group))) from group
        except* (BrokenInvariant, FinalBlockInvalid, StorageError, EncodingError) as group:
            reasons = "; ".join(str(error) for error in _leaves(group))
            raise NodeBroken(
                f"stopped at height {store_height(store)}: {reasons}. Check with: ecloud chain verify --data-dir "
                f"{directory}; to start over from the others, move {directory / 'chain'} away"
            ) from group


async def _serve(
    node: Node,
    network: LibP2PNetwork,
    directory: Path,
    configuration: Configuration,
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_on_signal, node)
        await nursery.start(network.run)  # type: ignore[arg-type]  # trio-typing's stubs know no other TaskStatus
        settings = configuration.api
        api = ApiConfig(directory, settings.host, settings.port, settings.unix_socket)
        address = await nursery.start(partial(serve_api, node, api))
        get("node").info("node started", api=address.url, peer_id=network.peer_id, listening=network.addresses())
        await node.run()
        nursery.cancel_scope.cancel()


async def _stop_on_signal(node: Node) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            get("node").info("stopping", signal=signal.Signals(number).name)
            node.stop()
            return


@contextmanager
def _databases(directory: Path, chain: bytes) -> Iterator[tuple[ChainDatabase, Journal]]:
    try:
        store = ChainDatabase.open(directory, chain_id=chain, create=True)
        try:
            journal = Journal.open(directory, chain_id=chain)
        except StorageError:
            store.close()
            raise
    except StorageError as error:
        raise CannotStart(str(error)) from error
    try:
        yield store, journal
    finally:
        journal.close()
        store.close()


def _network(directory: Path, seed: bytes, configuration: Configuration) -> LibP2PNetwork:
    settings = configuration.network
    limits = Limits(max_connections=settings.max_peers, max_inbound=max(1, settings.max_peers * 3 // 4))
    try:
        return LibP2PNetwork(seed, settings.listen, settings.bootstrap, directory / PEERS_FILE, limits)
    except (NetworkError, ValueError) as error:
        raise CannotStart(str(error)) from error


def _load_genesis(path: Path) -> Genesis:
    try:
        return decode(path.read_bytes(), Genesis, MAX_GENESIS_BYTES)
    except FileNotFoundError as error:
        raise CannotStart(
            f"no {path.name} in {path.parent}: make a data directory with: ecloud node init --genesis FILE"
        ) from error
    except EncodingError as error:
        raise CannotStart(f"{path} is damaged ({error}); copy it anew from another node of the network") from error


def store_height(store: ChainDatabase) -> int:
    tip = store.tip()
    return 0 if tip is None else tip.height


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves
