"""Colours by role, so that a colour means the same on every screen.

1. Production is sun yellow, consumption water blue, what is good green, what needs attention orange, what is wrong red.
2. Every member of the committee has one colour, the same in each picture: its place among the sorted addresses decides.
3. Style sheets use these through the theme's variables; table cells and charts, which know no variables, use them here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from textual.theme import Theme

BACKGROUND: Final = "#0d1117"
SURFACE: Final = "#131922"
PANEL: Final = "#1c2430"
FOREGROUND: Final = "#d8dee6"
MUTED: Final = "#7f8b99"
FAINT: Final = "#3a4553"
PRIMARY: Final = "#3fb6a8"
PRODUCTION: Final = "#f2c14e"
CONSUMPTION: Final = "#5aa9e6"
GOOD: Final = "#6cc07a"
ATTENTION: Final = "#f0934a"
WRONG: Final = "#ec6a5e"

MEMBER_COLOURS: Final = (
    "#3fb6a8",
    "#f2c14e",
    "#5aa9e6",
    "#e57fa2",
    "#b294e0",
    "#f0934a",
    "#8fc76b",
    "#9db4c8",
)

THEME: Final = Theme(
    name="ecloud",
    primary=PRIMARY,
    secondary=CONSUMPTION,
    accent=PRODUCTION,
    warning=ATTENTION,
    error=WRONG,
    success=GOOD,
    foreground=FOREGROUND,
    background=BACKGROUND,
    surface=SURFACE,
    panel=PANEL,
    dark=True,
    variables={
        "muted": MUTED,
        "faint": FAINT,
        "production": PRODUCTION,
        "consumption": CONSUMPTION,
        "border": PRIMARY,
        "border-blurred": FAINT,
        "scrollbar": FAINT,
        "scrollbar-hover": MUTED,
        "scrollbar-active": PRIMARY,
        "scrollbar-background": SURFACE,
        "scrollbar-background-hover": SURFACE,
        "scrollbar-background-active": SURFACE,
        "scrollbar-corner-color": SURFACE,
        "footer-key-foreground": PRIMARY,
        "footer-background": PANEL,
        "block-cursor-background": "#24514f",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-text-style": "bold",
        "block-cursor-blurred-background": PANEL,
        "block-cursor-blurred-foreground": FOREGROUND,
        "block-cursor-blurred-text-style": "none",
    },
)


def member_colours(addresses: Iterable[str]) -> dict[str, str]:
    """A colour for each address."""
    ordered = sorted(set(addresses))
    return {address: MEMBER_COLOURS[place % len(MEMBER_COLOURS)] for place, address in enumerate(ordered)}
