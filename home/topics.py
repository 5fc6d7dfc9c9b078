"""The MQTT topics of a home, all below ``mqtt.prefix``, and what they carry. Documented in docs/users-guide.md.

| topic | way | retained | what |
| --- | --- | --- | --- |
| ``telegram`` | in | no | one whole DSMR P1 telegram, from ``/`` to its checksum |
| ``signed`` | in | no | one reading as the chain takes it, signed by the meter: canonical CBOR |
| ``reading`` | out | yes | JSON: the newest reading: period, its begin and end, registers |
| ``breaker`` | out | yes | JSON: ``open`` or ``closed``, and why |
| ``shedding`` | out | yes | JSON: what to switch off now, of the whole order, and why |
| ``action`` | out | no | JSON: what the autopilot did, and why, in one line |
| ``status`` | out | yes | JSON: as ``ecloud home status --json``; ``{"state": "offline"}`` is the last will |
"""

from __future__ import annotations

from typing import Final

TELEGRAM: Final = "telegram"
SIGNED: Final = "signed"
READING: Final = "reading"
BREAKER: Final = "breaker"
SHEDDING: Final = "shedding"
ACTION: Final = "action"
STATUS: Final = "status"

OFFLINE: Final = b'{"state":"offline"}'


def topic(prefix: str, name: str) -> str:
    return f"{prefix}/{name}"
