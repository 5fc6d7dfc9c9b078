"""Blocks, transactions and accounts as facts for people: units by the name of the field, accounts by name and address.

A field's suffix says its unit (see ``node.client.models``, rule 2), so that kinds this program does not know yet are
shown readably too.
"""

from __future__ import annotations

from typing import Any, Final

from rich.text import Text

from node.client import format as show
from node.client.models import Account, AccountEffect, Block, Party, Transaction
from tui.palette import ATTENTION, CONSUMPTION, FOREGROUND, GOOD, MUTED, PRODUCTION
from tui.session import Session
from tui.widgets.facts import Fact
from tui.widgets.live_table import Column, Row

MAX_FIELDS: Final = 60
HASH_CELLS: Final = 32

HISTORY_COLUMNS: Final = (
    Column("time", 19, from_width=76),
    Column("block", 8, right=True),
    Column("kind", 15),
    Column("amount", 21, right=True),
    Column("with", 12, grow=True),
    Column("", 20, from_width=100),
)
TRANSACTION_COLUMNS: Final = (
    Column("#", 4, right=True),
    Column("kind", 16),
    Column("sender", 10),
    Column("result", 12, grow=True),
    Column("id", 12, from_width=74),
)


def party_text(session: Session, party: Party) -> Text:
    """Name and address; the address alone where there is no name."""
    if party.name is None:
        return Text(party.address)
    return Text.assemble((party.name, f"bold {session.colour_of(party)}"), (f"  {party.address}", MUTED))


def block_facts(session: Session, block: Block) -> list[Fact]:
    summary = block.summary
    offset = session.feed.utc_offset_minutes
    view = Text(str(summary.view))
    if summary.skipped:
        view.append(f"  skipped: {', '.join(party.label for party in summary.skipped)}", ATTENTION)
    signed = show.percent(show.part_bps(block.signed_weight, block.total_weight))
    return [
        ("time", f"{show.date_time(summary.time_ms, offset)}   size {show.size(summary.size_bytes)}"),
        ("hash", summary.hash),
        ("producer", party_text(session, summary.producer)),
        ("view", view),
        ("final in", Text(show.duration(summary.finality_ms), GOOD)),
        ("signed by", f"{', '.join(party.label for party in block.signers)} · {signed} of the weight"),
        ("parent", Text(show.short(block.parent_hash, HASH_CELLS), MUTED)),
        ("state root", Text(show.short(block.state_root, HASH_CELLS), MUTED)),
    ]


def transaction_rows(session: Session, block: Block) -> list[Row]:
    return [
        (
            one.id,
            (
                str(one.index),
                show.words(one.kind),
                Text(one.sender.label, session.colour_of(one.sender), end=""),
                _result(one.refusal),
                Text(show.short(one.id, 12), MUTED, end=""),
            ),
        )
        for one in block.transactions
    ]


def transaction_facts(session: Session, one: Transaction) -> list[Fact]:
    offset = session.feed.utc_offset_minutes
    if one.height is None:
        state = Text("waits for a block", ATTENTION)
    else:
        moment = "" if one.time_ms is None else f", {show.date_time(one.time_ms, offset)}"
        state = Text.assemble(("final", f"bold {GOOD}"), f" in block {show.count(one.height)}{moment}")
    rows: list[Fact] = [("state", state)]
    if one.height is not None:
        rows.append(("result", _result(one.refusal)))
    if one.note:
        rows.append(("note", show.words(one.note)))
    rows.append(("sender", party_text(session, one.sender)))
    rows += payload_facts(session, one.payload)
    rows += [_effect_fact(session, effect) for effect in one.effects[:MAX_FIELDS]]
    if one.signed_by != "meter":
        rows.append(("fee", show.watt(one.fee_uwatt)))
        valid = show.count(one.valid_until_height)
        rows.append(("nonce", f"{show.count(one.nonce)}   valid until block {valid}"))
    rows.append(("signed by", f"{show.words(one.signed_by)} {show.short(one.sender_key, HASH_CELLS)}"))
    rows.append(("id", one.id))
    return rows


def payload_facts(session: Session, payload: dict[str, Any]) -> list[Fact]:
    """The payload's fields in order, nested ones indented."""
    rows: list[Fact] = []
    _collect(session, payload, rows, "")
    return rows[:MAX_FIELDS]


def account_facts(session: Session, account: Account) -> list[Fact]:
    rows: list[Fact] = [
        ("address", account.account.address),
        ("WATT", Text(show.watt(account.watt_uwatt), f"bold {FOREGROUND}")),
        ("GRID", show.grid(account.grid_ugrid)),
        ("VOTE", f"{show.vote(account.votes_mvote)} kept, {show.vote(account.votes_cast_mvote)} cast"),
    ]
    member, candidate = account.member, account.candidate
    if member is not None:
        roles = ", ".join(member.roles) or "member"
        rows.append(("member", f"{roles} on {member.feeder} ({member.substation})"))
    if candidate is not None:
        pool = f"{candidate.status}, pool {show.vote(candidate.pool_mvote)}"
        record = f"{candidate.produced_total} produced, {candidate.missed_total} missed"
        rows.append(("candidate", f"{pool}, {record}"))
    if not account.exists:
        rows.append(("", Text("nothing has happened to this account yet", ATTENTION)))
    return rows


def history_row(session: Session, one: Transaction, own_address: str) -> Row:
    """A transaction as the account sees it: what came, what went, and with whom."""
    offset = session.feed.utc_offset_minutes
    amount, other = _movement(one, own_address)
    return one.id, (
        "waiting" if one.time_ms is None else show.date_time(one.time_ms, offset),
        Text("waiting", ATTENTION, end="") if one.height is None else show.count(one.height),
        show.words(one.kind),
        amount,
        Text("" if other is None else other.label, "" if other is None else session.colour_of(other), end=""),
        Text("" if one.refusal is None else show.words(one.refusal), ATTENTION, end=""),
    )


def effect_row(session: Session, one: AccountEffect) -> Row:
    """What a block did to the account: orders filled or given back, what settlement paid."""
    if one.balance_uwatt > 0:
        moved = Text(f"+{show.watt(one.balance_uwatt)}", GOOD, end="")
    else:
        moved = Text(show.watt(one.balance_uwatt) if one.balance_uwatt else "", FOREGROUND, end="")
    other = one.other
    return entry_key(one), (
        show.date_time(one.time_ms, session.feed.utc_offset_minutes),
        show.count(one.height),
        Text(show.words(one.kind), MUTED, end=""),
        moved,
        Text("" if other is None else other.label, "" if other is None else session.colour_of(other), end=""),
        Text(_effect_object(one), MUTED, end=""),
    )


def _effect_object(one: AccountEffect) -> str:
    if one.kind.startswith("contract_"):
        return f"offer {one.order}"
    return f"{one.side or 'for'} {show.energy(one.energy_wh)}"


def _effect_fact(session: Session, one: AccountEffect) -> Fact:
    """Of a transaction: ``filled · george 0.47 kWh to anne · +0.015 WATT``."""
    said = Text.assemble((one.account.label, f"bold {session.colour_of(one.account)}"))
    said.append(f" {one.side or ''} {show.energy(one.energy_wh)}")
    if one.price_uwatt_per_kwh is not None:
        said.append(f" at {show.watt(one.price_uwatt_per_kwh)}/kWh")
    if one.order is not None:
        said.append(f", order {one.order}", MUTED)
    if one.balance_uwatt:
        said.append(f"  {'+' if one.balance_uwatt > 0 else ''}{show.watt(one.balance_uwatt)}", MUTED)
    return show.words(one.kind.removeprefix("order_")), said


def entry_key(one: Transaction | AccountEffect) -> str:
    """A transaction's id; of an effect its place, which begins with its block's height."""
    return one.id if isinstance(one, Transaction) else f"{one.height}:{one.index}"


def entry_row(session: Session, one: Transaction | AccountEffect, own_address: str) -> Row:
    """A row of ``HISTORY_COLUMNS``."""
    return history_row(session, one, own_address) if isinstance(one, Transaction) else effect_row(session, one)


def _movement(one: Transaction, own_address: str) -> tuple[Text, Party | None]:
    payload = one.payload
    if one.kind == "transfer":
        recipient = Party(address=payload["recipient"]["address"], name=payload["recipient"]["name"])
        received = recipient.address == own_address
        number = show.TOKENS[payload["token"]](payload["amount"])
        if one.refusal is not None:
            refused = Text.assemble(("✗ ", ATTENTION), (number, MUTED), end="")
            return refused, one.sender if received else recipient
        if received:
            return Text(f"+{number}", GOOD, end=""), one.sender
        return Text(f"−{number}", FOREGROUND, end=""), recipient
    if one.kind == "place_order":
        count = len(payload["periods"])
        times = "" if count == 1 else f" × {count}"
        return Text(f"{payload['side']} {show.energy(payload['energy_wh'])}{times}", MUTED, end=""), None
    if one.kind == "submit_reading":
        return Text(f"period {payload['period']}", MUTED, end=""), None
    for name in ("offer", "pool"):
        if name in payload:
            return Text(f"{name} {payload[name]}", MUTED, end=""), None
    if "amount_mvote" in payload:
        candidate = Party(address=payload["candidate"]["address"], name=payload["candidate"]["name"])
        return Text(show.vote(payload["amount_mvote"]), end=""), candidate
    return Text("", end=""), None


def _result(refusal: str | None) -> Text:
    if refusal is None:
        return Text("took effect", GOOD, end="")
    return Text(f"refused: {show.words(refusal)}", ATTENTION, end="")


def _collect(session: Session, payload: dict[str, Any], rows: list[Fact], indent: str) -> None:
    for name, value in payload.items():
        label = f"{indent}{_label(name)}"
        if isinstance(value, dict) and set(value) == {"address", "name"}:
            rows.append((label, party_text(session, Party(address=value["address"], name=value["name"]))))
        elif isinstance(value, dict):
            rows.append((label, ""))
            _collect(session, value, rows, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for place, item in enumerate(value, 1):
                rows.append((f"{label} {place}", ""))
                _collect(session, item, rows, indent + "  ")
        elif name == "amount" and payload.get("token") in show.TOKENS:
            rows.append((label, Text(show.TOKENS[payload["token"]](value), f"bold {FOREGROUND}")))
        elif name != "token":
            rows.append((label, _value(session, name, value)))


def _label(name: str) -> str:
    suffixes = [suffix for suffix, _ in show.UNITS] + ["_ms"]
    return show.words(next((name.removesuffix(suffix) for suffix in suffixes if name.endswith(suffix)), name))


def _value(session: Session, name: str, value: Any) -> Text | str:
    if value is None or value in ("", []):
        return Text("–", MUTED)
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    if not isinstance(value, int) or isinstance(value, bool):
        return str(value)
    if name.endswith("_at_ms"):
        return show.date_time(value, session.feed.utc_offset_minutes)
    style = PRODUCTION if name.startswith("export") else CONSUMPTION if name.startswith("import") else FOREGROUND
    for suffix, write in show.UNITS:
        if name.endswith(suffix):
            return Text(write(value), style)
    return show.count(value)
