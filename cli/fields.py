"""A transaction's payload for people: the unit by the suffix of the field's name (``node.client.models``, rule 2), so
that kinds this program does not know yet are shown readably too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from node.client import format as show

MAX_FIELDS: Final = 100
INDENT: Final = "  "

_UNITS: Final[tuple[tuple[str, Callable[[int], str]], ...]] = (
    ("_at_ms", lambda value: f"{show.date_time(value)} UTC"),
    ("_ms", show.duration),
    *show.UNITS,
)


def payload_facts(payload: dict[str, Any], indent: str = "") -> list[tuple[str, str]]:
    """Name and value of each field in order; nested ones follow indented."""
    rows: list[tuple[str, str]] = []
    for name, value in payload.items():
        if name == "token":
            continue  # said with the amount
        label, text = _fact(name, value, payload)
        if isinstance(value, dict) and text is None:
            rows += [(indent + label, ""), *payload_facts(value, indent + INDENT)]
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            for place, item in enumerate(value, 1):
                rows += [(f"{indent}{label} {place}", ""), *payload_facts(item, indent + INDENT)]
        else:
            rows.append((indent + label, text or "–"))
    return rows[:MAX_FIELDS]


def _fact(name: str, value: Any, payload: dict[str, Any]) -> tuple[str, str | None]:
    """Label and text; None for what has fields of its own."""
    if isinstance(value, dict):
        is_party = set(value) == {"address", "name"}
        return show.words(name), f"{value['name'] or ''}  {value['address']}".strip() if is_party else None
    if isinstance(value, list):
        return show.words(name), ", ".join(str(item) for item in value)
    if name == "amount" and payload.get("token") in show.TOKENS:
        return name, show.TOKENS[payload["token"]](value)
    if isinstance(value, int) and not isinstance(value, bool):
        for suffix, write in _UNITS:
            if name.endswith(suffix):
                return show.words(name.removesuffix(suffix)), write(value)
        return show.words(name), show.count(value)
    return show.words(name), "" if value is None else str(value)
