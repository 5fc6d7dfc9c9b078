"""Runs a node on the real disk and the real network: what ``ecloud node run`` does.

Every way in which starting can fail is said in one line that tells what to do.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import SystemRandom
from typing import Final

import trio

from consensus.engine import FinalBlockInvalid
from ledger.block import BrokenInvariant
from ledger.encoding import EncodingError
from ledger.genesis import chain_id
from ledger.keys import SigningKey
from node import clock
from node.api.server import ApiConfig, CannotServe, serve_api
from node.configuration import Configuration, parse_trusted_header
from node.fast_sync import FastSync, begin_fast
from node.founding import NODE_KEY_NAME, FoundingError, read_genesis
from node.key_files import KeyFileError, KeyFileMissing, load_seed
from node.log import Log, get
from node.node import Node, Parts
from node.signature_checker import ProcessChecker
from node.worker import ThreadWorker
from p2p.addresses import parse_address
from p2p.joining import Joining, RelayRole
from p2p.libp2p import LibP2PNetwork
from p2p.limits import Limits
from p2p.network import NetworkError
from p2p.surroundings import is_loopback
from storage.chain import ChainDatabase
from storage.environment import structural_problems
from storage.errors import Damaged, StorageError
from storage.journal import DIRECTORY as JOURNAL_DIRECTORY
from storage.journal import Journal

MEMPOOL_FILE: Final = "mempool.log"
PEERS_FILE: Final = "peers.cbor"
BROKEN: Final = (BrokenInvariant, FinalBlockInvalid, StorageError, EncodingError)


class CannotStart(Exception):
    """The node cannot be started; one line that says why and what to do."""


class CannotListen(Exception):
    """The node's own address cannot be had."""


class NodeBroken(Exception):
    """The node stopped itself rather than go on with something wrong; says what to do."""


Beside = Callable[[], Awaitable[None]]


async def run_node(directory: Path, configuration: Configuration, beside: Beside | None = None) -> None:
    """Runs the node in ``directory`` until SIGTERM or SIGINT, or until ``beside`` returns, which is called once the API
    is served.

    Errors: CannotStart, NodeBroken.
    """
    try:
        _, genesis = read_genesis(directory)
        seed = load_seed(directory / NODE_KEY_NAME)
    except KeyFileMissing as error:
        raise CannotStart(f"{error}; put it back, or make another data directory with: ecloud node init") from error
    except (FoundingError, KeyFileError) as error:
        raise CannotStart(str(error)) from error
    with _databases(directory, chain_id(genesis)) as (store, journal):
        network = _network(directory, seed, configuration, chain_id(genesis))
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
            checker=ProcessChecker(get("sync")),
        )
        try:
            if configuration.sync.mode == "fast" and store.tip() is None:
                await _begin_fast(parts, directory, seed, configuration)
            await _serve(parts, network, directory, configuration, beside)
        except Exception as error:
            problem = _problem(error, directory, store)
            if problem is None:
                raise
            raise problem from error


async def _begin_fast(parts: Parts, directory: Path, seed: bytes, configuration: Configuration) -> None:
    """Has the empty store begin with a recent state, over a network of its own that ends with it."""
    elsewhere = replace(configuration.network, listen=("/ip4/0.0.0.0/tcp/0",), map_port=False)
    chain, log = chain_id(parts.genesis), get("fast sync")
    network = _network(directory, seed, replace(configuration, network=elsewhere), chain)
    trusted = parse_trusted_header(configuration.sync.trusted_header)
    fast = FastSync(network, chain, trusted, parts.random, parts.worker, log, partial(_tell, log))
    log.info("fast sync begins", trusted=configuration.sync.trusted_header or "what two peers tell alike")
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)  # type: ignore[arg-type]  # trio-typing's stubs know no other TaskStatus
        height = await begin_fast(parts.store, fast)
        nursery.cancel_scope.cancel()
    log.info("fast sync done: this node begins here", height=height)


def _tell(log: Log, height: int, records: int) -> None:
    log.info("state", height=height, records=records)


def _problem(error: Exception, directory: Path, store: ChainDatabase) -> CannotStart | NodeBroken | None:
    """What to tell the person who started the node; None for what nobody foresaw."""
    leaves = _leaves(error)
    reasons = "; ".join(dict.fromkeys(str(leaf) for leaf in leaves))
    if any(isinstance(leaf, CannotServe | CannotListen) for leaf in leaves):
        return CannotStart(reasons)
    if any(isinstance(leaf, BROKEN) for leaf in leaves):
        return NodeBroken(
            f"stopped at {_height(store)}: {reasons}. Check with: ecloud chain verify --data-dir {directory}; to start "
            f"over from the others, move {directory / 'chain'} away"
        )
    if any(isinstance(leaf, NetworkError | OSError) for leaf in leaves):
        return NodeBroken(f"stopped at {_height(store)}: {reasons}. Mend that and start the node again")
    return None


async def _serve(
    parts: Parts,
    network: LibP2PNetwork,
    directory: Path,
    configuration: Configuration,
    beside: Beside | None,
) -> None:
    node = Node(parts, configuration)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_on_signal, node)
        try:
            await nursery.start(network.run)  # type: ignore[arg-type]  # trio-typing's stubs know no other TaskStatus
        except NetworkError as error:
            raise CannotListen(
                f"{error}; stop what uses it, or set another in config.toml, section [network]"
            ) from error
        settings = configuration.api
        api = ApiConfig(directory, settings.host, settings.port, settings.unix_socket)
        address = await nursery.start(partial(serve_api, node, api))
        get("node").info("node started", api=address.url, peer_id=network.peer_id, listening=network.addresses())
        if beside is not None:
            nursery.start_soon(_run_beside, beside, node)
        await node.run()
        nursery.cancel_scope.cancel()


async def _run_beside(beside: Beside, node: Node) -> None:
    await beside()
    node.stop()


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
            _require_sound(directory / JOURNAL_DIRECTORY)
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


def _require_sound(journal: Path) -> None:
    """A page of the journal that is not what was written could hide a vote, or kill the process that reads it. It is a
    small file, so it is looked at before LMDB sees it. Errors: Damaged.
    """
    if (journal / "data.mdb").exists() and (problems := structural_problems(journal)):
        raise Damaged(journal, problems[0])


def _network(directory: Path, seed: bytes, configuration: Configuration, chain: bytes) -> LibP2PNetwork:
    settings = configuration.network
    max_inbound = max(1, settings.max_peers * 3 // 4)
    limits = Limits(
        max_connections=settings.max_peers,
        max_inbound=max_inbound,
        max_inbound_per_address=max_inbound if _on_loopback(settings.listen) else settings.max_peers_per_address,
    )
    joining = Joining(
        network_name=chain.hex()[:16],
        wanted_peers=settings.wanted_peers,
        peer_exchange=settings.peer_exchange,
        local_discovery=settings.local_discovery,
        map_port=settings.map_port,
        dht=settings.dht,
        relay=RelayRole(settings.relay),
        announce=settings.announce,
    )
    try:
        return LibP2PNetwork(seed, settings.listen, settings.bootstrap, directory / PEERS_FILE, limits, joining)
    except (NetworkError, ValueError, OSError) as error:
        raise CannotStart(str(error)) from error


def _on_loopback(listen: tuple[str, ...]) -> bool:
    """Whether only this machine can connect, as in a devnet: all come from one address then."""
    return all(is_loopback(parse_address(address)) for address in listen)


def _height(store: ChainDatabase) -> str:
    try:
        tip = store.tip()
    except StorageError:
        return "a height that cannot be read"
    return f"height {0 if tip is None else tip.height}"


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for part in error.exceptions for leaf in _leaves(part)]
