"""``ecloud bill``: what a member's energy costs and earns, cycle by cycle; recorded on the chain, paid, explained.

A cycle is named by its number; without one the newest is meant, or for recording and paying the oldest that waits.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.bill_tables import bill_csv, print_bill, print_bills, print_explanation
from cli.common import EXIT_USAGE, Api, AsJson, DataDirectory, DevnetNode, Where, ask, fail, new_app
from cli.output import moment, note, print_json, print_table
from cli.signing import (
    Fee,
    NoWait,
    PasswordFile,
    Signing,
    Timeout,
    WalletDirectory,
    WalletName,
    Yes,
    confirm,
    fee_of,
    own_wallet,
    require_effect,
    sign_and_follow,
    sign_and_wait,
)

if TYPE_CHECKING:
    from node.client.client import NodeClient
    from node.client.models import Bill, BillingCycle, BillSummary, LineExplanation, LinePart

app = new_app("Bills: what energy cost and earned, with whom, and what is left to pay.")

SHOWN_BILLS: Final = 12
MOST_PAGES: Final = 2_000
CYCLES_PAGE: Final = 100
FORMATS: Final = ("pdf", "csv", "json")

Cycle = Annotated[int | None, typer.Argument(metavar="[CYCLE]", min=0, help="The cycle's number; else the newest.")]
Of = Annotated[
    str | None, typer.Option("--of", metavar="WHO", help="Whose: a member or address; else the wallet's own.")
]


@app.command(name="list")
def list_bills(
    of: Of = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help="How many at the most.")] = SHOWN_BILLS,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    wallet: WalletName = None,
    wallets: WalletDirectory = None,
    json: AsJson = False,
) -> None:
    """List bills, the newest first: that of the cycle that is open as far as it is settled."""
    where = Where(api, data_dir, node)
    who = _who(of, where, wallet, wallets)
    page = ask(where, lambda client: client.bills(who, limit=limit))
    if json:
        print_json(page)
    else:
        print_bills(page)


@app.command()
def show(
    cycle: Cycle = None,
    of: Of = None,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    wallet: WalletName = None,
    wallets: WalletDirectory = None,
    json: AsJson = False,
) -> None:
    """Show a bill: its lines, what is left to pay, and what the utility alone would have cost."""
    where = Where(api, data_dir, node)
    who = _who(of, where, wallet, wallets)
    found = ask(where, lambda client: client.bill(who, cycle))
    if json:
        print_json(found)
    else:
        print_bill(found)


@app.command()
def prepare(
    cycle: Cycle = None,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    json: AsJson = False,
) -> None:
    """Show what recording a cycle would write, for all members; nothing is sent.

    Anybody can do this at any time, of an open cycle too, and gets the same.
    """
    where = Where(api, data_dir, node)
    found, bills = ask(where, lambda client: _all_bills(client, cycle))
    sum_uwatt = sum(bill.cost_uwatt for bill in bills)
    if json:
        print_json({"cycle": found, "bills": bills, "sum_uwatt": sum_uwatt})
        return
    _print_prepared(found, bills)
    if sum_uwatt:
        fail(f"the bills sum to {sum_uwatt} uwatt instead of zero: please report this")


@app.command()
def record(
    cycle: Annotated[
        int | None, typer.Argument(metavar="[CYCLE]", min=0, help="Else the oldest closed one that is not recorded.")
    ] = None,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    wallet: WalletName = None,
    wallets: WalletDirectory = None,
    password_file: PasswordFile = None,
    fee: Fee = None,
    yes: Yes = False,
    timeout: Timeout = 60.0,
    json: AsJson = False,
) -> None:
    """Record a closed cycle's bills on the chain, all pages that are left. Anybody may; only the fee is paid."""
    from ledger.transactions import RecordBills
    from node.client.format import watt

    where = Where(api, data_dir, node)
    signing = Signing(where, wallet, wallets, password_file, fee, yes, False, timeout, json)
    keystore, chosen = own_wallet(where, wallet, wallets)
    found = ask(where, lambda client: _to_record(client, cycle))
    fee_uwatt = fee_of(signing, ask(where, _minimum_fee))
    confirm(
        "Record them?",
        [
            ("cycle", f"{found.cycle}, {moment(found.start_ms)} to {moment(found.end_ms)}"),
            ("bills", f"{found.members - found.recorded} of {found.members}, {len(found.pages_left)} pages"),
            ("fee", watt(fee_uwatt * len(found.pages_left))),
        ],
        signing,
    )
    done = []
    for page in found.pages_left:
        sent = sign_and_follow(signing, keystore, chosen, RecordBills(cycle=found.cycle, page=page), fee_uwatt)
        assert sent is not None, "it waits"
        if sent.refusal != "bills_recorded":  # somebody else was as diligent
            require_effect(sent)
        done.append(sent)
    if json:
        print_json({"cycle": found.cycle, "transactions": done})
    else:
        typer.echo(f"the bills of cycle {found.cycle} are recorded")


@app.command()
def pay(
    cycle: Annotated[
        int | None, typer.Argument(metavar="[CYCLE]", min=0, help="Else the oldest that waits to be paid.")
    ] = None,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    wallet: WalletName = None,
    wallets: WalletDirectory = None,
    password_file: PasswordFile = None,
    fee: Fee = None,
    yes: Yes = False,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    json: AsJson = False,
) -> None:
    """Pay all that a recorded bill leaves to pay: every creditor its sum, in one transaction."""
    from ledger.transactions import PayBill
    from node.client.bills import state_words, to_pay
    from node.client.format import watt

    where = Where(api, data_dir, node)
    signing = Signing(where, wallet, wallets, password_file, fee, yes, no_wait, timeout, json)
    keystore, chosen = own_wallet(where, wallet, wallets)
    bill = ask(where, lambda client: _to_pay(client, chosen.address, cycle))
    summary = bill.summary
    if summary.state not in ("due", "arrears"):
        fail(f"the bill of cycle {summary.cycle} cannot be paid: it is {state_words(summary)}")
    fee_uwatt = fee_of(signing, ask(where, _minimum_fee))
    confirm(
        "Pay it?",
        [
            ("bill", f"cycle {summary.cycle}, {state_words(summary)}"),
            *((f"to {claim.counterparty.label}", watt(claim.to_pay_uwatt)) for claim in to_pay(bill)),
            ("together", watt(summary.to_pay_uwatt)),
            ("fee", watt(fee_uwatt)),
        ],
        signing,
    )
    sign_and_wait(signing, keystore, chosen, PayBill(cycle=summary.cycle), fee_uwatt)


@app.command()
def explain(
    line: Annotated[str, typer.Argument(metavar="LINE", help="Its number in the bill, or how its id begins.")],
    cycle: Cycle = None,
    of: Of = None,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    wallet: WalletName = None,
    wallets: WalletDirectory = None,
    json: AsJson = False,
) -> None:
    """Follow a line to the periods that made it: trades by number, and the signed readings with their registers."""
    where = Where(api, data_dir, node)
    who = _who(of, where, wallet, wallets)
    found, parts = ask(where, lambda client: _explanation(client, who, cycle, line))
    if json:
        print_json({"cycle": found.cycle, "line": found.line, "parts": parts, "not_kept": found.not_kept})
    else:
        print_explanation(found, parts)


@app.command()
def export(
    cycle: Cycle = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Ends in .pdf, .csv or .json; else bill-CYCLE-NAME.pdf."),
    ] = None,
    of: Of = None,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    wallet: WalletName = None,
    wallets: WalletDirectory = None,
) -> None:
    """Write a bill to a file: as PDF to print and file, as CSV for a spreadsheet, as JSON for programs."""
    import msgspec

    kind = "pdf" if output is None else output.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        fail(f"--output {output}: the name ends in .pdf, .csv or .json", EXIT_USAGE)
    where = Where(api, data_dir, node)
    who = _who(of, where, wallet, wallets)
    bill = ask(where, lambda client: client.bill(who, cycle))
    target = output or Path(f"bill-{bill.summary.cycle}-{bill.summary.member.label}.pdf")
    if kind == "pdf":
        from cli.bill_pdf import bill_pdf

        network = ask(where, lambda client: client.genesis()).network
        content = bill_pdf(bill, network)
    else:
        content = bill_csv(bill).encode() if kind == "csv" else msgspec.json.format(msgspec.json.encode(bill)) + b"\n"
    try:
        target.write_bytes(content)
    except OSError as error:
        fail(f"--output {target}: {error.strerror}")
    note(f"written to {target}")


def _who(of: str | None, where: Where, wallet: str | None, wallets: Path | None) -> str:
    return of or own_wallet(where, wallet, wallets)[1].address


async def _minimum_fee(client: NodeClient) -> int:
    return (await client.parameters()).parameters["minimum_fee_uwatt"]


async def _cycle(client: NodeClient, cycle: int | None) -> BillingCycle:
    """Ends the command where nothing was settled in it."""
    before = None if cycle is None else cycle + 1
    found = (await client.billing_cycles(before=before, limit=1)).cycles
    if not found or cycle not in (None, found[0].cycle):
        fail("nothing has been settled yet" if cycle is None else f"nothing was settled in cycle {cycle}")
    return found[0]


async def _all_bills(client: NodeClient, cycle: int | None) -> tuple[BillingCycle, list[BillSummary]]:
    found = await _cycle(client, cycle)
    bills = []
    for member in (await client.members()).members:
        page = await client.bills(member.account.address, before=found.cycle + 1, limit=1)
        bills += [bill for bill in page.bills if bill.cycle == found.cycle]
    return found, bills


async def _to_record(client: NodeClient, cycle: int | None) -> BillingCycle:
    """Ends the command where there is nothing to record."""
    if cycle is not None:
        found = await _cycle(client, cycle)
        if not found.closed:
            fail(f"cycle {cycle} is still open: it closes when its last period is settled")
        if not found.pages_left:
            fail(f"the bills of cycle {cycle} are recorded")
        return found
    oldest, before = None, None
    while True:
        page = await client.billing_cycles(before=before, limit=CYCLES_PAGE)
        oldest = next((one for one in reversed(page.cycles) if one.pages_left), oldest)
        before = page.next_before
        if before is None:
            break
    if oldest is None:
        fail("no closed cycle waits to be recorded")
    return oldest


async def _to_pay(client: NodeClient, who: str, cycle: int | None) -> Bill:
    """Ends the command where nothing waits to be paid."""
    if cycle is not None:
        return await client.bill(who, cycle)
    oldest, before = None, None
    while True:
        page = await client.bills(who, before=before, limit=CYCLES_PAGE)
        oldest = next((one.cycle for one in reversed(page.bills) if one.state in ("due", "arrears")), oldest)
        before = page.next_before
        if before is None:
            break
    if oldest is None:
        fail("no bill waits to be paid")
    return await client.bill(who, oldest)


async def _explanation(
    client: NodeClient, who: str, cycle: int | None, text: str
) -> tuple[LineExplanation, list[LinePart]]:
    """Ends the command where there is no such line."""
    from node.client.bills import find_line, numbered

    bill = await client.bill(who, cycle)
    line = find_line(bill, text)
    if line is None:
        fail(f"the bill of cycle {bill.summary.cycle} has no line {text!r}; its lines are 1 to {len(numbered(bill))}")
    parts: list[LinePart] = []
    after = None
    for _ in range(MOST_PAGES):
        found = await client.explain_line(who, bill.summary.cycle, line.id, after)
        parts += found.parts
        after = found.next_after
        if after is None:
            break
    return found, parts


def _print_prepared(found: BillingCycle, bills: list[BillSummary]) -> None:
    from node.client.format import watt

    state = "closed" if found.closed else "open"
    pages = f"{len(found.pages_left)} of {found.pages} pages to be recorded" if found.closed else f"{found.pages} pages"
    typer.echo(f"cycle {found.cycle}, {moment(found.start_ms)} to {moment(found.end_ms)}: {state}, {pages}")
    print_table(
        ["member", ">page", ">costs, WATT", ">paid when settled, WATT", ">to pay, WATT", ">to get, WATT"],
        [
            [
                one.member.label,
                str(one.page),
                watt(one.cost_uwatt, unit=False, aligned=True),
                watt(one.from_escrow_uwatt, unit=False, aligned=True),
                watt(one.to_pay_uwatt, unit=False, aligned=True),
                watt(one.to_receive_uwatt, unit=False, aligned=True),
            ]
            for one in bills
        ],
        empty="nobody is billed",
    )
    typer.echo(f"the costs sum to {watt(sum(one.cost_uwatt for one in bills))}")
