"""``ecloud network``: found a network, invite newcomers, and grant or deny what they ask for."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.common import EXIT_USAGE, Api, AsJson, DataDirectory, DevnetNode, Where, ask, fail, new_app
from cli.output import moment, note, print_facts, print_json, print_table
from cli.signing import (
    NoWait,
    PasswordFile,
    Signing,
    Timeout,
    WalletDirectory,
    WalletName,
    Yes,
    confirm,
    find_account,
    open_keystore,
    own_wallet,
    read_password,
    unlock,
)

if TYPE_CHECKING:
    from ledger.transactions import Transaction
    from node.client.client import NodeClient
    from node.client.joining import Grant
    from node.client.models import Account, JoinRequest
    from node.client.models import Transaction as FinalTransaction
    from node.invite import Invite
    from node.network_plan import Plan
    from node.new_network import MadeNetwork

app = new_app("Found a network, invite to it, and say who joins.")

DAY_MS: Final = 86_400_000
SAFE_MEMBERS: Final = 4
"""From so many equal voters on, one may be away."""

Newcomer = Annotated[
    str,
    typer.Argument(
        metavar="WHO", help="The name a newcomer wishes, its address, or the beginning of its request's id."
    ),
]


# ----------------------------------------------------------------------------------------------------------- founding


@app.command()
def new(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory to make.")],
    source: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="The network described in TOML, instead of questions.")
    ] = None,
    wallets: WalletDirectory = None,
    password_file: PasswordFile = None,
    json: AsJson = False,
) -> None:
    """Found a network: its genesis, its first members' wallets, and their nodes' directories.

    Asks a few questions, or takes them from a file. Nothing is left behind if something is wrong.

    \b
    For instance:  ecloud network new mill-lane --from mill-lane.toml
    """
    from cli.network_questions import ask_for_network
    from node.founding import FoundingError
    from node.key_files import KeyFileError
    from node.network_plan import PlanError, load_plan, parse_plan
    from node.new_network import make_planned_network
    from storage.errors import StorageError

    try:
        if source is not None:
            text, plan = load_plan(source)
        else:
            text = ask_for_network()
            plan = parse_plan(text, "what was answered")
    except PlanError as error:
        fail(str(error), EXIT_USAGE)
    keystore = open_keystore(Where(None, None, None), wallets)
    try:
        made = make_planned_network(
            directory,
            plan,
            text,
            keystore,
            lambda name: read_password(password_file, f"New password of the wallet {name}", is_new=True),
            _now_ms(),
        )
    except FoundingError as error:
        fail(f"{source}: {error}" if source is not None and not directory.exists() else str(error))
    except (KeyFileError, StorageError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{directory} cannot be made: {error.strerror}")
    _show_network(made, plan, json)


def _show_network(made: MadeNetwork, plan: Plan, json: bool) -> None:
    from ledger.keys import address_text

    if json:
        print_json(
            {
                "directory": str(made.directory),
                "network": made.genesis.name,
                "chain_id": made.chain_id.hex(),
                "members": [
                    {
                        "name": member.name,
                        "address": address_text(member.account),
                        "wallet": None if member.wallet is None else member.wallet.name,
                        "mnemonic": member.mnemonic,
                        "data_directory": None if member.directory is None else str(member.directory),
                    }
                    for member in made.members
                ],
            }
        )
        return
    rows = [("network", made.genesis.name), ("chain", made.chain_id.hex()), ("directory", str(made.directory))]
    for member, planned in zip(made.members, plan.members, strict=True):
        roles = ", ".join(role.name.lower() for role in planned.roles if role.name is not None)
        rows.append(("member", f"{member.name}{f', {roles}' if roles else ''}\n{address_text(member.account)}"))
        if member.wallet is not None:
            rows.append(("", f"wallet {member.wallet.path}"))
        if member.directory is not None:
            rows.append(("start with", f"ecloud node run --data-dir {member.directory}"))
    print_facts(rows)
    for member in made.members:
        if member.mnemonic is not None:
            show_words(member.name, member.mnemonic)


def show_words(name: str, mnemonic: str, *, err: bool = False) -> None:
    """The words of a new wallet, this once."""
    from cli.wallet import KEEP_THE_WORDS, print_words

    note(f"\nThe wallet {name}. {KEEP_THE_WORDS}\n")
    print_words(mnemonic, err=err)


# ----------------------------------------------------------------------------------------------------------- inviting


@app.command()
def invite(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whom you invite: the name the newcomer may take.")],
    address: Annotated[
        list[str] | None,
        typer.Option(
            "--address",
            metavar="MULTIADDR",
            help="Where a node of the network is reached from outside, with its /p2p/ part; may be repeated. "
            "[default: what this node knows]",
        ),
    ] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=31, help="How long the invite is good.")] = 7,
    wallet: WalletName = None,
    wallets: WalletDirectory = None,
    password_file: PasswordFile = None,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    json: AsJson = False,
) -> None:
    """Print an invite for a newcomer: one word, signed by you, to be handed over in private.

    Whoever has it can ask to join; only an approver can grant that.
    """
    from ledger.refusal import TransactionRefused
    from ledger.registry import check_name
    from node.invite import InviteError, sign_invite

    signing = Signing(Where(api, data_dir, node), wallet, wallets, password_file, None, True, False, 0, json)
    try:
        check_name(name)
    except TransactionRefused as refused:
        fail(f"{name!r}: {refused.detail}", EXIT_USAGE)
    keystore, own = own_wallet(signing.where, wallet, wallets)
    facts = ask(signing.where, lambda client: _facts_of_invite(client, own.address, name))
    key = unlock(keystore, own, signing)
    try:
        made = sign_invite(
            key,
            chain_id=bytes.fromhex(facts["chain_id"]),
            network=facts["network"],
            name=name,
            addresses=tuple(address or facts["addresses"]),
            height=facts["height"],
            block_hash=bytes.fromhex(facts["block_hash"]),
            expires_ms=_now_ms() + days * DAY_MS,
        )
    except InviteError as error:
        fail(f"{error}; name one with --address" if not facts["addresses"] and not address else str(error))
    if json:
        print_json({"invite": made.text(), **_described(made)})
        return
    note(f"An invite for {name}, good until {moment(made.body.expires_ms)}. On the other machine:  ecloud join INVITE")
    for one in made.addresses:
        note(f"reached at {one}")
    typer.echo(made.text())


@app.command()
def show(
    text: Annotated[str, typer.Argument(metavar="INVITE", help="The invite; in quotes if it has white space.")],
    json: AsJson = False,
) -> None:
    """Show what an invite says. Needs no node; status 1 if it has expired or is no invite."""
    from node.invite import InviteError, decode_invite

    try:
        found = decode_invite(text)
    except InviteError as error:
        fail(str(error))
    if json:
        print_json(_described(found))
    else:
        from ledger.keys import address_text

        body = found.body
        print_facts(
            [
                ("network", body.network),
                ("chain", body.chain_id.hex()),
                ("for", body.name or "anybody"),
                ("signed by", address_text(body.member)),
                ("good until", moment(body.expires_ms)),
                ("trusts", f"block {body.height}\n{body.block_hash.hex()}"),
                ("reached at", "\n".join(found.addresses)),
            ]
        )
    try:
        found.require_current(_now_ms())
    except InviteError as error:
        fail(str(error))


async def _facts_of_invite(client: NodeClient, address: str, name: str) -> dict[str, Any]:
    account = await client.account(address)
    if account.member is None:
        fail(f"{address} is no member of this network: only a member invites")
    if any(member.account.name == name for member in (await client.members()).members):
        fail(f"a member is called {name!r} already; invite the newcomer under another name")
    status = await client.status()
    peers = await client.peers()
    return {
        "chain_id": status.chain_id,
        "network": status.network,
        "height": status.height,
        "block_hash": status.chain_id if status.height == 0 else status.tip_hash,
        "addresses": _addresses(
            [*peers.announced, *peers.listening], [peer.address for peer in peers.peers if not peer.inbound]
        ),
    }


def _addresses(own: list[str], dialled: list[str]) -> list[str]:
    """Where newcomers may knock: this node as others on the network see it, then nodes it has reached itself. Those of
    loopback only where there are no others: for networks of one machine. A circuit is left out: the relay it leads
    over is among the nodes reached.
    """
    from dataclasses import replace

    from node.invite import MAX_ADDRESSES
    from p2p.addresses import parse_peer_address
    from p2p.network import NetworkError

    found: list[str] = []
    for text in (*own, *dialled):
        try:
            address = parse_peer_address(text)[1]
        except NetworkError:
            continue  # without a peer id, or of a kind that is not dialled
        if address.host in {"0.0.0.0", "::"}:  # noqa: S104 (read, not bound)
            address = replace(address, host=_own_host(address.protocol))
        if str(address) not in found:
            found.append(str(address))
    outside = [text for text in found if "/127.0.0.1/" not in text and "/::1/" not in text]
    return (outside or found)[:MAX_ADDRESSES]


def _own_host(protocol: str) -> str:
    """This machine's address on the network that leads outside, loopback's if there is none. Nothing is sent."""
    import socket

    family, beyond, loopback = (
        (socket.AF_INET, "192.0.2.1", "127.0.0.1") if protocol == "ip4" else (socket.AF_INET6, "2001:db8::1", "::1")
    )
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((beyond, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return loopback


def _described(invite: Invite) -> dict[str, Any]:
    from ledger.keys import address_text
    from node.client.models import iso_time

    body = invite.body
    return {
        "network": body.network,
        "chain_id": body.chain_id.hex(),
        "name": body.name,
        "member": address_text(body.member),
        "addresses": list(invite.addresses),
        "height": body.height,
        "block_hash": body.block_hash.hex(),
        "expires_ms": body.expires_ms,
        "expires": iso_time(body.expires_ms),
        "expired": _now_ms() > body.expires_ms,
    }


# ----------------------------------------------------------------------------------------------- granting and denying


@app.command()
def requests(api: Api = None, data_dir: DataDirectory = None, node: DevnetNode = None, json: AsJson = False) -> None:
    """List who asks to join, and what stands against it."""
    found = ask(Where(api, data_dir, node), lambda client: client.join_requests())
    if json:
        print_json(found)
        return
    print_table(
        ["name", "feeder", "meters", "invited by", "asked", "state", "request"],
        [_request_row(one) for one in found.requests],
        empty="nobody asks to join",
    )


@app.command()
def grant(
    who: Newcomer,
    welcome: Annotated[
        str | None,
        typer.Option("--welcome", metavar="WATT", help="WATT that the newcomer is given; 20 fees if left out."),
    ] = None,
    wallet: WalletName = None,
    wallets: WalletDirectory = None,
    password_file: PasswordFile = None,
    yes: Yes = False,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    json: AsJson = False,
) -> None:
    """Make a newcomer a member: an approver signs the registration and a first few WATT for fees.

    Says what is granted and what it costs, asks, signs here, and waits until a block carries it.
    """
    from node.client.format import AmountError, parse_watt
    from node.client.joining import JoinError, find_request, plan_grant, require_grantable

    signing = Signing(Where(api, data_dir, node), wallet, wallets, password_file, None, yes, no_wait, timeout, json)
    try:
        welcome_uwatt = None if welcome is None else parse_watt(welcome)
    except AmountError as error:
        fail(f"--welcome: {error}", EXIT_USAGE)
    keystore, own = own_wallet(signing.where, wallet, wallets)

    async def look(client: NodeClient) -> tuple[list[JoinRequest], Account, int, int]:
        listed = (await client.join_requests()).requests
        fee = (await client.parameters()).parameters["minimum_fee_uwatt"]
        committee = await client.committee()
        return listed, await find_account(client, own.address), fee, len(committee.members)

    listed, approver, fee, committee_size = ask(signing.where, look)
    try:
        planned = plan_grant(find_request(listed, who), fee, welcome_uwatt)
        require_grantable(planned, approver)
    except JoinError as error:
        fail(str(error))
    confirm("Grant it?", [*planned.facts(), *_caution(committee_size)], signing)
    key = unlock(keystore, own, signing)
    from node.client.wallet import sign_and_submit

    async def hand_over(client: NodeClient) -> list[Transaction]:
        return [await sign_and_submit(client, key, payload) for payload in planned.payloads]

    _tell_granted(signing, planned, ask(signing.where, hand_over))


def _caution(committee_size: int) -> list[tuple[str, str]]:
    """What an approver of a small network should know."""
    if committee_size + 1 >= SAFE_MEMBERS:
        return []
    return [
        (
            "mind",
            f"{committee_size + 1} nodes will agree on blocks from the next epoch on; with fewer than {SAFE_MEMBERS} "
            "all of them must be on",
        )
    ]


def _tell_granted(signing: Signing, planned: Grant, signed: list[Transaction]) -> None:
    """Waits for all of it, and says what became of it; ends the command where it was refused."""
    from node.client.wallet import wait_final

    ids = [transaction.id.hex() for transaction in signed]
    name = planned.request.name
    if signing.no_wait:
        if signing.as_json:
            print_json({"name": name, "address": planned.request.address, "transactions": ids, "state": "pending"})
        else:
            typer.echo(f"handed over: {len(ids)} transactions for {name}")
        return
    note(f"handed over as {', '.join(ids)}; waiting for a block to carry them")

    async def wait(client: NodeClient) -> list[FinalTransaction]:
        return [await wait_final(client, one, timeout_s=signing.timeout_s) for one in ids]

    found = ask(signing.where, wait)
    refused = next((one for one in found if one.refusal is not None), None)
    if signing.as_json:
        state = "final" if refused is None else "refused"
        print_json({"name": name, "address": planned.request.address, "transactions": found, "state": state})
    if refused is not None:
        fail(f"refused in block {refused.height}: {refused.refusal}{f': {refused.note}' if refused.note else ''}")
    if not signing.as_json:
        typer.echo(f"{name} is a member since block {found[0].height}")


@app.command()
def deny(
    who: Newcomer,
    reason: Annotated[str, typer.Option("--reason", help="What the newcomer is told.")] = "",
    wallet: WalletName = None,
    wallets: WalletDirectory = None,
    password_file: PasswordFile = None,
    yes: Yes = False,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    json: AsJson = False,
) -> None:
    """Deny a newcomer's request: an approver's signed no, which the newcomer is told.

    On this invite the account is not heard again; with another one it may ask anew.
    """
    from node.client.joining import JoinError, denial_message, find_request, require_approver

    signing = Signing(Where(api, data_dir, node), wallet, wallets, password_file, None, yes, False, 0, json)
    keystore, own = own_wallet(signing.where, wallet, wallets)

    async def look(client: NodeClient) -> tuple[list[JoinRequest], Account, str]:
        listed = (await client.join_requests()).requests
        return listed, await find_account(client, own.address), (await client.status()).chain_id

    listed, approver, chain_id = ask(signing.where, look)
    try:
        request = find_request(listed, who)
        require_approver(approver)
        rows = [("deny", request.name), ("account", request.address), ("reason", reason or "none is given")]
        confirm("Deny it?", rows, signing)
        message = denial_message(unlock(keystore, own, signing), bytes.fromhex(chain_id), request, reason)
    except JoinError as error:
        fail(str(error))
    ask(signing.where, lambda client: client.file_join(message))
    if json:
        print_json({"name": request.name, "address": request.address, "state": "denied", "reason": reason})
    else:
        typer.echo(f"{request.name} is denied, and told so")


def _request_row(one: JoinRequest) -> list[str]:
    state = one.state if one.obstacle is None else one.obstacle
    if one.state == "denied":
        state = f"denied{f': {one.reason}' if one.reason else ''}"
    meters = ", ".join(meter.kind for meter in one.meters) or "none"
    return [one.name, one.feeder, meters, one.inviter.label, moment(one.made_ms), state, one.id[:12]]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
