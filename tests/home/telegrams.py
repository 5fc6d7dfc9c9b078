"""Telegrams for tests: two of real meters, and made ones with a right checksum."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from home.p1 import crc16

DIRECTORY = Path(__file__).parent / "telegrams"
KAIFA = (DIRECTORY / "kaifa-dsmr4.telegram").read_bytes()
SAGEMCOM = (DIRECTORY / "sagemcom-t210.telegram").read_bytes()
EQUIPMENT = "4530303236303030303638"


def sealed(body: bytes) -> bytes:
    """``body`` from / up to and including !, with its checksum and line's end."""
    return body + f"{crc16(body):04X}\r\n".encode()


def telegram(import_wh: int, export_wh: int, time_ms: int | None = None, equipment: str = EQUIPMENT) -> bytes:
    """As a DSMR 5 meter in winter says it, all in the first tariff but one Wh."""
    lines = ["/ECL5E-CLOUD-TEST", "", "1-3:0.2.8(50)"]
    if time_ms is not None:
        local = datetime.fromtimestamp(time_ms // 1000, UTC) + timedelta(hours=1)
        lines.append(f"0-0:1.0.0({local:%y%m%d%H%M%S}W)")
    second = min(1, import_wh)
    lines += [
        f"0-0:96.1.1({equipment})",
        f"1-0:1.8.1({_kwh(import_wh - second)}*kWh)",
        f"1-0:1.8.2({_kwh(second)}*kWh)",
        f"1-0:2.8.1({_kwh(export_wh)}*kWh)",
        f"1-0:2.8.2({_kwh(0)}*kWh)",
        "1-0:1.7.0(00.244*kW)",
        "!",
    ]
    return sealed("\r\n".join(lines).encode())


def _kwh(energy_wh: int) -> str:
    return f"{energy_wh // 1000:06}.{energy_wh % 1000:03}"
