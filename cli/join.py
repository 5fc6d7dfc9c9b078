"""``ecloud join``: from an invite to a member's node.

1. First the network: the invite is read, the genesis fetched and checked, the node's directory made. Then the wallet:
   the one that is there, or a new one, whose words are shown once. Then the node runs, in this process, unless it runs
   on its directory already, and what is left is done through its API.
2. Interrupted at any moment, the same command goes on; once the directory is there it needs no invite any more.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.common import (
    EXIT_AWAY,
    EXIT_BROKEN,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    HELP_OPTIONS,
    AsJson,
    Where,
    default_data_directory,
    fail,
)
from cli.output import note, print_facts, print_json
from cli.signing import PasswordFile, WalletDirectory, WalletName, open_keystore, read_password

if TYPE_CHECKING:
    from ledger.keys import SigningKey
    from node.configuration import Configuration
    from node.invite import Invite
    from node.joining import WishedMeter
    from node.joining_directory import JoinRecord, MeterWish
    from node.joining_newcomer import Joined, Tell, Wish

app = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=HELP_OPTIONS)

METER_KEY_NAME: Final = "meter.key"
KINDS: Final = ("load", "solar", "wind", "battery", "mixed")


@app.command()
def join(
    invite: Annotated[
        str | None, typer.Argument(metavar="[INVITE]", help="The invite; not needed to go on after an interruption.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="The name you wish; the invite's if left out.")
    ] = None,
    feeder: Annotated[
        str | None, typer.Option("--feeder", metavar="FEEDER", help="The feeder your home is on, if there are several.")
    ] = None,
    meter: Annotated[
        str | None,
        typer.Option("--meter", metavar="KIND", help=f"Ask for a meter too: {', '.join(KINDS)}. Makes its key."),
    ] = None,
    import_watt: Annotated[
        int, typer.Option("--import-watt", metavar="W", min=0, help="The most that the connection takes in.")
    ] = 17_250,
    export_watt: Annotated[
        int, typer.Option("--export-watt", metavar="W", min=0, help="The most that it feeds in.")
    ] = 0,
    storage_wh: Annotated[int, typer.Option("--storage-wh", metavar="WH", min=0, help="What its batteries hold.")] = 0,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir", "--data", "-d", envvar="ECLOUD_DATA_DIR", metavar="DIR", help="The node's data directory."
        ),
    ] = None,
    listen: Annotated[
        list[str] | None,
        typer.Option("--listen", metavar="MULTIADDR", help="Where other nodes reach this one. May be repeated."),
    ] = None,
    api_port: Annotated[
        int | None, typer.Option("--api-port", metavar="PORT", min=0, max=65_535, help="Port of the local API.")
    ] = None,
    wallet: WalletName = None,
    wallets: WalletDirectory = None,
    password_file: PasswordFile = None,
    reach_within: Annotated[
        float, typer.Option("--reach-within", metavar="SECONDS", min=1, help="How long to look for the first node.")
    ] = 30.0,
    json: AsJson = False,
) -> None:
    """Join a network with an invite: makes keys, fetches and checks the chain, and asks for membership.

    Waits until an approver grants it, then has the node vote for its member. May be interrupted at any time: the same
    command goes on.
    """
    from node.client.errors import ClientError
    from node.founding import FoundingError
    from node.joining_directory import CannotJoin, MeterWish, NobodyReached
    from node.key_files import KeyFileError
    from storage.errors import StorageError

    if meter is not None and meter not in KINDS:
        fail(f"no meter is of kind {meter!r}; there are: {', '.join(KINDS)}", EXIT_USAGE)
    directory = data_dir or default_data_directory()
    settings = {"listen": listen, "api_port": api_port}
    try:
        with _progress() as tell:
            asked = None if meter is None else MeterWish(meter, import_watt, export_watt, storage_wh)
            decoded, record = _record(directory, invite, name, wallet, asked)
            _make_directory(directory, decoded, settings, reach_within, tell)
            record = _with_feeder(directory, record, feeder)
            account = _unlock(record.wallet, wallets, password_file, tell)
            wish = _wish(directory, decoded, account, record.meter)
            joined = _join(directory, record, wish, tell)
    except NobodyReached as error:
        fail(str(error), EXIT_AWAY)
    except (CannotJoin, FoundingError, KeyFileError, ClientError, StorageError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{directory}: {error.strerror}")
    if joined is None:
        note("interrupted; to go on:  ecloud join" + (f" --data-dir {directory}" if data_dir else ""))
        raise typer.Exit(EXIT_INTERRUPTED)
    _show(joined, directory, json, has_meter=bool(wish.meters))


def _record(
    directory: Path, text: str | None, name: str | None, wallet: str | None, meter: MeterWish | None
) -> tuple[Invite, JoinRecord]:
    """The invite, and what is wished: of the command line, else of an interrupted run, else of the invite. Errors:
    CannotJoin; ends the command for a wrong invite or name.
    """
    import msgspec

    from ledger.refusal import TransactionRefused
    from ledger.registry import check_name
    from node.clock import system_wall_ms
    from node.invite import InviteError, decode_invite
    from node.joining_directory import JoinRecord, is_node, load_record, require_same_chain

    found = load_record(directory)
    if text is None and found is None:
        fail("an invite is needed: ask a member of the network for one (ecloud network invite NAME)", EXIT_USAGE)
    try:
        invite = decode_invite(text if text is not None else found.invite if found is not None else "")
        if found is None or text is not None:
            invite.require_current(system_wall_ms())
    except InviteError as error:
        fail(str(error))
    if is_node(directory):
        require_same_chain(directory, invite)
    wished = name or (found.name if found is not None else "") or invite.body.name
    if not wished and sys.stdin.isatty():
        wished = typer.prompt("The name you wish", err=True)
    try:
        check_name(wished)
    except TransactionRefused as refused:
        fail(f"--name {wished!r}: {refused.detail}", EXIT_USAGE)
    former = found or JoinRecord(invite="", wallet=wished.replace(".", "-"), name="", feeder="")
    return invite, msgspec.structs.replace(
        former, invite=invite.text(), name=wished, wallet=wallet or former.wallet, meter=meter or former.meter
    )


def _make_directory(
    directory: Path, invite: Invite, settings: dict[str, Any], reach_within_s: float, tell: Tell
) -> None:
    """Errors: CannotJoin, FoundingError; OSError; StorageError."""
    import secrets

    from node.configuration import Configuration, ConfigurationError
    from node.joining_directory import fetch_genesis, is_node, make_directory, require_free
    from node.key_files import SEED_BYTES

    if is_node(directory):
        return
    require_free(directory)
    try:
        configuration = _configuration(Configuration(), invite, settings)
    except ConfigurationError as error:
        fail(str(error), EXIT_USAGE)
    import trio

    tell(f"looking for {invite.body.network} at {invite.addresses[0]}")
    seed = secrets.token_bytes(SEED_BYTES)
    document = trio.run(fetch_genesis, invite, seed, reach_within_s)
    make_directory(directory, document, configuration, seed)
    tell(f"found {invite.body.network}, whose genesis is the invite's; made {directory}")


def _configuration(configuration: Configuration, invite: Invite, settings: dict[str, Any]) -> Configuration:
    """Errors: ConfigurationError."""
    from node.configuration import override

    listen = tuple(settings["listen"]) if settings["listen"] else None
    configuration = override(configuration, "network", listen=listen, bootstrap=invite.addresses)
    return override(configuration, "api", port=settings["api_port"])


def _with_feeder(directory: Path, record: JoinRecord, feeder: str | None) -> JoinRecord:
    """Ends the command where it cannot be told which feeder is meant."""
    import msgspec

    from node.founding import read_genesis
    from node.joining_directory import save_record

    known = [one.name for one in read_genesis(directory)[1].feeders]
    chosen = feeder or record.feeder or (known[0] if len(known) == 1 else "")
    if not chosen and sys.stdin.isatty():
        chosen = typer.prompt(f"The feeder your home is on ({', '.join(known)})", err=True)
    if chosen not in known:
        what = (
            f"no feeder is called {chosen!r}" if chosen else "the network has several feeders: say which with --feeder"
        )
        fail(f"{what}; there are: {', '.join(known)}", EXIT_USAGE)
    record = msgspec.structs.replace(record, feeder=chosen)
    save_record(directory, record)
    return record


def _unlock(name: str, wallets: Path | None, password_file: str | None, tell: Tell) -> SigningKey:
    """The account's key: of the wallet that is there, or of a new one. Errors: KeyFileError."""
    from cli.network import show_words
    from ledger.keys import SigningKey

    keystore = open_keystore(Where(None, None, None), wallets)
    if name in keystore.names():
        return SigningKey(keystore.unlock(name, read_password(password_file, f"Password of the wallet {name}")))
    keystore.require_possible(name)
    password = read_password(password_file, f"New password of the wallet {name}", is_new=True)
    made = keystore.create(name, password)
    tell(f"made the wallet {name}: {made.address}")
    show_words(name, made.mnemonic, err=True)
    return SigningKey(keystore.unlock(name, password))


def _wish(directory: Path, invite: Invite, account: SigningKey, meter: MeterWish | None) -> Wish:
    """Errors: KeyFileError."""
    from ledger.keys import SigningKey
    from ledger.records import MeterKind
    from node.founding import NODE_KEY_NAME
    from node.joining import wish_meter
    from node.joining_newcomer import Wish
    from node.key_files import load_or_create_seed, load_seed

    meters: tuple[WishedMeter, ...] = ()
    if meter is not None:
        key = SigningKey(load_or_create_seed(directory / METER_KEY_NAME))
        meters = (
            wish_meter(
                key,
                invite.body.chain_id,
                account.public_key,
                kind=MeterKind[meter.kind.upper()],
                import_nameplate_w=meter.import_w,
                export_nameplate_w=meter.export_w,
                storage_capacity_wh=meter.storage_wh,
            ),
        )
    return Wish(invite, account, SigningKey(load_seed(directory / NODE_KEY_NAME)), meters)


def _join(directory: Path, record: JoinRecord, wish: Wish, tell: Tell) -> Joined | None:
    """Runs the node, unless it runs already, and what ``node.joining_newcomer`` does beside it. None if interrupted.

    Errors: CannotJoin, ClientError.
    """
    import trio

    from node import log
    from node.client.client import NodeClient
    from node.client.errors import ClientError
    from node.configuration import ConfigurationError, load
    from node.joining_directory import CannotJoin, forget_record
    from node.joining_newcomer import Joined, Newcomer
    from node.run import CannotStart, NodeBroken, run_node

    outcome: list[Joined | CannotJoin | ClientError] = []

    async def beside() -> None:
        async with NodeClient.of_directory(directory) as client:
            try:
                outcome.append(await Newcomer(client, directory, record, wish, tell).join())
            except (CannotJoin, ClientError) as error:
                outcome.append(error)

    try:
        if trio.run(_runs, directory):
            trio.run(beside)
        else:
            configuration = load(directory)
            log.configure("error", as_json=False)
            trio.run(run_node, directory, configuration, beside)
    except (CannotStart, ConfigurationError) as error:
        fail(str(error), EXIT_USAGE)
    except NodeBroken as error:
        fail(str(error), EXIT_BROKEN)
    except KeyboardInterrupt:
        return None
    if not outcome:
        return None
    (found,) = outcome
    if isinstance(found, Joined):
        forget_record(directory)
        return found
    raise found


async def _runs(directory: Path) -> bool:
    """Whether a node runs on the directory already."""
    from node.client.client import NodeClient
    from node.client.errors import ClientError

    try:
        async with NodeClient.of_directory(directory) as client:
            await client.status()
    except ClientError:
        return False
    return True


@contextmanager
def _progress() -> Iterator[Tell]:
    """Each new sentence once, on standard error."""
    last = ""

    def tell(sentence: str) -> None:
        nonlocal last
        if sentence == last:
            return
        # What is counted up is written over itself on a terminal, and told once elsewhere.
        again = sentence.partition(":")[0] == last.partition(":")[0] and ":" in sentence
        if again and not sys.stderr.isatty():
            return
        if again:
            typer.echo("\x1b[1A\x1b[2K", err=True, nl=False)
        note(sentence)
        last = sentence

    yield tell


def _show(joined: Joined, directory: Path, json: bool, *, has_meter: bool) -> None:
    from node.client.format import count, duration

    if json:
        print_json(
            {
                "name": joined.name,
                "address": joined.address,
                "node_key": joined.node_key,
                "data_directory": str(directory),
                "meter_key": str(directory / METER_KEY_NAME) if has_meter else None,
                "registered_height": joined.registered_height,
                "votes_from_height": joined.votes_from_height,
            }
        )
        return
    rows = [
        ("member", f"{joined.name}  {joined.address}"),
        ("registered", f"in block {count(joined.registered_height)}"),
        ("votes", f"from block {count(joined.votes_from_height)} on, in about {duration(joined.wait_ms)}"),
    ]
    if has_meter:
        rows.append(("meter's key", str(directory / METER_KEY_NAME)))
    command = "ecloud node run"
    if directory != default_data_directory():
        command += f" --data-dir {directory}"
    print_facts([*rows, ("now run", command)])
    note("Keep it running: the others count on its votes.")
