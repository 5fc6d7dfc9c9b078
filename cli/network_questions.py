"""The questions of ``ecloud network new``: a network of one member, described in TOML as in a file.

Each is asked until its answer is good, so that what is put together here is right.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import typer

from cli.common import EXIT_USAGE, fail
from cli.output import note


def ask_for_network() -> str:
    """The description, as TOML, of a network of one member, by questions at the terminal."""
    from ledger.genesis import MAX_TITLE_CHARACTERS
    from ledger.refusal import TransactionRefused
    from ledger.registry import check_name
    from node.client.format import AmountError, parse_watt

    if not sys.stdin.isatty():
        fail("no terminal to ask questions at: describe the network in a file and use --from FILE", EXIT_USAGE)

    def title(text: str) -> str:
        if not 1 <= len(text) <= MAX_TITLE_CHARACTERS or not text.isprintable():
            raise ValueError(f"1 to {MAX_TITLE_CHARACTERS} printable characters, please")
        return text

    def name(text: str) -> str:
        try:
            check_name(text)
        except TransactionRefused as refused:
            raise ValueError(refused.detail) from refused
        return text

    def amount(text: str) -> str:
        try:
            parse_watt(text)
        except AmountError as error:
            raise ValueError(str(error)) from error
        return text

    def kind(text: str) -> str:
        if text not in {"none", "load", "solar", "wind", "battery", "mixed"}:
            raise ValueError("one of none, load, solar, wind, battery, mixed, please")
        return text

    def watts(text: str) -> str:
        if not text.isdecimal() or int(text) > 10**9:
            raise ValueError("a whole number of watts, please")
        return text

    lines = [f"name = {_toml(_question('Name of the network', title))}", ""]
    owner = _question("Your name in it (small letters)", name)
    feeder = _question("Feeder that your home is on", title, "F1")
    substation = _question("Substation of that feeder", title, "S1")
    lines += ["[[feeders]]", f"name = {_toml(feeder)}", f"substation = {_toml(substation)}", ""]
    held = _question("WATT that you begin with, to pay fees and welcome others", amount, "1000")
    lines += ["[[members]]", f"name = {_toml(owner)}", f"feeder = {_toml(feeder)}", 'roles = ["approver"]']
    lines += [f"watt = {_toml(held)}", ""]
    meter = _question("Kind of your meter: none, load, solar, wind, battery, mixed", kind, "load")
    if meter != "none":
        exported = "0" if meter == "load" else _question("Most that it feeds in, in W", watts, "10000")
        lines += ["[members.meter]", f"kind = {_toml(meter)}", f"export_w = {exported}", ""]
    return "\n".join(lines)


def _question(text: str, check: Callable[[str], str], default: str | None = None) -> str:
    """Asks until the answer is good."""
    while True:
        answer: str = typer.prompt(text, default=default, err=True).strip()
        try:
            return check(answer)
        except ValueError as error:
            note(f"{error}")


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
