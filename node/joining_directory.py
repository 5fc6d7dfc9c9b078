"""A newcomer's data directory: made whole from the genesis its peers serve, and what ``ecloud join`` remembers in it.

1. The genesis is asked of the nodes whose addresses the invite names, and taken if its hash is the invite's chain id:
   whoever served it, it is the one.
2. The directory is made beside its place and moved there, so that it is there whole or not at all.
3. ``join.json`` remembers invite, wish and the request as it was signed, so that the same command goes on where it was
   interrupted. It is removed when the newcomer has joined.
"""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import Final

import msgspec
import trio

from ledger.encoding import EncodingError, decode, encode
from ledger.genesis import Genesis, GenesisError, chain_id, check_genesis
from node.chain import MAX_GENESIS_BYTES
from node.clock import system_wall_ms
from node.configuration import Configuration
from node.founding import NODE_KEY_NAME, DirectoryTaken, initialise_node, read_genesis
from node.invite import Invite
from node.protocol import GENESIS, PROTOCOL_VERSION, STATUS, Status
from p2p.libp2p import LibP2PNetwork
from p2p.network import Banned, Connected, Handler, NetworkError, PeerId

JOIN_NAME: Final = "join.json"
REACHED_WITHIN_S: Final = 30.0
NOWHERE: Final = "/ip4/127.0.0.1/tcp/0"
"""A network has to listen; nobody is to come while only the genesis is fetched."""


class CannotJoin(Exception):
    """The newcomer cannot join with this invite or directory; the message says what to do."""


class NobodyReached(CannotJoin):
    """No node of the invite answered; trying again later may help."""


class MeterWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A meter that is asked for; its key is ``meter.key`` in the data directory."""

    kind: str
    import_w: int
    export_w: int
    storage_wh: int


class JoinRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``join.json`` holds. ``request``: the last request filed, its ``JoinMessage`` in hex, else empty."""

    invite: str
    wallet: str
    name: str
    feeder: str
    meter: MeterWish | None = None
    request: str = ""


def load_record(directory: Path) -> JoinRecord | None:
    """None where nothing is remembered. Errors: CannotJoin for a damaged file."""
    path = directory / JOIN_NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=JoinRecord)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise CannotJoin(f"{path} is damaged: {error}; remove it, and give the invite again") from error


def save_record(directory: Path, record: JoinRecord) -> None:
    """Replaces the file whole."""
    temporary = directory / f".{JOIN_NAME}.new"
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
    temporary.replace(directory / JOIN_NAME)


def forget_record(directory: Path) -> None:
    (directory / JOIN_NAME).unlink(missing_ok=True)


def is_node(directory: Path) -> bool:
    return (directory / NODE_KEY_NAME).exists()


def require_same_chain(directory: Path, invite: Invite) -> None:
    """Errors: CannotJoin; FoundingError for a damaged directory."""
    _, genesis = read_genesis(directory)
    if chain_id(genesis) != invite.body.chain_id:
        raise CannotJoin(
            f"{directory} holds a node of another network, {genesis.name!r}: choose another directory with --data-dir"
        )


def require_free(directory: Path) -> None:
    """Errors: DirectoryTaken."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise DirectoryTaken(f"{directory} is there already and holds no node: choose another directory")


def make_directory(directory: Path, genesis: bytes, configuration: Configuration, node_seed: bytes) -> None:
    """Rule 2. Errors: DirectoryTaken, BadPlan; OSError of the file system; StorageError."""
    require_free(directory)
    directory = directory.absolute()
    staging = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}")
    try:
        initialise_node(staging, genesis, configuration, node_seed)
        staging.rename(directory)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


async def fetch_genesis(invite: Invite, node_seed: bytes, within_s: float = REACHED_WITHIN_S) -> bytes:
    """Rule 1. Errors: NobodyReached; CannotJoin if all that were reached are of another network."""
    network = LibP2PNetwork(node_seed, (NOWHERE,), invite.addresses)
    network.serve(STATUS, _light_status(invite.body.chain_id))
    fetch = _Fetch(network, invite.body.chain_id, len(set(invite.addresses)))
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)  # type: ignore[arg-type]  # trio-typing's stubs know no other TaskStatus
        with trio.move_on_after(within_s):
            await fetch.run()
        nursery.cancel_scope.cancel()
    if fetch.found is not None:
        return fetch.found
    if fetch.refused:
        reasons = "; ".join(sorted(set(fetch.refused.values())))
        raise CannotJoin(f"the nodes the invite names are not of its network: {reasons}; ask for a new invite")
    places = ", ".join(invite.addresses)
    raise NobodyReached(
        f"no node answers at {places} within {within_s:.0f} s: check this machine's network, and whether theirs is on"
    )


class _Fetch:
    """Asks every node that is reached, one after the other, until one gives the genesis or all have failed."""

    def __init__(self, network: LibP2PNetwork, chain: bytes, places: int) -> None:
        self.found: bytes | None = None
        self.refused: dict[PeerId, str] = {}
        self._network = network
        self._chain = chain
        self._places = places

    async def run(self) -> None:
        events = self._network.events()
        for info in self._network.peers():
            await self._ask(info.peer)
        while not self._is_done():
            event = await anext(events)
            if isinstance(event, Connected):
                await self._ask(event.peer)
            elif isinstance(event, Banned):
                self.refused[event.peer] = event.reason

    def _is_done(self) -> bool:
        return self.found is not None or len(self.refused) >= self._places

    async def _ask(self, peer: PeerId) -> None:
        if self.found is not None:
            return
        try:
            document = await self._network.request(peer, GENESIS, self._chain)
            genesis = decode(document, Genesis, MAX_GENESIS_BYTES)
            check_genesis(genesis)
        except (NetworkError, EncodingError, GenesisError) as error:
            self.refused[peer] = str(error)
            return
        if chain_id(genesis) == self._chain:
            self.found = document
        else:
            self.refused[peer] = f"it serves the genesis of {genesis.name!r}"


def _light_status(chain: bytes) -> Handler:
    async def answer(_: PeerId, __: bytes) -> bytes:
        return encode(
            Status(version=PROTOCOL_VERSION, chain_id=chain, height=0, block_hash=chain, wall_ms=system_wall_ms())
        )

    return answer
