"""What a person sees of a devnet, on a terminal of 80 columns too, and in a file."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from devnet.display import MARKET_COLUMNS, WIDE_COLUMNS, Display, block_line
from devnet.tally import NodeTally, Standing, Tally
from node.client.events import BlockFinal
from node.client.models import Party, SkippedTurn

NAMES = ("anne", "bob", "carla", "george")
STATES = {"anne": "runs", "bob": "down", "carla": "paused", "george": "starts"}
HASH = "3f9a22b1c0" + "d" * 54


def party(name: str) -> Party:
    return Party(address=f"ec{name}", name=name)


def block(height: int, *, view: int = 0, finality_ms: int | None = 412) -> BlockFinal:
    return BlockFinal(
        height=height,
        hash=HASH,
        producer=party("george"),
        view=view,
        time_ms=0,
        time="",
        finality_ms=finality_ms,
        transaction_count=5,
        reading_count=4,
        skipped=[SkippedTurn(view=number, leader=party("bob")) for number in range(view)],
    )


def tally() -> Tally:
    found = Tally({name: NodeTally(answers=True, peers={"p", "q", "r"}) for name in NAMES})
    found.on_event("anne", block(12, view=1))
    found.standings = {"anne": Standing("active", 3_000, 0), "bob": Standing("suspended", -2_000, 2)}
    return found


def screen(width: int) -> tuple[str, list[str]]:
    output = io.StringIO()
    console = Console(file=output, width=width, height=30, force_terminal=True, color_system=None)
    with Display(console, NAMES) as display:
        display.note("block 10: kill bob")
        display.show(tally(), STATES)
    text = output.getvalue()
    return text, text.splitlines()


def test_a_wide_terminal_shows_what_each_home_traded_and_every_one_what_all_did() -> None:
    output = io.StringIO()
    found = tally()
    found.market.trades, found.market.energy_wh, found.market.settled = 12, 3_400, 5
    found.market.sold_wh, found.market.bought_wh = {"george": 3_400}, {"anne": 1_250}
    found.market.import_wh, found.market.certified_wh = 10_000, 6_320
    for width in (80, MARKET_COLUMNS):
        console = Console(file=output, width=width, height=30, force_terminal=True, color_system=None)
        with Display(console, NAMES) as display:
            display.show(found, STATES)
        lines = output.getvalue().splitlines()
        assert any("trades 12, 3.40 kWh   settled periods 5   self-sufficiency 63.2 %" in line for line in lines)
        george = next(line for line in reversed(lines) if line.startswith("george"))
        assert ("3.40" in george) == (width == MARKET_COLUMNS)
        assert not any("UNBALANCED" in line for line in lines)


@pytest.mark.parametrize("width", [80, WIDE_COLUMNS, 140])
def test_a_terminal_shows_every_home_on_a_line_of_its_own(width: int) -> None:
    text, lines = screen(width)
    # Then each home's line says what its node does, nothing is cut off, and the winner is marked
    for name, state in STATES.items():
        assert any(line.startswith(name) and state in line for line in lines)
    assert "george ◆" in text
    assert "suspended" in text
    assert "-2.0" in text
    assert "…" not in text.replace(f"{HASH[:10]}…", "")
    assert (HASH[:10] in next(line for line in lines if line.startswith("anne"))) == (width >= WIDE_COLUMNS)
    assert "block 10: kill bob" in text


def test_elsewhere_each_block_is_one_line() -> None:
    # Given an output that is no terminal
    output = io.StringIO()
    with Display(Console(file=output, width=40), NAMES) as display:
        # When a block becomes final
        display.note("started")
        display.block(block(12, view=1))
        display.show(tally(), STATES)
    # Then it is one line, however narrow
    assert output.getvalue().splitlines() == ["started", block_line(block(12, view=1))]


def test_the_line_says_who_won_who_was_skipped_and_how_long_it_took() -> None:
    assert block_line(block(12, view=1)) == (
        "block 12  3f9a22b1c0…  by george, view 1 (skipped: bob)  5 transactions, 4 readings  final after 412 ms"
    )
    assert block_line(block(3, finality_ms=None)) == ("block 3  3f9a22b1c0…  by george  5 transactions, 4 readings")
