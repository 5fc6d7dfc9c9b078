"""The terminal against the real API over a real chain on disk: what the recorded node stands for elsewhere holds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio
from mnemonic import Mnemonic
from textual.pilot import Pilot

from ledger.transactions import Token, Transfer
from node.client.client import NodeClient
from node.client.wallets import Keystore
from node.keystore import CHEAP
from tests.node.api.household import Household, household, served
from tests.support.chain import make_home
from tests.tui.driving import PASSWORD, play, press, said, until, until_shown
from tui.app import EcloudApp
from tui.dialogs.confirm import ConfirmDialog


class RealNode:
    """A household served from a thread of its own; ``do`` runs something in it, between its requests."""

    def __init__(self, directory: Path) -> None:
        self.url = ""
        self._directory = directory
        self._ready = threading.Event()
        self._home: Household | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._end = trio.Event()

    def do(self, action: Callable[[Household], None]) -> None:
        assert self._home is not None
        trio.from_thread.run_sync(action, self._home, trio_token=self._token)

    async def _serve(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with household(self._directory) as home:
            self._home = home
            for _ in range(3):
                home.produce()
            home.produce(view=1)
            home.produce([home.made.sign("anne", Transfer(home.made.home("bob").id, Token.WATT, 5, "eggs"))])
            home.produce([home.made.read("anne", 90, 0)], time_ms=home.now_ms + 10_000)
            home.produce([home.made.read("anne", 230, 0)], time_ms=home.now_ms + 10_000)
            async with served(self._directory, home) as serving:
                self.url = serving.address.url
                self._ready.set()
                await self._end.wait()

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=trio.run, args=(self._serve,), daemon=True)
        thread.start()
        assert self._ready.wait(60), "the API did not open"
        try:
            yield
        finally:
            assert self._token is not None
            self._token.run_sync_soon(self._end.set)
            thread.join(30)


def test_all_screens_and_a_transfer_against_the_real_api(tmp_path: Path) -> None:
    node = RealNode(tmp_path / "node")
    (tmp_path / "node").mkdir()

    async def scene(pilot: Pilot[Any]) -> None:
        app = pilot.app
        # Overview: the next draw, and what anne's home has drawn from the grid
        await until_shown(pilot, "height 8")
        await until_shown(pilot, "0.14  kWh")
        # Chain: a payment, decoded
        await press(pilot, "c")
        await until_shown(pilot, "follows the tip")
        await press(pilot, "=5", "enter")
        await until_shown(pilot, "Block 5 · 1 transaction")
        await press(pilot, "enter")
        await until_shown(pilot, "0.000005 WATT")
        # Election: the draw of the height at which a turn was skipped
        await press(pilot, "e")
        await until_shown(pilot, "is to produce")
        await press(pilot, "left", "left", "left", "left")
        await until_shown(pilot, "height 4, view 1")
        await until_shown(pilot, "skipped:")
        # Wallet: a transfer, from the password to the block
        await press(pilot, "w")
        await until_shown(pilot, "transfer")
        await press(pilot, "s", "=bob", "tab", "=1.5", "enter")
        await until(pilot, lambda: isinstance(app.screen, ConfirmDialog), "no confirmation was asked for")
        await press(pilot, f"={PASSWORD}", "enter")
        await until_shown(pilot, "waiting for a block")
        node.do(lambda home: home.produce(list(home.intake.mempool)))
        await until(pilot, lambda: "final in block 8" in said(app, "#result"), "the transfer did not become final")

    with node.running():
        keystore = Keystore(tmp_path / "wallets")
        words = Mnemonic("english").to_mnemonic(make_home("anne").account.seed)
        keystore.import_mnemonic("anne", words, PASSWORD, CHEAP)
        play(EcloudApp(NodeClient(node.url), keystore=keystore), scene)
