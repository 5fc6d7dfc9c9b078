"""``ecloud energy pool``: neighbours who share what some of them produce."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.agreeing import Setting, ask_setting, carry_out, keys_of, named_values, percent_of, price_of
from cli.common import EXIT_USAGE, Api, AsJson, DataDirectory, DevnetNode, Where, ask, fail, new_app
from cli.order_tables import price_text
from cli.output import party, print_facts, print_json, print_table
from cli.signing import Fee, NoWait, PasswordFile, Signing, Timeout, WalletDirectory, WalletName, Yes, own_wallet

if TYPE_CHECKING:
    from pathlib import Path

    from ledger.agreements import PoolShare
    from node.client.models import PoolInfo, PoolMember

app = new_app("Sharing pools: neighbours who share what some of them produce.")

ROLES: Final = {"producer": 1, "consumer": 2, "both": 3}
RULES: Final = {"fixed": 1, "proportional": 2, "both": 3}

Pool = Annotated[str, typer.Argument(metavar="POOL", help="The pool's number or name.")]
Rule = Annotated[
    str,
    typer.Option("--rule", metavar="RULE", help="fixed shares, proportional to need, or both, one after the other."),
]
Shares = Annotated[
    list[str] | None,
    typer.Option("--share", metavar="NAME=PERCENT", help="A member's fixed share; together at most 100."),
]


@app.command("open")
def open_pool(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it: a–z, 0–9, '.', '_' and '-'.")],
    price: Annotated[str, typer.Argument(metavar="PRICE", help="WATT per kWh, like 0.10, grid fee not included.")],
    rule: Rule = "both",
    share: Shares = None,
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help="You are: producer, consumer, or both.")] = "both",
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
    """Open a pool: you are its founder, and set its price, rule and shares.

    \b
    Anne gets half, Bob 30 %, and whoever needs it the rest:
      ecloud energy pool open sunny-side 0.10 --share anne=50 --share bob=30
    """
    from ledger.transactions import OpenPool

    signing = Signing(Where(api, data_dir, node), wallet, wallets, password_file, fee, yes, no_wait, timeout, json)
    price_uwatt, shares = price_of(price, "PRICE"), named_values(share or [], "--share", percent_of)
    payload_roles, payload_rule = _word(role, ROLES, "--role"), _word(rule, RULES, "--rule")
    setting = ask_setting(signing.where)
    named = _pool_shares(signing, shares)
    rows = [
        ("open", f"pool {name}, as {role}"),
        *_terms_rows(rule, price_uwatt, shares),
        ("counts from", setting.counts_from()),
    ]
    payload = OpenPool(name=name, roles=payload_roles, rule=payload_rule, price_uwatt_per_kwh=price_uwatt, shares=named)
    carry_out(signing, setting, rows, "Open it?", payload)


@app.command()
def join(
    pool: Pool,
    role: Annotated[
        str, typer.Option("--role", metavar="ROLE", help="You are: producer, consumer, or both.")
    ] = "consumer",
    at_most: Annotated[
        str | None, typer.Option("--at-most", metavar="PRICE", help="Take part up to this price. [default: as now]")
    ] = None,
    at_least: Annotated[
        str | None, typer.Option("--at-least", metavar="PRICE", help="Take part from this price on. [default: as now]")
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
    """Join a pool; in periods in which its price is not what you agreed to, you take no part.

    A consumer says what it pays at the most, a producer what it gets at the least; what is left out is the price as it
    is now.
    """
    from ledger.sharing import MAX_POOL_PRICE
    from ledger.transactions import JoinPool

    signing = Signing(Where(api, data_dir, node), wallet, wallets, password_file, fee, yes, no_wait, timeout, json)
    roles = _word(role, ROLES, "--role")
    setting = ask_setting(signing.where)
    found = ask(signing.where, lambda client: client.pool(pool))
    now = found.price_uwatt_per_kwh
    highest = price_of(at_most, "--at-most") if at_most else now if roles & ROLES["consumer"] else MAX_POOL_PRICE
    lowest = price_of(at_least, "--at-least") if at_least else now if roles & ROLES["producer"] else 0
    if lowest > highest:
        fail("--at-least is more than --at-most", EXIT_USAGE)
    rows = [
        ("join", f"pool {found.pool}, {found.name}, of {found.founder.label}, as {role}"),
        ("price now", price_text(now)),
        ("you take part", _between(lowest, highest)),
        ("counts from", setting.counts_from()),
    ]
    payload = JoinPool(pool=found.pool, roles=roles, lowest_uwatt_per_kwh=lowest, highest_uwatt_per_kwh=highest)
    carry_out(signing, setting, rows, "Join it?", payload)


@app.command()
def leave(
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
    """Leave the pool you are in. When its founder leaves, a pool ends for all."""
    from ledger.transactions import LeavePool

    signing = Signing(Where(api, data_dir, node), wallet, wallets, password_file, fee, yes, no_wait, timeout, json)
    setting = ask_setting(signing.where)
    found, address = _own_pool(signing.where, wallet, wallets)
    founder = found.founder.address == address
    others = sum(one.until_period is None for one in found.members) - 1
    rows = [
        ("leave", f"pool {found.pool}, {found.name}"),
        *([("which ends", f"for you and {others} others")] if founder else []),
        ("counts from", setting.counts_from()),
    ]
    carry_out(signing, setting, rows, "End it for all?" if founder else "Leave it?", LeavePool(pool=found.pool))


@app.command("rule")
def set_rule(
    rule: Annotated[str | None, typer.Option("--rule", metavar="RULE", help="fixed, proportional, or both.")] = None,
    price: Annotated[str | None, typer.Option("--price", metavar="PRICE", help="WATT per kWh.")] = None,
    share: Shares = None,
    no_shares: Annotated[bool, typer.Option("--no-shares", help="Nobody has a fixed share.")] = False,
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
    """Change rule, price or shares of the pool you founded; what you leave out stays.

    Who did not agree to the new price takes no part until it says so.
    """
    from ledger.agreements import PoolShare
    from ledger.transactions import SetPoolRule

    signing = Signing(Where(api, data_dir, node), wallet, wallets, password_file, fee, yes, no_wait, timeout, json)
    if (rule, price, share, no_shares) == (None, None, None, False):
        fail("say what changes: --rule, --price, --share or --no-shares", EXIT_USAGE)
    if share and no_shares:
        fail("--share and --no-shares exclude each other", EXIT_USAGE)
    given = named_values(share or [], "--share", percent_of)
    setting = ask_setting(signing.where)
    found, _ = _own_pool(signing.where, wallet, wallets)
    if share or no_shares:
        shares, named = given, _pool_shares(signing, given)
    else:
        shares = {one.member.label: one.share_bps for one in found.shares}
        named = tuple(
            PoolShare(account=_account_key(one.member.address), share_bps=one.share_bps) for one in found.shares
        )
    new_rule = rule or found.rule
    new_price = found.price_uwatt_per_kwh if price is None else price_of(price, "--price")
    rows = [
        ("pool", f"{found.pool}, {found.name}"),
        *_terms_rows(new_rule, new_price, shares),
        ("counts from", setting.counts_from()),
    ]
    unwilling = [
        one.member.label
        for one in found.members
        if one.until_period is None and not one.lowest_uwatt_per_kwh <= new_price <= one.highest_uwatt_per_kwh
    ]
    if unwilling:
        rows.append(("take no part", f"{', '.join(unwilling)}: agreed to another price"))
    payload = SetPoolRule(
        pool=found.pool, rule=_word(new_rule, RULES, "--rule"), price_uwatt_per_kwh=new_price, shares=named
    )
    carry_out(signing, setting, rows, "Set it?", payload)


@app.command("list")
def list_pools(api: Api = None, data_dir: DataDirectory = None, node: DevnetNode = None, json: AsJson = False) -> None:
    """List all pools."""
    found = ask(Where(api, data_dir, node), lambda client: client.pools())
    if json:
        print_json(found)
        return
    print_table(
        [">pool", "name", "founder", "rule", ">WATT/kWh", ">producers", ">consumers", ""],
        [
            [
                str(one.pool),
                one.name,
                one.founder.label,
                one.rule,
                price_text(one.price_uwatt_per_kwh, unit=False),
                str(_count(one, "producer")),
                str(_count(one, "consumer")),
                "" if one.until_period is None else "ends",
            ]
            for one in found.pools
        ],
        empty="there are no pools; open one with: ecloud energy pool open",
    )


@app.command()
def show(
    pool: Annotated[str | None, typer.Argument(metavar="[POOL]", help="Number or name. [default: your own]")] = None,
    wallet: WalletName = None,
    wallets: WalletDirectory = None,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    json: AsJson = False,
) -> None:
    """Show one pool: price, rule, shares, and who takes part."""
    where = Where(api, data_dir, node)
    if pool is None:
        found, _ = _own_pool(where, wallet, wallets)
    else:
        found = ask(where, lambda client: client.pool(pool))
    if json:
        print_json(found)
        return
    setting = ask_setting(where)
    print_facts(
        [
            ("pool", f"{found.pool}  {found.name}"),
            ("founder", party(found.founder)),
            ("rule", found.rule),
            ("price", price_text(found.price_uwatt_per_kwh)),
            ("counts from", setting.counts_from(found.from_period)),
            *([] if found.until_period is None else [("ends", setting.counts_from(found.until_period))]),
        ]
    )
    typer.echo()
    print_table(
        ["member", "role", ">share", "takes part", ""],
        [[*_member_cells(one), _member_state(setting, one)] for one in found.members],
        empty="nobody is in it",
    )
    joined = {one.member.address for one in found.members}
    absent = [one for one in found.shares if one.member.address not in joined]
    if absent:
        typer.echo()
        typer.echo(f"not joined yet: {', '.join(f'{one.member.label} ({_percent(one.share_bps)})' for one in absent)}")


def _member_cells(one: PoolMember) -> list[str]:
    return [
        one.member.label,
        " and ".join(one.roles),
        _percent(one.share_bps) if "consumer" in one.roles else "–",
        _between(one.lowest_uwatt_per_kwh, one.highest_uwatt_per_kwh),
    ]


def _member_state(setting: Setting, one: PoolMember) -> str:
    if one.until_period is not None:
        return f"until {setting.counts_from(one.until_period)}"
    if not one.willing:
        return "not at this price"
    return "" if one.from_period < setting.next_open else f"from {setting.counts_from(one.from_period)}"


def _own_pool(where: Where, wallet: str | None, wallets: Path | None) -> tuple[PoolInfo, str]:
    """The pool the wallet is in, and the wallet's address; ends the command if it is in none."""
    _, own = own_wallet(where, wallet, wallets)
    found = ask(where, lambda client: client.agreements(own.address))
    standing = [
        pool
        for pool in found.pools
        if any(one.member.address == own.address and one.until_period is None for one in pool.members)
    ]
    if not standing:
        fail(f"{own.name} is in no pool; see those there are: ecloud energy pool list")
    return standing[0], own.address


def _pool_shares(signing: Signing, shares: dict[str, int]) -> tuple[PoolShare, ...]:
    from ledger.agreements import PoolShare

    if sum(shares.values()) > 10_000:
        fail(f"the shares sum to {_percent(sum(shares.values()))}; at most 100 %", EXIT_USAGE)
    accounts = ask(signing.where, lambda client: keys_of(client, list(shares)))
    return tuple(
        PoolShare(account=bytes.fromhex(account.account_key), share_bps=bps)
        for account, bps in zip(accounts, shares.values(), strict=True)
    )


def _terms_rows(rule: str, price: int, shares: dict[str, int]) -> list[tuple[str, str]]:
    return [
        ("price", f"{price_text(price)}, and the grid fee"),
        ("rule", rule),
        *[("share", f"{name}  {_percent(bps)}") for name, bps in shares.items()],
    ]


def _account_key(address: str) -> bytes:
    from ledger.keys import parse_address

    return parse_address(address)


def _word(text: str, words: dict[str, int], option: str) -> int:
    if text not in words:
        fail(f"{option} {text}: say {', '.join(words)}", EXIT_USAGE)
    return words[text]


def _between(lowest: int, highest: int) -> str:
    from ledger.sharing import MAX_POOL_PRICE

    if lowest == 0:
        return "at any price" if highest >= MAX_POOL_PRICE else f"up to {price_text(highest)}"
    return (
        f"from {price_text(lowest)} on"
        if highest >= MAX_POOL_PRICE
        else (f"from {price_text(lowest, unit=False)} to {price_text(highest)}")
    )


def _percent(bps: int) -> str:
    from node.client.format import percent

    return percent(bps)


def _count(pool: PoolInfo, role: str) -> int:
    return sum(role in one.roles and one.until_period is None for one in pool.members)
