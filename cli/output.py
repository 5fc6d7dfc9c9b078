"""How results are written: facts as two columns of plain text, lists as tables, JSON for programs.

Texts that others chose (names, memos, what a node answers) lose all control characters: nobody writes to the reader's
terminal but this program.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    from node.client.models import Party

PIPE_WIDTH: Final = 400
"""Cells of a table that no terminal shows: enough for all of them, so that nothing is folded or cut."""
INDENT: Final = "  "


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    import msgspec

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def note(sentence: str) -> None:
    """For the person at the terminal, on standard error."""
    typer.echo("\n".join(plain(line) for line in sentence.split("\n")), err=True)


def print_facts(rows: Iterable[tuple[str, str]], *, err: bool = False) -> None:
    """Names on the left, what there is to say on the right; a value of several lines stays in its column."""
    rows = list(rows)
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        first, *more = [plain(line) for line in value.split("\n")]
        typer.echo(f"{name:<{width}}{INDENT}{first}".rstrip(), err=err)
        for line in more:
            typer.echo(f"{'':<{width}}{INDENT}{line}", err=err)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """A column whose title begins with ``>`` is aligned to the right. ``empty`` is said of no rows at all."""
    if not rows:
        typer.echo(empty)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    on_terminal = sys.stdout.isatty()
    table = Table(box=box.SIMPLE_HEAD if on_terminal else None, pad_edge=False, header_style="bold")
    for title in columns:
        right = title.startswith(">")
        table.add_column(
            Text(title.removeprefix(">")), justify="right" if right else "left", no_wrap=right, overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    width = shutil.get_terminal_size().columns if on_terminal else PIPE_WIDTH
    console = Console(width=width, soft_wrap=False)
    with console.capture() as written:
        console.print(table)
    for line in written.get().splitlines():
        typer.echo(line.rstrip())


def party(who: Party) -> str:
    """``bob  ec…``; the address alone where there is no name."""
    return who.address if who.name is None else f"{who.name}  {who.address}"


def plain(text: str) -> str:
    """One line without control characters."""
    return "".join(character if character.isprintable() else "�" for character in text)


def moment(time_ms: int | None) -> str:
    """``2026-05-01 14:03:22 UTC``; ``–`` where it is not known."""
    from node.client.format import date_time

    return "–" if time_ms is None else f"{date_time(time_ms)} UTC"
