"""What the commands on pools and contracts share: amounts and names as people write them, and from when it counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from cli.common import EXIT_USAGE, Where, ask, fail
from cli.order_tables import when_text
from cli.signing import Signing, confirm, fee_of, find_account, own_wallet, sign_and_wait

if TYPE_CHECKING:
    from ledger.parameters import Parameters
    from ledger.transactions import Payload
    from node.client.client import NodeClient
    from node.client.models import Account, Market

PERCENT_DECIMALS: Final = 2

T = TypeVar("T")


class Setting(NamedTuple):
    """What a command has to know of the chain before it asks anybody for a yes."""

    market: Market
    parameters: Parameters

    @property
    def next_open(self) -> int:
        return self.market.first_open_period

    def counts_from(self, period: int | None = None) -> str:
        """The row's text for the period from which on something counts."""
        period = self.next_open if period is None else period
        return f"{when_text(self.market, period)} (period {period})"


async def setting_of(client: NodeClient) -> Setting:
    from ledger.parameters import Parameters

    found = (await client.parameters()).parameters
    known = {name: found[name] for name in Parameters.__struct_fields__ if name in found}
    return Setting(await client.market(limit=1), Parameters(**known))


def ask_setting(where: Where) -> Setting:
    return ask(where, setting_of)


def carry_out(
    signing: Signing, setting: Setting, rows: Sequence[tuple[str, str]], question: str, payload: Payload
) -> None:
    """Asks, signs, hands over and waits."""
    from node.client.format import watt

    keystore, own = own_wallet(signing.where, signing.wallet, signing.wallets)
    fee_uwatt = fee_of(signing, setting.parameters.minimum_fee_uwatt)
    confirm(question, [*rows, ("wallet", f"{own.name}  {own.address}"), ("fee", watt(fee_uwatt))], signing)
    sign_and_wait(signing, keystore, own, payload, fee_uwatt)


def price_of(text: str, what: str) -> int:
    """Uwatt per kWh, in whole ticks, from WATT per kWh; ends the command if it is none."""
    from node.client.market import parse_price

    return _parsed(parse_price, text, what)


def energy_of(text: str, what: str) -> int:
    """Wh from kWh; ends the command if it is none."""
    from node.client.format import ENERGY_DECIMALS, parse_decimal

    return _parsed(lambda given: parse_decimal(given, ENERGY_DECIMALS, "kWh"), text, what)


def percent_of(text: str, what: str) -> int:
    """Basis points from percent; ends the command if it is none."""
    from node.client.format import parse_decimal

    bps = _parsed(lambda given: parse_decimal(given.removesuffix("%"), PERCENT_DECIMALS, "percent"), text, what)
    if bps > 10_000:
        fail(f"{what}: {text} is more than all", EXIT_USAGE)
    return bps


def named_values(texts: Sequence[str], option: str, read: Callable[[str, str], int]) -> dict[str, int]:
    """``bob=50`` → {"bob": what ``read`` makes of 50}; ends the command for anything else."""
    found: dict[str, int] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or name in found:
            fail(f"{option} {text}: say NAME=VALUE, each name once", EXIT_USAGE)
        found[name] = read(value, f"{option} {name}")
    return found


async def keys_of(client: NodeClient, names: Sequence[str]) -> list[Account]:
    """Ends the command where nobody is called so."""
    return [await find_account(client, name) for name in names]


def _parsed(parse: Callable[[str], T], text: str, what: str) -> T:
    from node.client.format import AmountError

    try:
        return parse(text)
    except AmountError as error:
        fail(f"{what}: {error}", EXIT_USAGE)
