"""``ecloud energy``: meters and their readings; ``ecloud energy pool`` is in ``cli.pool``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.common import Api, AsJson, DataDirectory, DevnetNode, Where, ask, fail, new_app
from cli.output import moment, print_json, print_table
from cli.pool import app as pool_app

if TYPE_CHECKING:
    from node.client.client import NodeClient
    from node.client.models import ReadingList

app = new_app("Meters and their readings, and sharing pools.")
app.add_typer(pool_app, name="pool")

LIMIT: Final = 20
MAX_READINGS: Final = 1_000
SHORT_KEY: Final = 12


@app.command()
def meters(api: Api = None, data_dir: DataDirectory = None, node: DevnetNode = None, json: AsJson = False) -> None:
    """List all meters, whose they are, and where their registers stand."""
    found = ask(Where(api, data_dir, node), lambda client: client.meters())
    if json:
        print_json(found)
        return
    from node.client.format import count, energy

    print_table(
        ["owner", "meter", "kind", "role", ">taken in, kWh", ">fed in, kWh", "last period's end", ""],
        [
            [
                one.owner.label,
                one.meter[:SHORT_KEY],
                one.kind,
                one.role,
                energy(one.import_wh, unit=False, aligned=True),
                energy(one.export_wh, unit=False, aligned=True),
                moment(one.last_period_end_ms) if one.last_period is not None else "no reading yet",
                "suspended" if one.suspended else f"up to {count(one.import_nameplate_w)} W in",
            ]
            for one in found.meters
        ],
        empty="there are no meters",
    )


@app.command()
def readings(
    who: Annotated[
        str | None,
        typer.Argument(
            metavar="[WHO]", help="Only of this member's meters, or of the meter whose key begins so. [default: all]"
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=MAX_READINGS, help="How many at the most.")] = LIMIT,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    json: AsJson = False,
) -> None:
    """List the latest readings, newest period first: energy taken from and fed into the grid, and votes minted."""
    found = ask(Where(api, data_dir, node), lambda client: _readings(client, who, limit))
    if json:
        print_json(found)
        return
    from node.client.format import energy, vote

    print_table(
        [
            "period begins",
            "owner",
            "meter",
            ">taken in, kWh",
            ">fed in, kWh",
            ">minted, VOTE",
            ">register in",
            ">register out",
        ],
        [
            [
                moment(one.period_start_ms),
                one.owner.label,
                one.meter[:SHORT_KEY],
                "–" if one.imported_wh is None else energy(one.imported_wh, unit=False, aligned=True),
                "–" if one.exported_wh is None else energy(one.exported_wh, unit=False, aligned=True),
                vote(one.minted_mvote, unit=False, aligned=True),
                energy(one.import_wh, unit=False, aligned=True),
                energy(one.export_wh, unit=False, aligned=True),
            ]
            for one in found.readings
        ],
        empty="no readings are kept: none has been accepted lately",
    )


async def _readings(client: NodeClient, who: str | None, limit: int) -> ReadingList:
    """Ends the command where nobody and no meter is called so."""
    if who is None:
        return await client.readings(limit=limit)
    known = (await client.meters()).meters
    chosen = [one.meter for one in known if who in {one.owner.name, one.owner.address} or one.meter.startswith(who)]
    if not chosen:
        owners = ", ".join(sorted({one.owner.label for one in known}))
        fail(f"no meter, and no owner of one, is called {who!r}; owners are: {owners}")
    answers = [await client.readings(meter=meter, limit=limit) for meter in chosen]
    merged = sorted((one for answer in answers for one in answer.readings), key=lambda one: -one.period)
    return type(answers[0])(height=answers[0].height, readings=merged[:limit])
