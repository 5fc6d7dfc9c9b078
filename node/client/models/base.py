"""What every struct of the API shares; the rules are in the package's docstring."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec


def iso_time(time_ms: int) -> str:
    """ISO 8601 with milliseconds, in UTC: ``2026-05-01T12:00:00.000Z``."""
    moment = datetime.fromtimestamp(time_ms // 1000, UTC).replace(tzinfo=None)
    return f"{moment.isoformat()}.{time_ms % 1000:03d}Z"


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all that the API says."""


class Party(Model, frozen=True, kw_only=True):
    """An account, for people: ``name`` is the member's, None for an account that is no member's."""

    address: str
    name: str | None = None

    @property
    def label(self) -> str:
        """The name, or the address where there is none."""
        return self.name if self.name is not None else self.address
