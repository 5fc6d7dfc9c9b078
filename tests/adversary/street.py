"""Four real nodes in processes of their own, and what an attack on one of them does to it and to the others.

with street(directory) as homes:
    with observed(homes, "bob") as watch:
        trio.run(Garbage(seconds=2).attack, homes.victim("bob"))
    watch.heights, watch.memory_grown_kib, watch.files_grown
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from devnet.making import free_ports
from ledger.encoding import encode
from ledger.genesis import Genesis, chain_id
from node.configuration import Configuration, override
from node.founding import initialise_node
from node.run import PEERS_FILE
from p2p.limits import Limits
from p2p.peer_book import PeerBook
from p2p.peer_identity import peer_id_from_public_key
from tests.support.chain import NAMES, PARAMETERS, make_genesis, make_home
from tests.support.processes import NodeProcess, running_node

UNHURRIED: Final = msgspec.structs.replace(PARAMETERS, block_interval_ms=1_000, message_delay_ms=500)
STARTS_WITHIN_S: Final = 150.0
SETTLES_WITHIN_S: Final = 90.0
PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Victim:
    """All that an enemy knows of the node it attacks."""

    address: str
    peer_id: str
    chain_id: bytes
    node: NodeProcess

    def height(self) -> int:
        return int(self.node.status()["height"])

    def bans(self, peer: str) -> bool:
        """Whether the ban stands on the victim's disk, where a restart finds it."""
        book = PeerBook(Limits(), time.monotonic, lambda: time.time_ns() // 1_000_000, self.node.directory / PEERS_FILE)
        return book.banned(peer) is not None


class Street:
    """The four homes of ``tests.support.chain``, each with its node."""

    def __init__(self, genesis: Genesis, addresses: dict[str, str], directory: Path, stack: ExitStack) -> None:
        self.chain_id = chain_id(genesis)
        self.nodes: dict[str, NodeProcess] = {}
        self._addresses = addresses
        self._directory = directory
        self._stack = stack

    def start(self, name: str) -> None:
        self.nodes[name] = self._stack.enter_context(running_node(self._directory / name))

    def restart(self, name: str) -> None:
        """Kills the node's process and starts another."""
        self.nodes[name].process.kill()
        self.nodes[name].process.wait()
        self.start(name)

    def victim(self, name: str) -> Victim:
        peer = peer_id_from_public_key(make_home(name).node.public_key)
        return Victim(self._addresses[name], peer, self.chain_id, self.nodes[name])

    def heights(self) -> dict[str, int]:
        return {name: int(node.status()["height"]) for name, node in self.nodes.items()}

    def skipped_between(self, first: int, last: int) -> int:
        """Turns that were skipped in the blocks ``first`` … ``last``."""
        anybody, views = self.nodes[NAMES[0]], 0
        while last >= first:
            page = anybody.get(f"/v1/blocks?before={last + 1}&limit={min(PAGE, last + 1 - first)}")["blocks"]
            views += sum(block["view"] for block in page)
            last -= len(page)
        return views

    def all_reach(self, height: int, within_s: float = SETTLES_WITHIN_S) -> None:
        for node in self.nodes.values():
            node.until(lambda node=node: node.status()["height"] >= height, within_s)  # type: ignore[misc]


@contextmanager
def street(directory: Path, names: Sequence[str] = NAMES) -> Iterator[Street]:
    """Runs the homes' nodes; all know all."""
    genesis = msgspec.structs.replace(make_genesis(names, UNHURRIED), time_ms=int(time.time() * 1000))
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    addresses = {
        name: f"/ip4/127.0.0.1/tcp/{port}/p2p/{peer_id_from_public_key(make_home(name).node.public_key)}"
        for name, port in ports.items()
    }
    with ExitStack() as stack:
        homes = Street(genesis, addresses, directory, stack)
        for name in names:
            others = tuple(address for other, address in addresses.items() if other != name)
            listen = (f"/ip4/0.0.0.0/tcp/{ports[name]}",)
            configuration = override(Configuration(), "network", listen=listen, bootstrap=others)
            configuration = override(configuration, "api", port=0)
            initialise_node(directory / name, encode(genesis), configuration, make_home(name).node.seed)
            homes.start(name)
        homes.all_reach(3, STARTS_WITHIN_S)
        yield homes


@dataclass(slots=True)
class Watch:
    """What became of the street from the beginning of an attack to its end. Memory and files are the victim's, in all
    and at the highest.
    """

    victim: Victim
    first_height: int
    memory_before_kib: int
    files_before: int
    began_s: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    memory_after_kib: int = 0
    last_height: int = 0
    skipped: int = 0

    @property
    def memory_grown_kib(self) -> int:
        return self.memory_after_kib - self.memory_before_kib

    def files_settle(self, spare: int) -> bool:
        """Whether what the enemy opened is closed again, within a while."""
        deadline = time.monotonic() + SETTLES_WITHIN_S
        while self.victim.node.open_files() > self.files_before + spare:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True


@contextmanager
def observed(homes: Street, name: str) -> Iterator[Watch]:
    victim = homes.victim(name)
    node = victim.node
    watch = Watch(victim, min(homes.heights().values()), node.resident_kib(), node.open_files())
    yield watch
    watch.seconds = time.monotonic() - watch.began_s
    watch.memory_after_kib = node.resident_kib()
    homes.all_reach(max(homes.heights().values()) + 2)
    watch.last_height = min(homes.heights().values())
    watch.skipped = homes.skipped_between(watch.first_height + 1, watch.last_height)
