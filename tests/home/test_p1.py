"""Telegrams: those of real meters are read as dsmr-parser reads them, and nothing that is damaged is taken for one."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from dsmr_parser import telegram_specifications
from dsmr_parser.parsers import TelegramParser
from hypothesis import given
from hypothesis import strategies as st

from home.p1 import (
    MAX_TELEGRAM_BYTES,
    ChecksumMissing,
    ChecksumWrong,
    RegisterMissing,
    Splitter,
    TelegramError,
    TelegramTooLong,
    TornTelegram,
    Unreadable,
    crc16,
    parse,
)
from tests.home.telegrams import KAIFA, SAGEMCOM, sealed, telegram


def test_the_checksum_is_that_of_the_catalogue() -> None:
    # CRC-16/ARC of "123456789", as every catalogue of such sums has it
    assert crc16(b"123456789") == 0xBB3D


def test_a_captured_telegram_is_read_as_dsmr_parser_reads_it() -> None:
    # Given what dsmr-parser finds in the telegram of a real meter
    peer = TelegramParser(telegram_specifications.V4).parse(KAIFA.decode())
    taken = sum(float(one.value) for one in (peer.ELECTRICITY_USED_TARIFF_1, peer.ELECTRICITY_USED_TARIFF_2))
    fed = sum(float(one.value) for one in (peer.ELECTRICITY_DELIVERED_TARIFF_1, peer.ELECTRICITY_DELIVERED_TARIFF_2))
    # When it is read here
    found = parse(KAIFA)
    # Then it is the same, in whole Wh
    assert (found.import_wh, found.export_wh) == (round(taken * 1000), round(fed * 1000)) == (3_016_829, 0)
    assert found.equipment == peer.EQUIPMENT_IDENTIFIER.value
    assert found.time_ms is not None
    assert datetime.fromtimestamp(found.time_ms / 1000, UTC) == peer.P1_MESSAGE_TIMESTAMP.value
    assert found.raw == KAIFA


def test_registers_in_wh_and_summer_time_are_read() -> None:
    # Given one that was decrypted before
    form = {**telegram_specifications.SAGEMCOM_T210_D_R, "general_global_cipher": False}
    peer = TelegramParser(form).parse(SAGEMCOM.decode())
    found = parse(SAGEMCOM)
    assert (found.import_wh, found.export_wh) == (6_545_766, 58)
    assert found.time_ms is not None
    assert datetime.fromtimestamp(found.time_ms / 1000, UTC) == peer.P1_MESSAGE_TIMESTAMP.value


def test_a_meter_without_tariffs_is_read() -> None:
    body = b"/X\r\n\r\n1-0:1.8.0(000012.3456*kWh)\r\n1-0:2.8.0*255(00000001.9999*kWh)\r\n!"
    found = parse(sealed(body))
    assert (found.import_wh, found.export_wh, found.time_ms, found.equipment) == (12_345, 1_999, None, "")


@pytest.mark.parametrize(
    ("raw", "error", "words"),
    [
        (b"", TornTelegram, "not one telegram"),
        (KAIFA[:-8], TornTelegram, "not one telegram"),
        (KAIFA[1:], TornTelegram, "not one telegram"),
        (KAIFA + KAIFA, TornTelegram, "not one telegram"),
        (KAIFA.replace(b"001581.123", b"001581.124"), ChecksumWrong, "it says 6796"),
        (KAIFA.replace(b"!6796", b"!"), ChecksumMissing, "older standard"),
        (b"/" + b"x" * MAX_TELEGRAM_BYTES, TelegramTooLong, "at most"),
        (sealed(b"/X\r\n\r\n1-0:1.8.1(000001.000*kWh)\r\n!"), RegisterMissing, "no register 1-0:2.8.1"),
        (sealed(b"/X\r\n\r\n1-0:2.8.1(000001.000*kWh)\r\n!"), RegisterMissing, "no register 1-0:1.8.1"),
        (sealed(b"/X\r\n\r\n1-0:1.8.1(1e9*kWh)\r\n1-0:2.8.1(1*kWh)\r\n!"), Unreadable, "is written"),
        (sealed(b"/X\r\n\r\n1-0:1.8.1(-1*kWh)\r\n1-0:2.8.1(1*kWh)\r\n!"), Unreadable, "is written"),
        (sealed(b"/X\r\n\r\n1-0:1.8.1(1*m3)\r\n1-0:2.8.1(1*kWh)\r\n!"), Unreadable, "is written"),
        (sealed(b"/X\r\n\r\n1-0:1.8.1(999999999999*kWh)\r\n1-0:2.8.1(1*kWh)\r\n!"), Unreadable, "than any meter"),
        (
            sealed(b"/X\r\n\r\n1-0:1.8.1(1*kWh)\r\n1-0:1.8.1(2*kWh)\r\n1-0:2.8.1(1*kWh)\r\n!"),
            Unreadable,
            "two different",
        ),
        (
            sealed(b"/X\r\n0-0:1.0.0(161313205757W)\r\n1-0:1.8.1(1*kWh)\r\n1-0:2.8.1(1*kWh)\r\n!"),
            Unreadable,
            "time is written",
        ),
    ],
)
def test_what_is_no_whole_telegram_has_a_name(raw: bytes, error: type[TelegramError], words: str) -> None:
    with pytest.raises(error, match=words):
        parse(raw)


@given(place=st.integers(0, len(KAIFA) - 3), flipped=st.integers(1, 255))
def test_no_changed_byte_is_taken(place: int, flipped: int) -> None:
    damaged = bytearray(KAIFA)
    damaged[place] ^= flipped
    if bytes(damaged).upper() == KAIFA.upper() and place >= len(KAIFA) - 6:
        return  # a digit of the checksum in small letters is the same checksum
    with pytest.raises(TelegramError):
        parse(bytes(damaged))


@given(raw=st.binary(max_size=400))
def test_whatever_comes_is_a_telegram_or_a_named_error(raw: bytes) -> None:
    for candidate in (raw, b"/" + raw + b"\r\n!0000\r\n", sealed(b"/X\r\n" + raw + b"\r\n!")):
        with suppress(TelegramError):
            parse(candidate)
        pieces = [*Splitter().feed(candidate)]
        assert all(isinstance(piece, bytes | TelegramError) for piece in pieces)


@given(
    cuts=st.lists(st.integers(0, 4 * len(KAIFA)), max_size=20),
    noise=st.sampled_from([b"", b"\x00\xff\xff\r\n", b"half a line\r\n", KAIFA[:100] + b"\r\n"]),
)
def test_however_the_bytes_come_the_telegrams_are_found(cuts: list[int], noise: bytes) -> None:
    # Given three telegrams with noise before and between, in pieces cut anywhere
    second = telegram(5, 6)
    stream = noise + KAIFA + second + noise + SAGEMCOM
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    splitter, found = Splitter(), []
    # When they are fed
    for start, end in pairwise(places):
        found += splitter.feed(stream[start:end])
    # Then all three come, and each noise is named at least once
    assert [piece for piece in found if isinstance(piece, bytes)] == [KAIFA, second, SAGEMCOM]
    assert any(isinstance(piece, TornTelegram) for piece in found) == bool(noise)
    assert [*splitter.close()] == []


def test_an_endless_telegram_is_given_up() -> None:
    splitter = Splitter()
    found = [*splitter.feed(b"/" + b"x" * MAX_TELEGRAM_BYTES)]
    assert [type(piece) for piece in found] == [TelegramTooLong]
    # And the next is read as if nothing had been
    assert KAIFA in [*splitter.feed(b"xxx\r\n" + KAIFA)]


def test_a_pulled_cable_leaves_a_torn_telegram() -> None:
    splitter = Splitter()
    assert [*splitter.feed(KAIFA[:50])] == []
    assert [type(piece) for piece in splitter.close()] == [TornTelegram]
    assert [*splitter.close()] == []
