"""Takes the pictures of the terminal that the documentation shows, from a node that runs.

    ecloud devnet up --detach
    python docs/pictures/render.py --devnet DIRECTORY --home george

Each picture is what the terminal shows of that home at that moment, exported by Textual. The devnet should have run
for some minutes, else the charts are empty.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot

from node.client.client import NodeClient
from node.client.wallets import Keystore
from tui.app import EcloudApp

HERE = Path(__file__).parent
SIZE = (120, 36)
MAX_BYTES = 200_000
SCENES: dict[str, tuple[str, ...]] = {
    "tui-overview": ("o",),
    "tui-chain": ("c", "wait", *("down",) * 2, "wait", "enter"),
    "tui-election": ("e", "wait", *("left",) * 2),
    "tui-market": ("m", "wait"),
    "tui-bills": ("i", "wait", "tab"),
    "tui-wallet": ("w",),
}
WAIT_S = 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description="Pictures of the terminal, from a devnet that runs.")
    parser.add_argument("--devnet", type=Path, required=True, help="the devnet's directory")
    parser.add_argument("--home", default="george", help="whose node to show")
    arguments = parser.parse_args()
    asyncio.run(take_pictures(arguments.devnet, arguments.home))


async def take_pictures(devnet: Path, home: str) -> None:
    client = NodeClient.of_directory(devnet / "homes" / home)
    app = EcloudApp(client, keystore=Keystore(devnet / "wallets"))
    async with app.run_test(size=SIZE) as pilot:
        feed = app.session.feed
        await wait_until(pilot, lambda: bool(feed.blocks and feed.draw and feed.readings), "the node's picture")
        for name, keys in SCENES.items():
            for key in keys:
                if key != "wait":
                    await pilot.press(key)
                    continue
                height = feed.blocks[0].height
                await wait_until(pilot, lambda height=height: feed.blocks[0].height > height, "the next block")  # type: ignore[misc]
            height = feed.blocks[0].height
            await wait_until(pilot, lambda height=height: feed.blocks[0].height > height, "the next block")  # type: ignore[misc]
            write(name, app.export_screenshot(title=f"ecloud tui --node {home}"))


async def wait_until(pilot: Pilot[None], condition: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await pilot.pause(0.1)
    await pilot.pause(0.5)
    assert condition(), what


def write(name: str, svg: str) -> None:
    """The same names inside every time, so that a new picture differs only in what it shows."""
    svg = re.sub(r"terminal-\d+", "terminal", svg)
    assert len(svg.encode()) <= MAX_BYTES, f"{name} has {len(svg.encode())} bytes; {MAX_BYTES} are the most"
    (HERE / f"{name}.svg").write_text(svg, "utf-8")
    sys.stdout.write(f"{name}.svg  {len(svg.encode()):,} bytes\n")


if __name__ == "__main__":
    main()
