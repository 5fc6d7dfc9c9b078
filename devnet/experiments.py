"""What an operator tries on a devnet that runs: to cut it in parts, to set a clock wrong, to load it.

1. Cut in parts, nodes of different parts refuse each other: a ban by each of each, with connections closed. Homes that
   no part names are one more part. Another cut takes the place of the one before.
2. Healed, all bans of ours are ended, and the nodes dial each other again; bans for other reasons stand.
3. A clock is set wrong by the node's own setting ``node.clock_skew_ms``; the node is restarted with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

import trio

from devnet import operations
from devnet.load import Load, LoadRefused
from devnet.manifest import DevnetError, HomeRecord, Manifest, devnet_directory
from devnet.manifest import load as load_manifest
from node.client.client import NodeClient
from node.client.errors import ClientError
from node.configuration import FILE_NAME, override, render
from node.configuration import load as load_configuration
from node.settings import ConfigurationError

CUT_S: Final = 86_400
CUT_REASON: Final = "cut off by ecloud devnet partition"
PROGRESS_S: Final = 0.5

T = TypeVar("T")


def partition(parts: Sequence[str], directory: Path | None = None) -> list[list[str]]:
    """Cuts the devnet. ``parts``: names separated by commas. Returns the parts, with the one nobody named. Errors:
    DevnetError.
    """
    homes = _running(load_manifest(devnet_directory(directory)))
    divided = _divided(parts, [home.name for home in homes])
    part_of = {name: number for number, part in enumerate(divided) for name in part}
    trio.run(_cut, homes, part_of)
    return divided


def heal(directory: Path | None = None) -> int:
    """Ends all cuts; returns how many pairs of nodes were cut. Errors: DevnetError."""
    homes = _running(load_manifest(devnet_directory(directory)))
    return (trio.run(_pardon, homes) + 1) // 2


def set_clock(name: str, skew_ms: int, directory: Path | None = None) -> None:
    """Restarts a node with its clock off by ``skew_ms``; 0 sets it right. Errors: DevnetError."""
    root = devnet_directory(directory)
    home = load_manifest(root).home(name)
    data = Path(home.directory)
    try:
        configuration = override(load_configuration(data, {}), "node", clock_skew_ms=skew_ms)
    except ConfigurationError as error:
        raise DevnetError(str(error)) from error
    (data / FILE_NAME).write_text(render(configuration), "utf-8")
    operations.restart(name, root)


def load(
    per_second: float, seconds: float, note: Callable[[int, float], None], directory: Path | None = None
) -> tuple[int, float]:
    """Has every home send transfers, ``per_second`` in all, until ``seconds`` are over or KeyboardInterrupt. ``note``
    is told what nodes acknowledged so far, and after how many seconds; returned is the last of it.

    Errors: DevnetError.
    """
    root = devnet_directory(directory)
    manifest = load_manifest(root)
    sender = Load(root, _running(manifest), bytes.fromhex(manifest.chain_id), seed=0)
    told = (0, 0.0)

    async def run() -> None:
        nonlocal told
        async with trio.open_nursery() as nursery:
            began = trio.current_time()
            nursery.start_soon(sender.run, per_second)
            while (elapsed := trio.current_time() - began) < seconds:
                told = len(sender.acknowledged), elapsed
                note(*told)
                await trio.sleep(min(PROGRESS_S, seconds - elapsed))
            await sender.stop()
            told = len(sender.acknowledged), trio.current_time() - began

    try:
        trio.run(run)
    except* KeyboardInterrupt:
        pass  # enough: what was acknowledged is told
    except* LoadRefused as refused:
        raise DevnetError(str(next(_leaves(refused)))) from None
    return told


def _leaves(group: BaseExceptionGroup[LoadRefused]) -> Iterator[LoadRefused]:
    for one in group.exceptions:
        if isinstance(one, BaseExceptionGroup):
            yield from _leaves(one)
        else:
            yield one


def _running(manifest: Manifest) -> list[HomeRecord]:
    if not manifest.is_running():
        raise DevnetError("the devnet is not running; start it again with: ecloud devnet up --keep")
    down = [home.name for home in manifest.homes if not home.node.alive]
    if down:
        raise DevnetError(f"{down[0]} is down; start it with: ecloud devnet restart {down[0]}")
    return manifest.homes


def _divided(parts: Sequence[str], names: Sequence[str]) -> list[list[str]]:
    divided = [[name.strip() for name in part.split(",") if name.strip()] for part in parts]
    named = [name for part in divided for name in part]
    for name in named:
        if name not in names:
            raise DevnetError(f"nobody is called {name!r}; there are {', '.join(names)}")
        if named.count(name) > 1:
            raise DevnetError(f"{name} cannot be in two parts")
    rest = [name for name in names if name not in named]
    found = [part for part in (*divided, rest) if part]
    if len(found) < 2:
        raise DevnetError("that cuts nobody off: name at least one home, and leave at least one out")
    return found


async def _cut(homes: Sequence[HomeRecord], part_of: dict[str, int]) -> None:
    await _pardon(homes)
    peers = {home.name: (await _ask(home, lambda client: client.status())).peer_id for home in homes}
    for home in homes:
        for other in homes:
            if part_of[home.name] != part_of[other.name]:
                peer = peers[other.name]
                await _ask(home, _refuse(peer))


async def _pardon(homes: Sequence[HomeRecord]) -> int:
    ended = 0
    for home in homes:
        for ban in (await _ask(home, lambda client: client.peers())).bans:
            if ban.reason == CUT_REASON:
                await _ask(home, _forgive(ban.peer))
                ended += 1
    return ended


def _refuse(peer: str) -> Callable[[NodeClient], Awaitable[str]]:
    return lambda client: client.ban_peer(peer, CUT_S, CUT_REASON)


def _forgive(peer: str) -> Callable[[NodeClient], Awaitable[str]]:
    return lambda client: client.pardon_peer(peer)


async def _ask(home: HomeRecord, question: Callable[[NodeClient], Awaitable[T]]) -> T:
    """Asks as the node's administrator. Errors: DevnetError."""
    try:
        async with NodeClient.of_directory(Path(home.directory)) as client:
            return await question(client)
    except ClientError as error:
        raise DevnetError(f"{home.name}: {error}") from error
