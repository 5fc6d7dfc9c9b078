"""What every command that signs shares: which wallet, its password, the question before, the waiting after.

1. The wallet is ``--wallet``, else the home's own with ``--node``, else the only one there is.
2. Its password is the first line of ``--password-file`` (``-``: of standard input), else ``$ECLOUD_PASSWORD``, else a
   devnet's own, else asked for. Wallet keys never leave this process.
3. Nothing is signed before a person has said yes to what will happen, or the command line has with ``--yes``.
4. After handing it over, the command waits until a block carries the transaction, unless told not to.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

from cli.common import EXIT_USAGE, Where, ask, devnet_home, fail
from cli.output import note, print_facts, print_json

if TYPE_CHECKING:
    from ledger.keys import SigningKey
    from ledger.transactions import Payload
    from node.client.client import NodeClient
    from node.client.models import Account, Transaction
    from node.keystore import Keystore, Wallet

PASSWORD_VARIABLE: Final = "ECLOUD_PASSWORD"  # noqa: S105 (a variable's name)
MAX_PASSWORD_FILE_BYTES: Final = 4_096
NAMES_LISTED: Final = 12
NOT_FOUND: Final = 404

WalletName = Annotated[
    str | None,
    typer.Option(
        "--wallet",
        "-w",
        envvar="ECLOUD_WALLET",
        metavar="NAME",
        help="The wallet that signs; the only one if left out.",
    ),
]
WalletDirectory = Annotated[
    Path | None,
    typer.Option(
        "--wallets",
        metavar="DIR",
        help="Where the wallets are; else those of --node, $ECLOUD_WALLETS, or the user's own.",
    ),
]
PasswordFile = Annotated[
    str | None,
    typer.Option(
        "--password-file",
        metavar="FILE",
        help="Read the password from a file's first line, - for standard input; else $ECLOUD_PASSWORD, else it asks.",
    ),
]
Fee = Annotated[
    str | None, typer.Option("--fee", metavar="WATT", help="The fee, like 0.002; the chain's minimum if left out.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Return once the node has it, without waiting for a block.")]
Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="Wait so long for a block.", min=1)]


class Signing(NamedTuple):
    """The options of a command that signs."""

    where: Where
    wallet: str | None
    wallets: Path | None
    password_file: str | None
    fee: str | None
    yes: bool
    no_wait: bool
    timeout_s: float
    as_json: bool


def open_keystore(where: Where, wallets: Path | None) -> Keystore:
    """The wallets a command means; those of the devnet if its node is one of its homes."""
    from node.keystore import Keystore

    if wallets is None and where.node is not None:
        from devnet.making import WALLETS
        from devnet.manifest import devnet_directory

        devnet_home(where.node)
        return Keystore(devnet_directory(None) / WALLETS)
    return Keystore(wallets)


def choose_wallet(keystore: Keystore, name: str | None, where: Where) -> Wallet:
    """Rule 1; ends the command where there is no such wallet, or several to choose from."""
    from node.key_files import KeyFileError

    name = name or where.node
    if name is None:
        names = keystore.names()
        if not names:
            fail(f"no wallet in {keystore.directory}; make one with: ecloud wallet create NAME")
        if len(names) > 1:
            fail(f"there are several wallets; choose one with --wallet: {', '.join(names)}", EXIT_USAGE)
        name = names[0]
    try:
        return keystore.show(name)
    except KeyFileError as error:
        fail(str(error))


def own_wallet(where: Where, name: str | None, wallets: Path | None) -> tuple[Keystore, Wallet]:
    """The wallet a command acts for, and the keystore it is in."""
    keystore = open_keystore(where, wallets)
    return keystore, choose_wallet(keystore, name, where)


def read_password(password_file: str | None, prompt: str, *, is_new: bool = False) -> str:
    """Rule 2, but for the devnet's; a new password is asked for twice."""
    if password_file is not None:
        return _password_in(password_file)
    if PASSWORD_VARIABLE in os.environ:
        return os.environ[PASSWORD_VARIABLE]
    if not sys.stdin.isatty():
        fail(f"no terminal to ask for the password: use --password-file or ${PASSWORD_VARIABLE}", EXIT_USAGE)
    while True:
        # Unlike typer's prompt, it asks only once what is typed is no longer shown.
        password = getpass(f"{prompt}: ")
        if not password:
            continue
        if not is_new or getpass("Repeat for confirmation: ") == password:
            return password
        typer.echo("The two are not the same; once more.", err=True)


def unlock(keystore: Keystore, wallet: Wallet, signing: Signing) -> SigningKey:
    """The wallet's key; ends the command on a wrong password."""
    from ledger.keys import SigningKey
    from node.key_files import KeyFileError

    told = signing.password_file is not None or PASSWORD_VARIABLE in os.environ
    if signing.where.node is not None and signing.wallets is None and not told:
        from devnet.making import PASSWORD

        password = PASSWORD
    else:
        password = read_password(signing.password_file, f"Password of the wallet {wallet.name}")
    try:
        return SigningKey(keystore.unlock(wallet.name, password))
    except KeyFileError as error:
        fail(str(error))


async def find_account(client: NodeClient, who: str) -> Account:
    """An account by name, address or key. Ends the command, naming the members, where nobody is called so."""
    from node.client.errors import ApiProblem

    try:
        return await client.account(who)
    except ApiProblem as problem:
        if problem.status != NOT_FOUND:
            raise
        if who.startswith("ec") and len(who) > 32:
            fail(problem.detail)
        names = [member.account.label for member in (await client.members()).members]
        more = "" if len(names) <= NAMES_LISTED else f" and {len(names) - NAMES_LISTED} more"
        fail(f"no member is called {who!r}; use an address, or one of: {', '.join(names[:NAMES_LISTED])}{more}")


def fee_of(signing: Signing, minimum_uwatt: int) -> int:
    """In uwatt; ends the command if the text is no amount."""
    from node.client.format import AmountError, parse_watt

    try:
        return minimum_uwatt if signing.fee is None else parse_watt(signing.fee)
    except AmountError as error:
        fail(f"--fee: {error}", EXIT_USAGE)


def confirm(question: str, rows: Sequence[tuple[str, str]], signing: Signing) -> None:
    """Rule 3. Ends the command unless the answer is yes."""
    if signing.yes:
        return
    print_facts(rows, err=True)
    typer.confirm(question, abort=True, err=True)


def sign_and_wait(signing: Signing, keystore: Keystore, wallet: Wallet, payload: Payload, fee_uwatt: int) -> None:
    """Signs, hands over, waits, and says what became of it; ends the command where it was refused."""
    found = sign_and_follow(signing, keystore, wallet, payload, fee_uwatt)
    if found is None:
        return
    if signing.as_json:
        print_json(found)
    require_effect(found)
    if not signing.as_json:
        typer.echo(f"final in block {found.height}")


def require_effect(found: Transaction) -> None:
    """Ends the command if the block refused the transaction."""
    from node.client.refusals import advice

    if found.refusal is None:
        return
    way_out = advice(found.refusal)
    note_text = f": {found.note}" if found.note else ""
    fail(f"refused in block {found.height}: {found.refusal}{note_text}{'' if way_out is None else f'; {way_out}'}")


def sign_and_follow(
    signing: Signing, keystore: Keystore, wallet: Wallet, payload: Payload, fee_uwatt: int
) -> Transaction | None:
    """Signs, hands over and waits until it is final. None, and said so, with ``--no-wait``."""
    from node.client.wallet import sign_and_submit, wait_final

    key = unlock(keystore, wallet, signing)
    transaction = ask(signing.where, lambda client: sign_and_submit(client, key, payload, fee_uwatt=fee_uwatt))
    transaction_id = transaction.id.hex()
    if signing.no_wait:
        if signing.as_json:
            print_json({"id": transaction_id, "state": "pending"})
        else:
            typer.echo(f"handed over as {transaction_id}")
        return None
    note(f"handed over as {transaction_id}; waiting for a block to carry it")
    return ask(signing.where, lambda client: wait_final(client, transaction_id, timeout_s=signing.timeout_s))


def _password_in(name: str) -> str:
    try:
        if name == "-":
            text = sys.stdin.readline(MAX_PASSWORD_FILE_BYTES)
        else:
            with Path(name).open(encoding="utf-8") as file:
                text = file.readline(MAX_PASSWORD_FILE_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        fail(f"--password-file {name}: {error}", EXIT_USAGE)
    return text.rstrip("\r\n")
