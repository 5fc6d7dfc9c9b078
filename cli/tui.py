"""``ecloud tui``: a node in the terminal."""

from __future__ import annotations

import sys

import typer

from cli.common import EXIT_USAGE, HELP_OPTIONS, Api, DataDirectory, DevnetNode, Where, client_errors, connect, fail
from cli.signing import WalletDirectory, open_keystore

app = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=HELP_OPTIONS)


@app.command()
def tui(
    api: Api = None, data_dir: DataDirectory = None, node: DevnetNode = None, wallets: WalletDirectory = None
) -> None:
    """Watch a node in the terminal: its chain, its elections, and your wallet. Press ? for the keys.

    It follows what happens as it happens, and waits for a node that is away.

    \b
    A home of the devnet on this machine:  ecloud tui --node anne
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        fail("the terminal needs a terminal; for programs there is: ecloud node status --json", EXIT_USAGE)
    where = Where(api, data_dir, node)
    keystore = open_keystore(where, wallets)
    with client_errors(where):
        client = connect(where)
    from tui.app import EcloudApp

    EcloudApp(client, keystore=keystore).run()
