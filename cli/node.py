"""``ecloud node``: make, run and look after a node."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.common import (
    EXIT_BROKEN,
    EXIT_USAGE,
    Api,
    AsJson,
    DataDirectory,
    DevnetNode,
    Where,
    ask,
    default_data_directory,
    devnet_home,
    fail,
    new_app,
)
from cli.output import moment, note, party, print_facts, print_json, print_table

if TYPE_CHECKING:
    from node.client.client import NodeClient
    from node.client.models import PeerList, Status
    from node.configuration import Configuration

app = new_app("Make, run and look after a node.")

Bootstrap = Annotated[
    list[str] | None,
    typer.Option(
        "--bootstrap", metavar="MULTIADDR", help="A node to begin with, with its /p2p/ part. May be repeated."
    ),
]
Listen = Annotated[
    list[str] | None,
    typer.Option(
        "--listen",
        metavar="MULTIADDR",
        help="Where other nodes reach this one, like /ip4/0.0.0.0/tcp/4001. May be repeated.",
    ),
]
ApiPort = Annotated[
    int | None,
    typer.Option("--api-port", metavar="PORT", help="Port of the local API; 0 takes any free one.", min=0, max=65_535),
]


PeerName = Annotated[str, typer.Argument(metavar="PEER", help="A peer id, or the name of the member it belongs to.")]
LogLevel = Literal["debug", "info", "warning", "error"]


@app.command()
def init(
    genesis: Annotated[Path, typer.Option("--genesis", metavar="FILE", help="The network's genesis.cbor.")],
    data_dir: DataDirectory = None,
    bootstrap: Bootstrap = None,
    listen: Listen = None,
    api_port: ApiPort = None,
    json: AsJson = False,
) -> None:
    """Make a node's data directory: genesis, settings, and a node key of its own.

    Nothing that is there is overwritten. Every setting is explained in config.toml, and can be set by a flag or
    ECLOUD_SECTION_KEY in the environment as well.
    """
    from ledger.keys import SigningKey
    from node.configuration import Configuration, ConfigurationError
    from node.founding import FoundingError, initialise_node
    from p2p.peer_identity import peer_id_from_public_key

    directory, seed = data_dir or default_data_directory(), secrets.token_bytes(32)
    try:
        configuration = _with_addresses(Configuration(), listen, bootstrap, api_port)
        document = genesis.read_bytes()
    except ConfigurationError as error:
        fail(str(error), EXIT_USAGE)
    except OSError as error:
        fail(f"--genesis {genesis}: {error.strerror}", EXIT_USAGE)
    try:
        initialise_node(directory, document, configuration, seed)
    except (FoundingError, OSError) as error:
        fail(str(error))
    public_key = SigningKey(seed).public_key
    peer_id = peer_id_from_public_key(public_key)
    if json:
        print_json({"data_directory": str(directory), "node_key": public_key.hex(), "peer_id": peer_id})
        return
    print_facts(
        [
            ("data directory", str(directory)),
            ("node key", public_key.hex()),
            ("peer id", peer_id),
            ("start it with", f"ecloud node run --data-dir {directory}"),
        ]
    )


@app.command()
def run(
    data_dir: DataDirectory = None,
    listen: Listen = None,
    bootstrap: Bootstrap = None,
    api_port: ApiPort = None,
    halt_height: Annotated[
        int | None,
        typer.Option("--halt-height", metavar="N", min=0, help="Take no part in heights above this one; 0 never."),
    ] = None,
    fast: Annotated[
        bool | None,
        typer.Option("--fast", help="A new node begins with a recent state instead of executing every block."),
    ] = None,
    trusted_header: Annotated[
        str | None,
        typer.Option(
            "--trusted-header", metavar="HASH@HEIGHT", help="The block that --fast trusts. [default: two peers' word]"
        ),
    ] = None,
    log_level: Annotated[
        LogLevel | None, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
    ] = None,
    json: Annotated[bool | None, typer.Option("--json", help="The log for programs: one JSON object a line.")] = None,
) -> None:
    """Run a node until it is told to stop (SIGTERM, or Ctrl-C).

    Prints a line for each block. Flags outrank the environment, which outranks config.toml in the data directory.
    """
    from node import log
    from node.configuration import ConfigurationError, load, override

    directory = data_dir or default_data_directory()
    try:
        configuration = _with_addresses(load(directory), listen, bootstrap, api_port)
        configuration = override(configuration, "node", halt_height=halt_height)
        configuration = override(configuration, "sync", mode="fast" if fast else None, trusted_header=trusted_header)
        configuration = override(configuration, "log", level=log_level, json=json)
    except ConfigurationError as error:
        fail(str(error), EXIT_USAGE)
    log.configure(configuration.log.level, configuration.log.json)

    import gc

    import trio

    from node.run import CannotStart, NodeBroken, run_node

    gc.freeze()  # what the imports made stays: no collection need look at it, and none holds the loop up for it
    try:
        trio.run(run_node, directory, configuration)
    except CannotStart as error:
        fail(str(error), EXIT_USAGE)
    except NodeBroken as error:
        fail(str(error), EXIT_BROKEN)
    finally:
        gc.freeze()  # the interpreter's last collection takes longer than the whole stop, and frees what goes anyway


def _with_addresses(
    configuration: Configuration, listen: list[str] | None, bootstrap: list[str] | None, api_port: int | None
) -> Configuration:
    """Errors: ConfigurationError."""
    from node.configuration import override

    configuration = override(
        configuration,
        "network",
        listen=tuple(listen) if listen else None,
        bootstrap=tuple(bootstrap) if bootstrap else None,
    )
    return override(configuration, "api", port=api_port)


@app.command()
def status(api: Api = None, data_dir: DataDirectory = None, node: DevnetNode = None, json: AsJson = False) -> None:
    """Show where a running node stands: its chain, its peers, and what it warns of."""
    found = ask(Where(api, data_dir, node), lambda client: client.status())
    if json:
        print_json(found)
        return
    print_facts(_status_facts(found))
    for warning in found.warnings:
        note(f"warning: {warning}")


@app.command()
def check(data_dir: DataDirectory = None, node: DevnetNode = None, json: AsJson = False) -> None:
    """Look whether everything in a node's data directory is as it must be, also while the node runs there.

    Settings, genesis, keys, the journal and the waiting transactions are read; the chain is recomputed from the
    genesis: hashes, certificates, state root, sums. Each part has a line; what is wrong says what to do (status 1).
    """
    from cli.checking import check_directory

    found = check_directory(devnet_home(node) if node is not None else data_dir or default_data_directory())
    sound = all(part.ok for part in found)
    if json:
        parts = [{"part": part.name, "ok": part.ok, "detail": part.detail} for part in found]
        print_json({"ok": sound, "parts": parts})
    else:
        print_table(
            ["part", "is", "what"],
            [[part.name, "sound" if part.ok else "wrong", part.detail] for part in found],
            empty="nothing to check",
        )
    if not sound:
        fail("wrong: " + ", ".join(part.name for part in found if not part.ok))


@app.command()
def backup(
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="An empty or new directory.")],
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    json: AsJson = False,
) -> None:
    """Copy a node's chain, compacted, with genesis and settings; the node may run meanwhile.

    The node key and the journal are not copied. Put the node key back by hand, never the journal: a node without one
    follows without voting until that is safe.
    """
    from cli.backup import CannotBackUp, back_up
    from node.client.format import count, size

    directory = devnet_home(node) if node is not None else data_dir or default_data_directory()
    try:
        done = back_up(directory, destination)
    except CannotBackUp as error:
        fail(str(error))
    if json:
        print_json({"directory": str(destination), "height": done.height, "size_bytes": done.size_bytes})
        return
    print_facts(
        [
            ("copied to", str(destination)),
            ("up to block", count(done.height)),
            ("size", size(done.size_bytes)),
            ("not copied", "node.key (keep one copy apart), journal (never restore one)"),
        ]
    )


@app.command()
def peers(api: Api = None, data_dir: DataDirectory = None, node: DevnetNode = None, json: AsJson = False) -> None:
    """Show who a running node is connected with, and whom it refuses."""
    found = ask(Where(api, data_dir, node), lambda client: client.peers())
    if json:
        print_json(found)
    else:
        _print_peers(found)


@app.command()
def ban(
    peer: PeerName,
    minutes: Annotated[int, typer.Option("--minutes", min=1, max=43_200, help="For how long.")] = 60,
    reason: Annotated[str, typer.Option("--reason", help="For the log, and for node peers.")] = "banned by hand",
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
) -> None:
    """Refuse a peer for a time: it is disconnected, and nothing it sends is heard."""

    async def question(client: NodeClient) -> str:
        return await client.ban_peer(_peer_id(await client.peers(), peer), 60 * minutes, reason)

    note(ask(Where(api, data_dir, node), question))


@app.command()
def pardon(peer: PeerName, api: Api = None, data_dir: DataDirectory = None, node: DevnetNode = None) -> None:
    """End a peer's ban."""

    async def question(client: NodeClient) -> str:
        return await client.pardon_peer(_peer_id(await client.peers(), peer))

    note(ask(Where(api, data_dir, node), question))


def _peer_id(found: PeerList, name: str) -> str:
    """Of a peer that the node has met, named by its member; any other text is taken for a peer id."""
    known = [(one.peer, one.account) for one in found.peers] + [(one.peer, one.account) for one in found.bans]
    return next((peer for peer, account in known if account is not None and account.name == name), name)


def _print_peers(found: PeerList) -> None:
    from node.client.format import count, latency, size

    print_table(
        ["peer", "member", "address", "way", "since", ">latency", ">received", ">sent", ">score"],
        [
            [
                one.peer,
                "–" if one.account is None else one.account.label,
                one.address,
                "in" if one.inbound else "out",
                moment(one.since_ms),
                latency(one.latency_us),
                size(one.bytes_received),
                size(one.bytes_sent),
                count(one.score),
            ]
            for one in found.peers
        ],
        empty="no peers: check the network and the bootstrap addresses",
    )
    if found.bans:
        typer.echo()
        print_table(
            ["banned", "member", "until", "why"],
            [
                [one.peer, "–" if one.account is None else one.account.label, moment(one.until_ms), one.reason]
                for one in found.bans
            ],
            empty="",
        )


def _status_facts(found: Status) -> list[tuple[str, str]]:
    from node.client.format import count, duration, size

    peers = "none: nobody to agree with" if found.peer_count == 0 else count(found.peer_count)
    return [
        ("node", f"{found.name}, version {found.version}"),
        ("home", "no member runs under this node key" if found.account is None else party(found.account)),
        ("network", f"{found.network}  {found.chain_id}"),
        ("up", f"{duration(found.now_ms - found.started_at_ms)}, since {moment(found.started_at_ms)}"),
        ("height", count(found.height)),
        ("newest block", f"{found.tip_hash}\n{duration(max(0, found.now_ms - found.tip_time_ms))} ago"),
        ("state root", found.state_root),
        ("agreeing on", _engine(found)),
        ("catching up", _sync(found)),
        ("final after", _finality(found)),
        ("waiting", f"{count(found.mempool.transactions)} transactions, {size(found.mempool.size_bytes)}"),
        ("peers", peers),
        ("clock", _clock(found)),
        ("node key", found.node_key),
        ("peer id", found.peer_id),
    ]


def _engine(found: Status) -> str:
    from node.client.format import count

    engine = found.engine
    leader = "nobody" if engine.leader is None else "this node" if engine.leader_is_this_node else engine.leader.label
    follows = "" if engine.votes else "; this node only follows"
    return f"block {count(engine.height)}, view {engine.view}: the turn of {leader}{follows}"


def _sync(found: Status) -> str:
    from node.client.format import count

    if not found.sync.syncing:
        return "no, it has what its peers have"
    return f"to block {count(found.sync.target_height)}, {count(found.sync.blocks_per_second)} blocks a second"


def _finality(found: Status) -> str:
    from node.client.format import duration

    last = found.finality
    if not last.blocks:
        return "no block seen yet"
    return f"{duration(last.p50_ms)} (half of the last {last.blocks} blocks), {duration(last.p95_ms)} (95 %)"


def _clock(found: Status) -> str:
    if found.clock_offset_ms is None:
        return "not compared: too few peers"
    place = "behind" if found.clock_offset_ms >= 0 else "ahead of"  # the offset is the peers' time less ours
    return f"{abs(found.clock_offset_ms)} ms {place} the peers'"
