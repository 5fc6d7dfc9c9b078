"""DSMR P1 telegrams: cut out of a stream of bytes, checked, and read. No clock, no cable.

Source: "Dutch Smart Meter Requirements, P1 Companion Standard 5.0.2", sections 5.12, 6.2 and 6.4 (the same telegrams
come from meters in Belgium, Luxembourg, Hungary, Lithuania, Ireland and Sweden).

1. A telegram begins with ``/`` at the start of a line and ends with ``!``, four hexadecimal digits and a line's end.
   The digits are the CRC-16 (x¹⁶ + x¹⁵ + x² + 1, reflected, from 0) of all bytes from ``/`` to ``!``, both included.
2. What does not keep to that is one named error for each piece: a new ``/`` before the end makes the piece before it
   torn; a telegram of more than MAX_TELEGRAM_BYTES is none; what stands between two telegrams is rubbish. After an
   error the next telegram is read as if nothing had been.
3. Import is 1.8.1 + 1.8.2, export 2.8.1 + 2.8.2; where a meter has no tariffs, 1.8.0 and 2.8.0. In Wh, exactly: the
   standard has three decimals of a kWh; what is finer is cut off the sum.
4. A telegram without a checksum (meters before DSMR 4) is refused: what is signed must have come whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

MAX_TELEGRAM_BYTES: Final = 8 * 1024
MAX_REGISTER_WH: Final = 10**12

_OBJECT: Final = re.compile(rb"^(1-0:[12]\.8\.[012]|0-0:1\.0\.0|0-0:96\.1\.1)(?:\*255)?(\(.*\))\r?$", re.MULTILINE)
_VALUE: Final = re.compile(rb"\((\d{1,12})(?:\.(\d{1,9}))?\*(k?)Wh\)")
_TIME: Final = re.compile(rb"\((\d{12})([SW])\)")
_END: Final = re.compile(rb"^!([0-9A-Fa-f]{4})?(\r?\n)", re.MULTILINE)
_START: Final = re.compile(rb"^/", re.MULTILINE)


class TelegramError(Exception):
    """A telegram that is not used; ``word`` counts its kind."""

    word = "telegram"


class TornTelegram(TelegramError):
    """It broke off before its end, or does not begin at its beginning."""

    word = "torn"


class TelegramTooLong(TelegramError):
    word = "too-long"


class ChecksumWrong(TelegramError):
    word = "checksum-wrong"


class ChecksumMissing(TelegramError):
    word = "checksum-missing"


class RegisterMissing(TelegramError):
    """It has no register of what is taken in, or of what is fed in."""

    word = "register-missing"


class Unreadable(TelegramError):
    """A register or a time that is not written as the standard has it."""

    word = "unreadable"


@dataclass(frozen=True, slots=True)
class Telegram:
    """``raw`` from ``/`` to the end of its last line. ``time_ms`` is the meter's own time, UTC, where it tells one;
    ``equipment`` its number, as it is written.
    """

    raw: bytes
    import_wh: int
    export_wh: int
    time_ms: int | None
    equipment: str


def crc16(content: bytes) -> int:
    """CRC-16/ARC, as rule 1 has it."""
    value = 0
    for byte in content:
        value = value >> 8 ^ _TABLE[(value ^ byte) & 0xFF]
    return value


def parse(raw: bytes) -> Telegram:
    """Reads one whole telegram. Errors: TelegramError."""
    if len(raw) > MAX_TELEGRAM_BYTES:
        raise TelegramTooLong(f"a telegram of {len(raw)} bytes; at most {MAX_TELEGRAM_BYTES}")
    end = _END.search(raw)
    if not raw.startswith(b"/") or end is None or end.end() != len(raw):
        raise TornTelegram(f"not one telegram from / to its checksum: {_shown(raw)}")
    if end[1] is None:
        raise ChecksumMissing("a telegram without a checksum: the meter speaks an older standard than DSMR 4")
    told, found = int(end[1], 16), crc16(raw[: end.start() + 1])
    if told != found:
        raise ChecksumWrong(f"the telegram's checksum is {found:04X}, it says {told:04X}")
    objects: dict[bytes, bytes] = {}
    for code, value in _OBJECT.findall(raw):
        if objects.setdefault(code, value) != value:
            raise Unreadable(f"the telegram has two different values of {code.decode()}")
    return Telegram(
        raw=raw,
        import_wh=_register(objects, b"1-0:1.8"),
        export_wh=_register(objects, b"1-0:2.8"),
        time_ms=_time_ms(objects.get(b"0-0:1.0.0")),
        equipment=objects.get(b"0-0:96.1.1", b"()")[1:-1].decode("ascii", "replace"),
    )


class Splitter:
    """Cuts what a cable brings into telegrams, see rules 1 and 2."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, content: bytes) -> Iterator[bytes | TelegramError]:
        """Whole telegrams, unchecked, and what was none. Holds what is not whole yet."""
        self._held += content
        while self._held:
            start = _START.search(self._held)
            if start is None:
                yield from self._give_up_rubbish()
                return
            if start.start():
                rubbish, self._held = self._held[: start.start()], self._held[start.start() :]
                if rubbish.strip():
                    yield TornTelegram(f"bytes outside a telegram: {_shown(rubbish)}")
                continue
            end, again = _END.search(self._held), _START.search(self._held, 1)
            if again is not None and (end is None or again.start() < end.start()):
                torn, self._held = self._held[: again.start()], self._held[again.start() :]
                yield TornTelegram(f"a telegram broke off: {_shown(torn)}")
            elif end is not None:
                telegram, self._held = self._held[: end.end()], self._held[end.end() :]
                yield telegram
            elif len(self._held) > MAX_TELEGRAM_BYTES:
                self._held = self._held[self._held.rfind(b"\n") + 1 :][:MAX_TELEGRAM_BYTES].removeprefix(b"/")
                yield TelegramTooLong(f"a telegram without an end in {MAX_TELEGRAM_BYTES} bytes")
            else:
                return

    def close(self) -> Iterator[TelegramError]:
        """The cable was pulled: what is held is torn."""
        held, self._held = self._held, b""
        if held.strip():
            yield TornTelegram(f"a telegram broke off: {_shown(held)}")

    def _give_up_rubbish(self) -> Iterator[TelegramError]:
        """The last line may still be the beginning of something; what is before it is not."""
        line = self._held.rfind(b"\n") + 1
        if len(self._held) - line > MAX_TELEGRAM_BYTES:
            line = len(self._held)
        rubbish, self._held = self._held[:line], self._held[line:]
        if rubbish.strip():
            yield TornTelegram(f"bytes outside a telegram: {_shown(rubbish)}")


def _register(objects: dict[bytes, bytes], code: bytes) -> int:
    """Errors: RegisterMissing, Unreadable."""
    tariffs = [objects[name] for name in (code + b".1", code + b".2") if name in objects]
    found = tariffs or ([objects[code + b".0"]] if code + b".0" in objects else [])
    if not found:
        raise RegisterMissing(f"the telegram has no register {code.decode()}.1, .2 or .0")
    # In 10⁻⁹ Wh, of which both units and all decimals the pattern takes are whole numbers.
    total = sum(_nano_wh(value, code) for value in found) // 10**9
    if total > MAX_REGISTER_WH:
        raise Unreadable(f"register {code.decode()} is {total} Wh, more than any meter counts")
    return total


def _nano_wh(value: bytes, code: bytes) -> int:
    match = _VALUE.fullmatch(value)
    if match is None:
        raise Unreadable(f"register {code.decode()} is written {_shown(value)}, not like (001581.123*kWh)")
    whole, decimals, kilo = match[1], match[2] or b"", match[3]
    return int(whole + decimals.ljust(9, b"0")) * (1_000 if kilo else 1)


def _time_ms(value: bytes | None) -> int | None:
    """The meter's local time, which is Central European: S is two hours ahead of UTC, W one. Errors: Unreadable."""
    if value is None:
        return None
    match = _TIME.fullmatch(value)
    try:
        if match is None:
            raise ValueError("another form")  # noqa: TRY301 - told like the error of the parser
        local = datetime.strptime(match[1].decode(), "%y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise Unreadable(f"the telegram's time is written {_shown(value)}, not like (161113205757W)") from error
    return int((local - timedelta(hours=2 if match[2] == b"S" else 1)).timestamp()) * 1000


def _shown(content: bytes) -> str:
    text = content[:40].decode("ascii", "replace")
    return repr(text) + ("…" if len(content) > 40 else "")


def _table() -> tuple[int, ...]:
    entries = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1  # noqa: PLW2901
        entries.append(value)
    return tuple(entries)


_TABLE: Final = _table()
