"""What ``ecloud contract`` shows: offers, subscriptions, deliveries, templates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import typer

from cli.order_tables import price_text, when_text
from cli.output import moment, party, print_facts, print_table

if TYPE_CHECKING:
    from node.client.models import Contract, ContractTemplate, DeliveryPage, Market, Party, TemplateList

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def print_contracts(market: Market, contracts: list[Contract], own: Party | None) -> None:
    """``own``: whose they are; then a column says as what."""
    from node.client.format import energy

    rows = []
    for one in contracts:
        standing = [each for each in one.subscriptions if each.until_period > market.first_open_period]
        row = [
            str(one.offer),
            one.seller.label,
            one.template,
            energy(one.limit_wh, unit=False, aligned=True),
            price_text(one.price_uwatt_per_kwh, unit=False),
            str(len(one.preferred)),
            str(len(standing)),
            when_text(market, one.from_period),
            when_text(market, one.until_period),
        ]
        if own is not None:
            row.append("selling" if one.seller == own else _buying(one, own))
        rows.append(row)
    columns = [">offer", "seller", "template", ">kWh", ">WATT/kWh", ">preferred", ">subscribed", "from", "until"]
    print_table(
        columns + ([""] if own is not None else []),
        rows,
        empty="there are no offers" if own is None else f"{own.label} has no contracts",
    )


def print_contract(market: Market, one: Contract) -> None:
    from node.client.format import energy, grid, watt

    print_facts(
        [
            ("offer", f"{one.offer}, {one.template}"),
            ("seller", party(one.seller)),
            ("energy", f"up to {energy(one.limit_wh)} in each period"),
            (
                "price",
                "only for those named" if one.price_uwatt_per_kwh is None else price_text(one.price_uwatt_per_kwh),
            ),
            *[("for " + each.member.label, price_text(each.price_uwatt_per_kwh)) for each in one.preferred],
            ("from", f"{when_text(market, one.from_period)} (period {one.from_period})"),
            ("until", f"{when_text(market, one.until_period)} (period {one.until_period})"),
            *([("agreed until", f"period {one.end_period}")] if one.until_period < one.end_period else []),
            ("stake", grid(one.stake_ugrid)),
        ]
    )
    typer.echo()
    print_table(
        ["buyer", ">kWh", ">WATT/kWh", ">agreed", "from", "until", ">collateral, WATT", ">for ending early, WATT"],
        [
            [
                each.buyer.label,
                energy(each.limit_wh, unit=False, aligned=True),
                price_text(each.price_uwatt_per_kwh, unit=False),
                price_text(each.agreed_uwatt_per_kwh, unit=False),
                when_text(market, each.from_period),
                when_text(market, each.until_period),
                watt(each.collateral_uwatt, unit=False, aligned=True),
                watt(each.early_uwatt, unit=False, aligned=True),
            ]
            for each in one.subscriptions
        ],
        empty="nobody has subscribed",
    )


def print_deliveries(market: Market, page: DeliveryPage) -> None:
    from node.client.format import energy, watt

    print_table(
        ["begins", "buyer", ">kWh", ">WATT", ">grid fee, WATT"],
        [
            [
                moment(one.start_ms),
                one.buyer.label,
                energy(one.energy_wh, unit=False, aligned=True),
                watt(one.amount_uwatt, unit=False, aligned=True),
                watt(one.fee_uwatt, unit=False, aligned=True),
            ]
            for one in page.deliveries
        ],
        empty=f"nothing was delivered under it in the periods settled so far (before {market.next_settled_period})",
    )


def print_templates(found: TemplateList) -> None:
    """One column for each template."""
    columns = [_template_rows(one) for one in found.templates]
    rows = [[label, *(column[place][1] for column in columns)] for place, (label, _) in enumerate(columns[0])]
    print_table(["", *(one.template for one in found.templates)], rows, empty="there are no templates")


def times_of_use(times: Sequence[tuple[int, int]], first_hour: int, last_hour: int) -> str:
    """``6:00 × 1, 12:00 × 1.2 … to 23:00``; hours are local."""
    steps = ", ".join(f"{hour}:00 × {bps // 10_000}{_fraction(bps)}" for hour, bps in times)
    round_the_clock = (first_hour, last_hour) == (0, 23)
    return steps + ("" if round_the_clock else f"; only {first_hour}:00 to {last_hour + 1}:00")


def _fraction(bps: int) -> str:
    digits = f"{bps % 10_000:04d}".rstrip("0")
    return f".{digits}" if digits else ""


def _buying(one: Contract, own: Party) -> str:
    from node.client.format import energy

    mine = [each for each in one.subscriptions if each.buyer == own]
    return f"buying {energy(mine[-1].limit_wh)}" if mine else "buying"


def _template_rows(one: ContractTemplate) -> list[tuple[str, str]]:
    from node.client.format import energy, grid, percent, words

    days = "every day" if len(one.weekdays) == len(_DAYS) else ", ".join(_DAYS[day] for day in one.weekdays)
    return [
        ("energy in a period", f"{energy(one.smallest_wh)} to {energy(one.largest_wh)}"),
        ("price", f"{price_text(one.lowest_uwatt_per_kwh, unit=False)} to {price_text(one.highest_uwatt_per_kwh)}"),
        ("change of price", f"at most {percent(one.price_change_bps)}"),
        ("days", days),
        (
            "hours and prices",
            times_of_use([(each.from_hour, each.price_bps) for each in one.time_of_use], one.first_hour, one.last_hour),
        ),
        ("subscribers", f"at most {one.max_participants}"),
        ("stake", grid(one.stake_ugrid)),
        ("licences", ", ".join(words(licence) for licence in one.licences) or "none"),
        ("deliveries shown by", one.deliveries_by),
        (
            "of a cycle's worth",
            f"collateral {percent(one.collateral_bps)}, ending early {percent(one.early_bps)}, "
            f"paying late {percent(one.late_bps)}",
        ),
        (
            "grid fee at least",
            f"{price_text(one.fee_base_uwatt_per_kwh)}, {price_text(one.fee_distance_uwatt_per_kwh, unit=False)} for "
            f"each step farther; {percent(one.fee_congestion_bps)} more where a feeder is "
            f"{percent(one.congestion_threshold_bps)} full",
        ),
        ("disputes", f"{one.arbitration}, then higher after {one.escalation_hours} h"),
        ("shed first to last", ", ".join(words(load) for load in one.shedding)),
    ]
