"""``ecloud contract``: energy at an agreed price, from one neighbour to others, for weeks or years.

A price is WATT per kWh without the grid fee, which the buyer pays on top; the template's time of use multiplies it.
What is agreed counts from the next period on whose book is still open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.agreeing import (
    Setting,
    ask_setting,
    carry_out,
    energy_of,
    keys_of,
    named_values,
    price_of,
)
from cli.common import EXIT_USAGE, Api, AsJson, DataDirectory, DevnetNode, Where, ask, fail, new_app
from cli.contract_tables import print_contract, print_contracts, print_deliveries, print_templates
from cli.order_tables import price_text, when_text
from cli.output import party, print_json
from cli.signing import (
    Fee,
    NoWait,
    PasswordFile,
    Signing,
    Timeout,
    WalletDirectory,
    WalletName,
    Yes,
    find_account,
    own_wallet,
)

if TYPE_CHECKING:
    from ledger.agreements import PreferredPrice
    from ledger.contracts.templates import Template
    from node.client.client import NodeClient
    from node.client.models import Agreements, Contract, ContractPage, DeliveryPage

app = new_app("Contracts between neighbours: offer energy, subscribe, and what was delivered.")

DAYS: Final = 30
MOST_DAYS: Final = 4_000
SHOWN: Final = 20
MOST: Final = 100
SHOWN_DELIVERIES: Final = 24
MOST_DELIVERIES: Final = 1_000

Offer = Annotated[int, typer.Argument(metavar="OFFER", help="The offer's number.", min=1)]
Prefer = Annotated[
    list[str] | None,
    typer.Option("--prefer", metavar="NAME=PRICE", help="A price for this member alone, like bob=0.14."),
]


@app.command()
def offer(
    limit: Annotated[str, typer.Argument(metavar="KWH", help="At the most in each period, like 0.5.")],
    price: Annotated[
        str | None, typer.Argument(metavar="[PRICE]", help="For all, like 0.15; without it only those you --prefer.")
    ] = None,
    prefer: Prefer = None,
    template: Annotated[
        str, typer.Option("--template", metavar="NAME", help="See: ecloud contract templates.")
    ] = "residential",
    start: Annotated[
        str, typer.Option("--from", metavar="WHEN", help="The first period: next, tomorrow 06:00, or its number.")
    ] = "next",
    days: Annotated[int, typer.Option("--days", min=1, max=MOST_DAYS, help="For how many days.")] = DAYS,
    until: Annotated[
        int | None,
        typer.Option("--until", metavar="PERIOD", help="The period before which it ends, in place of --days."),
    ] = None,
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
    """Offer what you produce, up to so much in each period; your stake in GRID is held while the offer stands.

    \b
    Half a kWh in each period for 0.15, for bob 0.14, a month long:
      ecloud contract offer 0.5 0.15 --prefer bob=0.14
    """
    from ledger.contracts.templates import TEMPLATES, TemplateKind
    from ledger.transactions import OfferContract
    from node.client.format import grid

    signing = Signing(Where(api, data_dir, node), wallet, wallets, password_file, fee, yes, no_wait, timeout, json)
    kinds = {kind.name.lower(): kind for kind in TemplateKind}
    if template not in kinds:
        fail(f"--template {template}: say {', '.join(kinds)}", EXIT_USAGE)
    limit_wh, own_price, preferred = energy_of(limit, "KWH"), *_prices(price, prefer)
    setting = ask_setting(signing.where)
    first = _first_period(setting, start)
    end = until if until is not None else first + days * _periods_per_day(setting)
    if end <= first:
        fail(f"--until {end} is not after the first period, {first}", EXIT_USAGE)
    named = _preferred(signing, preferred)
    terms = TEMPLATES[kinds[template]]
    rows = [
        ("offer", f"up to {_kwh(limit_wh)} in each period, {template}"),
        *_price_rows(own_price, preferred),
        ("times", _times_text(terms)),
        ("from", setting.counts_from(first)),
        ("to", f"{when_text(setting.market, end)} (before period {end})"),
        ("stake held", grid(terms.stake_ugrid)),
    ]
    payload = OfferContract(
        template=int(terms.kind),
        limit_wh=limit_wh,
        start_period=first,
        end_period=end,
        price_uwatt_per_kwh=own_price,
        preferred=named,
    )
    carry_out(signing, setting, rows, "Offer it?", payload)


@app.command()
def subscribe(
    number: Offer,
    limit: Annotated[str, typer.Argument(metavar="KWH", help="At the most in each period, like 0.3.")],
    at_most: Annotated[
        str | None, typer.Option("--at-most", metavar="PRICE", help="Only if the price is no higher. [default: as now]")
    ] = None,
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
    """Subscribe to an offer; the collateral is locked until the contract is over."""
    from ledger.contracts.templates import TEMPLATES, TemplateKind, sureties
    from ledger.transactions import SubscribeContract
    from node.client.format import watt

    signing = Signing(Where(api, data_dir, node), wallet, wallets, password_file, fee, yes, no_wait, timeout, json)
    limit_wh = energy_of(limit, "KWH")
    setting = ask_setting(signing.where)
    found = ask(signing.where, lambda client: client.contract(number))
    _, own = own_wallet(signing.where, wallet, wallets)
    price = _price_for(found, own.address)
    highest = price if at_most is None else price_of(at_most, "--at-most")
    template = TEMPLATES[TemplateKind[found.template.upper()]]
    first = max(found.from_period, setting.next_open)
    surety = sureties(template, setting.parameters, limit_wh, price, max(0, found.until_period - first))
    rows = [
        ("subscribe", f"up to {_kwh(limit_wh)} in each period, from {found.seller.label}"),
        ("price", f"{price_text(price)}, and the grid fee"),
        ("times", _times_text(template)),
        ("from", setting.counts_from(first)),
        ("to", f"{when_text(setting.market, found.until_period)} (before period {found.until_period})"),
        ("collateral locked", watt(surety.collateral_uwatt)),
        ("for ending early", watt(surety.early_uwatt)),
    ]
    payload = SubscribeContract(offer=number, limit_wh=limit_wh, limit_uwatt_per_kwh=highest)
    carry_out(signing, setting, rows, "Subscribe?", payload)


@app.command("price")
def change_price(
    number: Offer,
    price: Annotated[
        str | None, typer.Argument(metavar="[PRICE]", help="For all; without it only those you --prefer.")
    ] = None,
    prefer: Prefer = None,
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
    """Change an offer's prices, within what the template allows of what was agreed."""
    from ledger.transactions import ChangeContractPrice

    signing = Signing(Where(api, data_dir, node), wallet, wallets, password_file, fee, yes, no_wait, timeout, json)
    own_price, preferred = _prices(price, prefer)
    setting = ask_setting(signing.where)
    found = ask(signing.where, lambda client: client.contract(number))
    named = _preferred(signing, preferred)
    rows = [
        ("offer", f"{number}, of {_kwh(found.limit_wh)} in each period"),
        ("price now", price_text(found.price_uwatt_per_kwh)),
        *_price_rows(own_price, preferred),
        ("counts from", setting.counts_from(max(found.from_period, setting.next_open))),
    ]
    payload = ChangeContractPrice(offer=number, price_uwatt_per_kwh=own_price, preferred=named)
    carry_out(signing, setting, rows, "Change it?", payload)


@app.command()
def end(
    number: Offer,
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
    """End your offer, or your subscription, before its time: who ends it pays the other.

    The rest of a collateral, or the stake, comes back when the last period is settled in which the contract counts.
    """
    from ledger.transactions import EndContract
    from node.client.format import grid, watt

    signing = Signing(Where(api, data_dir, node), wallet, wallets, password_file, fee, yes, no_wait, timeout, json)
    setting = ask_setting(signing.where)
    found = ask(signing.where, lambda client: client.contract(number))
    _, own = own_wallet(signing.where, wallet, wallets)
    standing = [one for one in found.subscriptions if one.until_period > setting.next_open]
    if found.seller.address == own.address:
        what, owed = f"offer {number}, and {len(standing)} subscriptions", sum(one.early_uwatt for one in standing)
        back = grid(found.stake_ugrid)
    else:
        mine = [one for one in standing if one.buyer.address == own.address]
        if not mine:
            fail(f"{own.name} neither made offer {number} nor subscribed to it; see: ecloud contract list --mine")
        what, owed = f"your subscription of offer {number}", mine[0].early_uwatt
        back = watt(max(0, mine[0].collateral_uwatt - owed))
    rows = [
        ("end", what),
        ("you pay for ending early", watt(owed)),
        ("comes back", f"{back}, once settled"),
        ("counts from", setting.counts_from()),
    ]
    carry_out(signing, setting, rows, "End it?", EndContract(offer=number))


@app.command()
def attest(
    member: Annotated[str, typer.Argument(metavar="MEMBER", help="The member's name or address.")],
    licences: Annotated[
        list[str] | None, typer.Argument(metavar="[LICENCE...]", help="All it holds from now on; none takes all away.")
    ] = None,
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
    """As an approver, say which licences a member holds: commercial_energy_license, grid_code_compliance.

    Offers that need one it no longer holds end.
    """
    from ledger.agreements import Licence
    from ledger.transactions import AttestMember

    signing = Signing(Where(api, data_dir, node), wallet, wallets, password_file, fee, yes, no_wait, timeout, json)
    known = {str(one.name).lower(): one for one in Licence}
    given = licences or []
    for name in given:
        if name not in known:
            fail(f"{name} is no licence: say {', '.join(known)}", EXIT_USAGE)
    setting = ask_setting(signing.where)
    account = ask(signing.where, lambda client: find_account(client, member))
    rows = [("member", party(account.account)), ("holds from now on", ", ".join(given) or "no licence")]
    bits = sum({int(known[name]) for name in given})
    payload = AttestMember(account=bytes.fromhex(account.account_key), licences=bits)
    carry_out(signing, setting, rows, "Attest it?", payload)


@app.command("list")
def list_contracts(
    who: Annotated[
        str | None, typer.Argument(metavar="[WHO]", help="Only those this member sells or buys under.")
    ] = None,
    mine: Annotated[bool, typer.Option("--mine", help="Only the wallet's own.")] = False,
    before: Annotated[int | None, typer.Option("--before", min=1, help="Only offers below this number.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=MOST, help="How many at the most.")] = SHOWN,
    wallet: WalletName = None,
    wallets: WalletDirectory = None,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    json: AsJson = False,
) -> None:
    """List offers, newest first: price, energy, how many subscribed, until when."""
    where = Where(api, data_dir, node)
    if mine:
        who = own_wallet(where, wallet, wallets)[1].address
    setting = ask_setting(where)
    if who is not None:
        name = who
        own = ask(where, lambda client: _agreements(client, name))
        if json:
            print_json(own)
            return
        print_contracts(setting.market, [*own.selling, *own.buying], own.account)
        return
    page: ContractPage = ask(where, lambda client: client.contracts(before=before, limit=limit))
    if json:
        print_json(page)
        return
    print_contracts(setting.market, page.contracts, None)
    if page.next_before is not None:
        typer.echo(f"more: ecloud contract list --before {page.next_before}")


@app.command()
def show(
    number: Offer,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=MOST_DELIVERIES, help="How many deliveries.")
    ] = SHOWN_DELIVERIES,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    json: AsJson = False,
) -> None:
    """Show one offer: terms, subscribers, and what was delivered."""
    where = Where(api, data_dir, node)
    found, delivered = ask(where, lambda client: _contract_and_deliveries(client, number, limit))
    if json:
        print_json({"contract": found, "deliveries": delivered.deliveries})
        return
    setting = ask_setting(where)
    print_contract(setting.market, found)
    typer.echo()
    print_deliveries(setting.market, delivered)


@app.command()
def templates(api: Api = None, data_dir: DataDirectory = None, node: DevnetNode = None, json: AsJson = False) -> None:
    """Show the templates: what a contract may be, and is held to."""
    found = ask(Where(api, data_dir, node), lambda client: client.templates())
    if json:
        print_json(found)
    else:
        print_templates(found)


# ------------------------------------------------------------------------------------------------------- what is meant


async def _agreements(client: NodeClient, who: str) -> Agreements:
    account = await find_account(client, who)
    return await client.agreements(account.account.address)


async def _contract_and_deliveries(client: NodeClient, number: int, limit: int) -> tuple[Contract, DeliveryPage]:
    return await client.contract(number), await client.deliveries(number, limit=limit)


def _first_period(setting: Setting, text: str) -> int:
    """Ends the command for what is no period."""
    from node.client.market import PeriodError, parse_periods

    if text.isdecimal():
        return int(text)
    try:
        return parse_periods(text, setting.market)[0]
    except PeriodError as error:
        fail(f"--from: {error}", EXIT_USAGE)


def _periods_per_day(setting: Setting) -> int:
    from ledger.market.terms import periods_per_day

    return periods_per_day(setting.parameters)


def _prices(price: str | None, prefer: list[str] | None) -> tuple[int | None, dict[str, int]]:
    preferred = named_values(prefer or [], "--prefer", price_of)
    if price is None and not preferred:
        fail("say a price for all, --prefer NAME=PRICE, or both", EXIT_USAGE)
    return None if price is None else price_of(price, "PRICE"), preferred


def _preferred(signing: Signing, prices: dict[str, int]) -> tuple[PreferredPrice, ...]:
    from ledger.agreements import PreferredPrice

    accounts = ask(signing.where, lambda client: keys_of(client, list(prices)))
    return tuple(
        PreferredPrice(account=bytes.fromhex(account.account_key), price_uwatt_per_kwh=price)
        for account, price in zip(accounts, prices.values(), strict=True)
    )


def _price_for(contract: Contract, address: str) -> int:
    """Ends the command if the offer is not for this buyer."""
    preferred = {one.member.address: one.price_uwatt_per_kwh for one in contract.preferred}
    price = preferred.get(address, contract.price_uwatt_per_kwh)
    if price is None:
        fail(f"offer {contract.offer} is only for {', '.join(one.member.label for one in contract.preferred)}")
    return price


def _price_rows(price: int | None, preferred: dict[str, int]) -> list[tuple[str, str]]:
    rows = [("price", "only for those named" if price is None else f"{price_text(price)}, and the grid fee")]
    return rows + [("price for " + name, price_text(own)) for name, own in preferred.items()]


def _times_text(template: Template) -> str:
    from cli.contract_tables import times_of_use

    return times_of_use([(hour, bps) for hour, bps in template.time_of_use], template.first_hour, template.last_hour)


def _kwh(energy_wh: int) -> str:
    from node.client.format import energy

    return energy(energy_wh)
