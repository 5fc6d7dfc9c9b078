"""``ecloud wallet``: keys of this user on this machine, balances, and sending tokens."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.common import EXIT_USAGE, Api, AsJson, DataDirectory, DevnetNode, Where, ask, fail, new_app
from cli.output import moment, note, party, print_facts, print_json, print_table
from cli.signing import (
    Fee,
    NoWait,
    PasswordFile,
    Signing,
    Timeout,
    WalletDirectory,
    WalletName,
    Yes,
    choose_wallet,
    confirm,
    fee_of,
    find_account,
    open_keystore,
    own_wallet,
    read_password,
    sign_and_wait,
)

if TYPE_CHECKING:
    from ledger.transactions import Token
    from node.client.client import NodeClient
    from node.client.models import Account, AccountEffect, Transaction
    from node.keystore import Keystore, Wallet

app = new_app("Keys, balances, and sending tokens.")

KEEP_THE_WORDS: Final = (
    "Write these 24 words on paper, in order, and keep them where nobody finds them. They are shown this once. Whoever "
    "has them has all that the wallet holds; without them, a lost file or password cannot be mended."
)
HISTORY: Final = 5
MAX_HISTORY: Final = 100
HISTORY_PAGES: Final = 10
"""Readings are passed over, and there can be many: at a hundred a page a home with one meter is shown ten days."""
MAX_WORDS_BYTES: Final = 4_096

Name = Annotated[str, typer.Argument(metavar="NAME", help="The wallet's name: lower-case letters, digits, - and _.")]


@app.command()
def create(
    name: Name, wallets: WalletDirectory = None, password_file: PasswordFile = None, json: AsJson = False
) -> None:
    """Make a wallet with a new key, encrypted under a password.

    Shows, this once, the 24 words that bring it back if its file or its password is lost.
    """
    from node.key_files import KeyFileError

    keystore = open_keystore(Where(None, None, None), wallets)
    _require_free(keystore, name)
    try:
        made = keystore.create(name, read_password(password_file, f"New password of the wallet {name}", is_new=True))
        wallet = keystore.show(name)
    except KeyFileError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{keystore.directory}: {error.strerror}; no wallet was made")
    if json:
        print_json({**_described(wallet), "mnemonic": made.mnemonic})
        return
    _print_wallet(wallet)
    note(f"\n{KEEP_THE_WORDS}\n")
    print_words(made.mnemonic)


@app.command("list")
def list_wallets(wallets: WalletDirectory = None, node: DevnetNode = None, json: AsJson = False) -> None:
    """List the wallets on this machine. Needs neither a password nor a node."""
    keystore = open_keystore(Where(None, None, node), wallets)
    found = keystore.list_wallets()
    if json:
        print_json(
            {
                "directory": str(keystore.directory),
                "wallets": [_described(wallet) for wallet in found.wallets],
                "damaged": [str(error) for error in found.damaged],
            }
        )
    else:
        empty = f"no wallet in {keystore.directory}; make one with: ecloud wallet create NAME"
        print_table(["name", "address"], [[one.name, one.address] for one in found.wallets], empty=empty)
    for error in found.damaged:
        note(f"ecloud: {error}")


@app.command()
def show(
    who: Annotated[
        str | None,
        typer.Argument(
            metavar="[WHO]", help="A wallet of this machine, a member's name, or an address. [default: the only wallet]"
        ),
    ] = None,
    history: Annotated[
        int, typer.Option("--history", min=0, max=MAX_HISTORY, help="How many transactions to show, newest first.")
    ] = HISTORY,
    wallets: WalletDirectory = None,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    json: AsJson = False,
) -> None:
    """Show an account's balances and its latest transactions. Needs no password.

    Of the transactions its readings are left out: for these there is "ecloud energy readings".
    """
    where = Where(api, data_dir, node)
    keystore = open_keystore(where, wallets)
    if who is None:
        wallet: Wallet | None = choose_wallet(keystore, None, where)
    else:
        wallet = next((one for one in keystore.list_wallets().wallets if one.name == who), None)
    account, entries = ask(
        where, lambda client: _look(client, who or "" if wallet is None else wallet.address, history)
    )
    if json:
        from node.client.models import AccountEffect

        told = {
            "history": [one for one in entries if not isinstance(one, AccountEffect)],
            "effects": [one for one in entries if isinstance(one, AccountEffect)],
        }
        print_json({"wallet": None if wallet is None else wallet.name, "account": account, **told})
        return
    print_facts(_account_facts(account, wallet))
    if history:
        typer.echo()
        print_table(
            ["time", ">block", "kind", ">amount", "with", "result"],
            [_history_row(one, account.account.address) for one in entries],
            empty="nothing lately",
        )


@app.command()
def send(
    recipient: Annotated[str, typer.Argument(metavar="RECIPIENT", help="A member's name, or an address.")],
    amount: Annotated[
        list[str], typer.Argument(help="How much of what: 12.5 WATT, or 3 GRID.", metavar="AMOUNT TOKEN")
    ],
    memo: Annotated[str, typer.Option("--memo", help="A text for the recipient; everybody can read it.")] = "",
    fee: Fee = None,
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
    """Send WATT or GRID to a member or an address.

    Says what will be sent, to whom and for which fee, asks, signs here, hands it to the node, and waits until a block
    carries it.

    \b
    For instance:  ecloud wallet send bob 12.5 WATT
    """
    from ledger.transactions import Transfer
    from node.client.format import watt

    signing = Signing(Where(api, data_dir, node), wallet, wallets, password_file, fee, yes, no_wait, timeout, json)
    token, units, shown = _amount(" ".join(amount))
    keystore, own = own_wallet(signing.where, wallet, wallets)
    account, minimum_uwatt = ask(signing.where, lambda client: _recipient_and_fee(client, recipient))
    fee_uwatt = fee_of(signing, minimum_uwatt)
    rows = [
        ("amount", shown),
        ("to", party(account.account) + ("" if account.exists else "\nnobody has used this address yet: check it")),
        ("from", f"{own.name}  {own.address}"),
        ("fee", watt(fee_uwatt)),
        *([("memo", memo)] if memo else []),
    ]
    confirm("Send it?", rows, signing)
    payload = Transfer(recipient=bytes.fromhex(account.account_key), token=token, amount=units, memo=memo)
    sign_and_wait(signing, keystore, own, payload, fee_uwatt)


@app.command("import")
def import_wallet(
    name: Name,
    words_file: Annotated[
        str | None,
        typer.Option("--words-file", metavar="FILE", help="Read the 24 words from a file, - for standard input."),
    ] = None,
    wallets: WalletDirectory = None,
    password_file: PasswordFile = None,
    json: AsJson = False,
) -> None:
    """Make a wallet from the 24 words of its backup, under a new password."""
    from node.key_files import KeyFileError
    from node.keystore import seed_of_mnemonic

    if words_file == password_file == "-":
        fail("words and password cannot both come from standard input", EXIT_USAGE)
    keystore = open_keystore(Where(None, None, None), wallets)
    _require_free(keystore, name)
    try:
        # The numbers that ecloud wallet export writes before the words are not part of them.
        words = " ".join(word for word in _read_words(words_file).split() if not word.isdecimal())
        seed_of_mnemonic(words)  # before a password is asked for
        password = read_password(password_file, f"New password of the wallet {name}", is_new=True)
        keystore.import_mnemonic(name, words, password)
        wallet = keystore.show(name)
    except KeyFileError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{keystore.directory}: {error.strerror}; no wallet was made")
    if json:
        print_json(_described(wallet))
    else:
        _print_wallet(wallet)


@app.command()
def export(
    name: Name, wallets: WalletDirectory = None, password_file: PasswordFile = None, json: AsJson = False
) -> None:
    """Show the 24 words that bring a wallet back, for a backup on paper."""
    from node.key_files import KeyFileError

    keystore = open_keystore(Where(None, None, None), wallets)
    wallet = choose_wallet(keystore, name, Where(None, None, None))
    try:
        mnemonic = keystore.export_mnemonic(name, read_password(password_file, f"Password of the wallet {name}"))
    except KeyFileError as error:
        fail(str(error))
    if json:
        print_json({**_described(wallet), "mnemonic": mnemonic})
        return
    note("Whoever sees these words has all that the wallet holds.\n")
    print_words(mnemonic)


# ---------------------------------------------------------------------------------------------------- what is asked


async def _look(client: NodeClient, who: str, history: int) -> tuple[Account, list[Transaction | AccountEffect]]:
    account = await find_account(client, who)
    found: list[Transaction | AccountEffect] = []
    before = None
    for _ in range(HISTORY_PAGES):
        if len(found) >= history:
            break
        page = await client.history(account.account.address, before, MAX_HISTORY)
        found += [one for one in page.entries if one.kind != "submit_reading"]
        before = page.next_before
        if before is None:
            break
    return account, found[:history]


async def _recipient_and_fee(client: NodeClient, recipient: str) -> tuple[Account, int]:
    account = await find_account(client, recipient)
    return account, (await client.parameters()).parameters["minimum_fee_uwatt"]


def _amount(text: str) -> tuple[Token, int, str]:
    """Token, its smallest units, and both for people. Ends the command for anything else."""
    from ledger.transactions import Token
    from node.client import format as show

    word = text.upper()
    try:
        if word.endswith("WATT"):
            units = show.parse_watt(word)
            return Token.WATT, units, show.watt(units)
        if word.endswith("GRID"):
            units = show.parse_grid(word)
            return Token.GRID, units, show.grid(units)
    except show.AmountError as error:
        fail(str(error), EXIT_USAGE)
    return fail(f"{text!r}: say how much of what, for instance 12.5 WATT or 3 GRID", EXIT_USAGE)


def _require_free(keystore: Keystore, name: str) -> None:
    """Before a password is asked for."""
    from node.key_files import KeyFileDamaged, KeyFileError
    from node.keystore import UnknownWallet

    with suppress(KeyFileDamaged):  # it is there
        try:
            keystore.show(name)
        except UnknownWallet:
            return
        except KeyFileError as error:
            fail(str(error))
    fail(f"there is a wallet {name!r} in {keystore.directory} already; choose another name")


def _read_words(name: str | None) -> str:
    if name is None and sys.stdin.isatty():
        answer: str = typer.prompt("The 24 words", err=True)
        return answer
    if name in {None, "-"}:
        return sys.stdin.read(MAX_WORDS_BYTES)
    try:
        with Path(str(name)).open(encoding="utf-8") as file:
            return file.read(MAX_WORDS_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        fail(f"--words-file {name}: {error}", EXIT_USAGE)


# ---------------------------------------------------------------------------------------------------- what is shown


def _described(wallet: Wallet) -> dict[str, str]:
    return {
        "name": wallet.name,
        "address": wallet.address,
        "public_key": wallet.public_key.hex(),
        "file": str(wallet.path),
    }


def _print_wallet(wallet: Wallet) -> None:
    rows = [("wallet", wallet.name), ("address", wallet.address), ("key", wallet.public_key.hex())]
    print_facts([*rows, ("file", str(wallet.path))])


def print_words(mnemonic: str, *, err: bool = False) -> None:
    """In rows of six, numbered."""
    words = mnemonic.split()
    for first in range(0, len(words), 6):
        line = (f"{place:>2} {word:<10}" for place, word in enumerate(words[first : first + 6], first + 1))
        typer.echo("".join(line).rstrip(), err=err)


def _account_facts(account: Account, wallet: Wallet | None) -> list[tuple[str, str]]:
    from node.client.format import count, grid, vote, watt

    rows = [("account", party(account.account))]
    if wallet is not None:
        rows.append(("wallet", f"{wallet.name}, on this machine"))
    rows += [
        ("WATT", watt(account.watt_uwatt, unit=False)),
        ("GRID", grid(account.grid_ugrid, unit=False)),
        ("VOTE", f"{vote(account.votes_mvote, unit=False)} kept, {vote(account.votes_cast_mvote, unit=False)} cast"),
    ]
    if account.member is not None:
        roles = ", ".join(account.member.roles) or "no special role"
        rows.append(("member", f"{roles}; feeder {account.member.feeder}, substation {account.member.substation}"))
    if not account.exists:
        rows.append(("", "nothing has happened to this account yet"))
    if account.pending_count:
        rows.append(("waiting", f"{count(account.pending_count)} of its transactions wait for a block"))
    return [*rows, ("as of block", count(account.height))]


def _history_row(one: Transaction | AccountEffect, own_address: str) -> list[str]:
    from node.client.format import count, vote, words
    from node.client.models import AccountEffect

    if isinstance(one, AccountEffect):
        return _effect_row(one)
    amount, other = "", ""
    if one.kind == "transfer":
        from node.client.format import grid, watt

        received = one.payload["recipient"]["address"] == own_address
        write = {"watt": watt, "grid": grid}[one.payload["token"]]
        amount = ("+" if received else "−") + write(one.payload["amount"])
        other = (
            one.sender.label if received else one.payload["recipient"]["name"] or one.payload["recipient"]["address"]
        )
    elif "amount_mvote" in one.payload:
        amount = vote(one.payload["amount_mvote"])
        other = one.payload["candidate"]["name"] or one.payload["candidate"]["address"]
    height = "waiting" if one.height is None else count(one.height)
    return [moment(one.time_ms), height, words(one.kind), amount, other, one.refusal or "done"]


def _effect_row(one: AccountEffect) -> list[str]:
    from node.client.format import count, energy, watt, words

    what = words(one.kind) if one.order is None else f"{words(one.kind)} {one.order}"
    moved = "" if not one.balance_uwatt else ("+" if one.balance_uwatt > 0 else "") + watt(one.balance_uwatt)
    said = f"{one.side or 'for'} {energy(one.energy_wh)}, period {one.period}"
    return [moment(one.time_ms), count(one.height), what, moved, "" if one.other is None else one.other.label, said]
