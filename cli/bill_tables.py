"""What ``ecloud bill`` shows: bills as tables and as CSV, what stands behind a line."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final

import typer

from cli.order_tables import price_text
from cli.output import moment, print_facts, print_table

if TYPE_CHECKING:
    from node.client.models import Bill, BillPage, LineExplanation, LinePart, RegisterProof

BAR_CHARACTERS: Final = 30
_LINE_COLUMNS: Final = (
    ">no.",
    "line",
    "with",
    ">kWh",
    ">WATT/kWh",
    ">grid fee, WATT",
    ">costs, WATT",
    "",
)
CSV_COLUMNS: Final = (
    *("cycle", "line", "title", "kind", "debtor", "creditor", "energy_wh", "price_uwatt_per_kwh"),
    *("amount_uwatt", "fee_uwatt", "cost_uwatt", "paid_from_escrow"),
)


def print_bill(bill: Bill) -> None:
    """Facts, lines by group, what is left, what it is compared with."""
    from node.client.bills import cost_words, groups, saving_words, state_words, title_words
    from node.client.format import energy, watt

    summary = bill.summary
    print_facts(
        [
            ("member", summary.member.label),
            ("cycle", f"{summary.cycle}, {moment(summary.start_ms)} to {moment(summary.end_ms)}"),
            ("state", state_words(summary)),
            ("taken in", energy(summary.import_wh)),
            ("fed in", energy(summary.export_wh)),
        ]
    )
    number, rows = 0, []
    for group in groups(bill):
        rows.append(["", group.title.upper(), "", "", "", "", "", ""])
        for line in group.lines:
            number += 1
            other = line.creditor if line.debtor == summary.member else line.debtor
            kind = "" if line.kind == "metered" else line.kind
            rows.append(
                [
                    str(number),
                    title_words(line),
                    other.label,
                    energy(line.energy_wh, unit=False, aligned=True),
                    price_text(line.price_uwatt_per_kwh, unit=False),
                    watt(line.fee_uwatt, unit=False, aligned=True) if line.fee_uwatt else "",
                    watt(line.cost_uwatt, unit=False, aligned=True),
                    ", ".join(word for word in (kind, "paid" if line.from_escrow else "") if word),
                ]
            )
    typer.echo()
    print_table(_LINE_COLUMNS, rows, empty="the lines of this cycle are not kept any more: all of it is paid")
    typer.echo()
    facts = [("grid fees of members", watt(-sum(fee.fee_uwatt for fee in bill.fees)))] if bill.fees else []
    facts += [
        ("costs in all", cost_words(summary.cost_uwatt)),
        ("paid when settled", cost_words(summary.from_escrow_uwatt)),
        *_claims(bill),
    ]
    saving = saving_words(summary)
    print_facts(facts if saving is None else [*facts, ("saved", saving)])
    if saving is not None:
        typer.echo()
        _print_comparison(bill)


def _claims(bill: Bill) -> list[tuple[str, str]]:
    from node.client.bills import to_pay, to_receive
    from node.client.format import watt

    facts = []
    for claim in to_pay(bill):
        done = ", paid" if claim.settled else ""
        facts.append((f"to pay to {claim.counterparty.label}", f"{watt(claim.to_pay_uwatt)}{done}"))
    for claim in to_receive(bill):
        done = ", received" if claim.settled else ""
        facts.append((f"to get from {claim.counterparty.label}", f"{watt(claim.to_receive_uwatt)}{done}"))
    return facts or [("left to pay", "nothing")]


def _print_comparison(bill: Bill) -> None:
    from node.client.bills import comparison, cost_words

    rows = comparison(bill.summary)
    largest = max((abs(cost) for _, cost in rows), default=0)
    print_facts(
        (
            name,
            f"{'█' * (abs(cost) * BAR_CHARACTERS // largest if largest else 0):<{BAR_CHARACTERS}}  {cost_words(cost)}",
        )
        for name, cost in rows
    )


def print_bills(page: BillPage) -> None:
    from node.client.bills import state_words
    from node.client.format import energy, watt

    print_table(
        [
            ">cycle",
            "begins",
            ">taken in, kWh",
            ">fed in, kWh",
            ">costs, WATT",
            ">saved, WATT",
            ">to pay, WATT",
            ">to get, WATT",
            "state",
        ],
        [
            [
                str(one.cycle),
                moment(one.start_ms),
                energy(one.import_wh, unit=False, aligned=True),
                energy(one.export_wh, unit=False, aligned=True),
                watt(one.cost_uwatt, unit=False, aligned=True),
                "–" if one.saving_uwatt is None else watt(one.saving_uwatt, unit=False, aligned=True),
                watt(one.to_pay_uwatt, unit=False, aligned=True),
                watt(one.to_receive_uwatt, unit=False, aligned=True),
                state_words(one),
            ]
            for one in page.bills
        ],
        empty="no bill yet: nothing has been settled",
    )


def print_explanation(found: LineExplanation, parts: list[LinePart]) -> None:
    """The line, then a row per period, and under it the trades and the signed readings."""
    from node.client.bills import title_words
    from node.client.format import energy, watt

    line = found.line
    price = price_text(line.price_uwatt_per_kwh)
    print_facts(
        [
            ("line", f"{title_words(line)}, {line.debtor.label} owes {line.creditor.label}"),
            (
                "energy",
                f"{energy(line.energy_wh)} at {price}, {line.kind}",
            ),
            ("amount", f"{watt(line.amount_uwatt)}, grid fee {watt(line.fee_uwatt)}"),
            ("made by", f"{len(parts)} periods"),
        ]
    )
    for part in parts:
        typer.echo()
        fee = f", grid fee {watt(part.fee_uwatt)}" if part.fee_uwatt else ""
        typer.echo(
            f"{moment(part.start_ms)}  {energy(part.energy_wh)}  {watt(part.amount_uwatt)}{fee}  settled by block "
            f"{part.height}"
        )
        print_facts(_evidence(part))
    explained_wh = sum(part.energy_wh for part in parts)
    if found.not_kept is not None:
        typer.echo(f"\n{energy(explained_wh)} of {energy(line.energy_wh)} are explained: {found.not_kept}")


def _evidence(part: LinePart) -> list[tuple[str, str]]:
    from node.client.format import energy

    facts = [
        (
            f"  trade {trade.number}",
            f"{energy(trade.energy_wh)} at {price_text(trade.price_uwatt_per_kwh)}, orders "
            f"{trade.sell_order} and {trade.buy_order}, block {trade.height}",
        )
        for trade in part.trades
    ]
    facts += [(f"  meter of {one.owner.label}", _registers(one)) for one in part.readings]
    return facts or [("  no reading", "estimated, or corrected by a later one")]


def _registers(proof: RegisterProof) -> str:
    from node.client.format import energy

    def grown(before_wh: int | None, now_wh: int) -> str:
        before = "?" if before_wh is None else energy(before_wh, unit=False)
        return f"{before} → {energy(now_wh)}"

    return (
        f"in {grown(proof.import_before_wh, proof.import_wh)}, out {grown(proof.export_before_wh, proof.export_wh)}; "
        f"signed reading {proof.transaction_id} in block {proof.height}"
    )


def bill_csv(bill: Bill) -> str:
    """One row per line; amounts and energies as integers of the ledger, so that nothing is rounded."""
    from node.client.bills import numbered

    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for line in numbered(bill):
        writer.writerow(
            (
                *(bill.summary.cycle, line.id, line.title, line.kind, line.debtor.label, line.creditor.label),
                *(line.energy_wh, line.price_uwatt_per_kwh, line.amount_uwatt, line.fee_uwatt, line.cost_uwatt),
                int(line.from_escrow),
            )
        )
    for fee in bill.fees:
        writer.writerow(
            (
                *(bill.summary.cycle, "", "grid_fee", "", fee.debtor.label, bill.summary.member.label),
                *("", "", 0, fee.fee_uwatt, -fee.fee_uwatt, ""),
            )
        )
    return written.getvalue()
