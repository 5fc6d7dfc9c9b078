"""The profile file: what is packed comes back, and damage is found."""

import json
import random

import pytest

from home.profiles.archive import RESOLUTION, SAMPLES_PER_YEAR, ProfilesDamaged, pack, unpack


def columns() -> dict[str, list[int]]:
    chance = random.Random(1)  # values that jump up and down, the limits among them
    return {
        "steps": [RESOLUTION * (sample % 2) for sample in range(SAMPLES_PER_YEAR)],
        "noise": [chance.randint(0, RESOLUTION) for _ in range(SAMPLES_PER_YEAR)],
        "flat": [1] * SAMPLES_PER_YEAR,
    }


@pytest.fixture(scope="module")
def content() -> bytes:
    return pack(columns(), "source", "licence", "first")


def test_what_is_packed_comes_back(content: bytes) -> None:
    for name, values in columns().items():
        assert unpack(content, name).tolist() == values


def test_the_first_line_says_what_the_file_is(content: bytes) -> None:
    header = json.loads(content.split(b"\n", 1)[0])
    assert header["source"] == "source"
    assert header["licence"] == "licence"
    assert [column["name"] for column in header["columns"]] == ["steps", "noise", "flat"]


def test_an_unknown_column_is_named(content: bytes) -> None:
    with pytest.raises(ProfilesDamaged, match="no column other"):
        unpack(content, "other")


@pytest.mark.parametrize("cut", [0, 1, 100, 2000, 50_000])
def test_a_truncated_file_is_damaged(content: bytes, cut: int) -> None:
    with pytest.raises(ProfilesDamaged):
        unpack(content[:cut], "noise")


def test_a_flipped_byte_in_a_column_is_damaged(content: bytes) -> None:
    start = content.index(b"\n") + 1
    for place in range(start + 2000, len(content) - 2000, 7001):
        flipped = bytearray(content)
        flipped[place] ^= 0x10
        with pytest.raises(ProfilesDamaged):
            unpack(bytes(flipped), "noise")


def test_values_that_do_not_match_the_header_are_damaged(content: bytes) -> None:
    assert b'"sum":35136}' in content
    with pytest.raises(ProfilesDamaged, match="add up"):
        unpack(content.replace(b'"sum":35136}', b'"sum":35137}'), "flat")


@pytest.mark.parametrize("header", [b"", b"{}", b"\xff", b"[1]", b"x" * 100_000])
def test_another_file_is_damaged(header: bytes) -> None:
    with pytest.raises(ProfilesDamaged):
        unpack(header + b"\n", "flat")
