"""``ecloud node``: make, run and look after a node."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.common import (
    EXIT_BROKEN,
    EXIT_USAGE,
    Api,
    AsJson,
    ask,
    default_data_directory,
    fail,
    new_app,
    print_json,
)

app = new_app("Make, run and look after a node.")

Directory = Annotated[
    Path | None,
    typer.Option("--data-dir", "-d", envvar="ECLOUD_DATA_DIR", help="The node's data directory."),
]


@app.command()
def init(
    genesis: Annotated[
        Path, typer.Option("--genesis", help="The network's genesis.cbor.", exists=True, dir_okay=False)
    ],
    data_dir: Directory = None,
    bootstrap: Annotated[list[str] | None, typer.Option(help="A node to begin with; may be given often.")] = None,
    listen: Annotated[list[str] | None, typer.Option(help="Where other nodes reach this one.")] = None,
    api_port: Annotated[int | None, typer.Option(help="Port of the local API.")] = None,
) -> None:
    """Make a node's data directory: genesis, settings, and a node key of its own."""
    from node.configuration import Configuration, ConfigurationError, override
    from node.founding import FoundingError, initialise_node
    from node.key_files import load_seed
    from p2p.peer_identity import peer_id_from_public_key

    directory = data_dir or default_data_directory()
    try:
        configuration = override(
            Configuration(),
            "network",
            bootstrap=tuple(bootstrap) if bootstrap else None,
            listen=tuple(listen) if listen else None,
        )
        configuration = override(configuration, "api", port=api_port)
        initialise_node(directory, genesis.read_bytes(), configuration, secrets.token_bytes(32))
    except ConfigurationError as error:
        fail(str(error), EXIT_USAGE)
    except (FoundingError, OSError) as error:
        fail(str(error))
    from ledger.keys import SigningKey

    public_key = SigningKey(load_seed(directory / "node.key")).public_key
    typer.echo(f"data directory  {directory}")
    typer.echo(f"node key        {public_key.hex()}")
    typer.echo(f"peer id         {peer_id_from_public_key(public_key)}")
    typer.echo(f"start it with   ecloud node run --data-dir {directory}")


@app.command()
def run(
    data_dir: Directory = None,
    listen: Annotated[list[str] | None, typer.Option(help="Where other nodes reach this one.")] = None,
    bootstrap: Annotated[list[str] | None, typer.Option(help="A node to begin with; may be given often.")] = None,
    api_port: Annotated[int | None, typer.Option(help="Port of the local API; 0 takes any free one.")] = None,
    halt_height: Annotated[int | None, typer.Option(help="Take no part in heights above this one.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    json: Annotated[bool | None, typer.Option("--json", help="The log for machines: one JSON object a line.")] = None,
) -> None:
    """Run a node until it is told to stop (SIGTERM, or Ctrl-C)."""
    from node import log
    from node.configuration import ConfigurationError, load, override

    directory = data_dir or default_data_directory()
    try:
        configuration = load(directory)
        configuration = override(
            configuration,
            "network",
            listen=tuple(listen) if listen else None,
            bootstrap=tuple(bootstrap) if bootstrap else None,
        )
        configuration = override(configuration, "api", port=api_port)
        configuration = override(configuration, "node", halt_height=halt_height)
        configuration = override(configuration, "log", level=log_level, json=json)
    except ConfigurationError as error:
        fail(str(error), EXIT_USAGE)
    log.configure(configuration.log.level, configuration.log.json)

    import trio

    from node.run import CannotStart, NodeBroken, run_node

    try:
        trio.run(run_node, directory, configuration)
    except CannotStart as error:
        fail(str(error), EXIT_USAGE)
    except NodeBroken as error:
        fail(str(error), EXIT_BROKEN)


@app.command()
def status(api: Api = None, data_dir: Directory = None, json: AsJson = False) -> None:
    """Where a running node stands."""
    found = ask(api, lambda node: node.status(), data_dir)
    if json:
        print_json(found)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in _status_rows(found):
        table.add_row(name, value)
    Console().print(table)


def _status_rows(found: Any) -> list[tuple[str, str]]:
    import msgspec

    return [
        (name.replace("_", " "), _text(value))
        for name, value in msgspec.structs.asdict(found).items()
        if value is not None and value != []
    ]


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "\n".join(_text(one) for one in value)
    return str(getattr(value, "label", value))
