"""Help: the keys of the screen in front, those that work everywhere, and what the colours mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.palette import ATTENTION, CONSUMPTION, FOREGROUND, GOOD, MUTED, PRIMARY, PRODUCTION, WRONG
from tui.screens.base import LiveScreen
from tui.widgets.top_bar import Place

COLOURS = (
    (PRODUCTION, "energy produced"),
    (CONSUMPTION, "energy consumed"),
    (GOOD, "final, or in order"),
    (ATTENTION, "needs attention: a skipped turn, a refusal"),
    (WRONG, "wrong, or away"),
)


class HelpScreen(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q", "dismiss", "Close")]

    def __init__(self, about: LiveScreen, places: Sequence[Place]) -> None:
        super().__init__()
        self._about = about
        self._places = places

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help", classes="dialog") as box:
            box.border_title = f"Help · {self._about.PLACE.title}"
            box.border_subtitle = "Esc closes"
            yield Static(Group(*self._sections()))

    def _sections(self) -> list[RenderableType]:
        own = [
            (binding.key_display or _key_name(binding.key), binding.tooltip or binding.description)
            for binding in type(self._about).BINDINGS
            if isinstance(binding, Binding)
        ]
        places = [(place.key, f"{place.title}: {place.about[0].lower()}{place.about[1:]}") for place in self._places]
        everywhere = [
            ("Tab", "the next panel; arrows, Page Up and Page Down move in it"),
            ("Ctrl+P", "all commands, by name"),
            ("?", "this help"),
            ("q", "leave; the node goes on"),
        ]
        sections: list[RenderableType] = []
        for title, rows in (("On this screen", own), ("Screens", places), ("Everywhere", everywhere)):
            if rows:
                sections += [Text(title, f"bold {PRIMARY}"), _keys(rows), Text()]
        sections.append(Text("Colours", f"bold {PRIMARY}"))
        sections += [Text.assemble(("  ██  ", colour), (meaning, FOREGROUND)) for colour, meaning in COLOURS]
        sections.append(Text("  Each candidate has a colour of its own, the same in every picture.", MUTED))
        return sections


def _keys(rows: Sequence[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=12, style=f"bold {FOREGROUND}")
    grid.add_column(style=MUTED)
    for key, meaning in rows:
        grid.add_row(f"  {key}", meaning)
    return grid


def _key_name(key: str) -> str:
    names = {"slash": "/", "escape": "Esc", "left": "←", "right": "→", "up": "↑", "down": "↓", "enter": "Enter"}
    return " ".join(names.get(part, part) for part in key.split(","))
