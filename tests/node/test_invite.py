"""The invite's text: one form, golden, and a clear sentence for every way in which it can be wrong."""

from __future__ import annotations

import json
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from ledger.encoding import encode
from ledger.keys import Domain
from node.invite import (
    MAX_INVITE_BYTES,
    Invite,
    InviteBody,
    InviteError,
    InviteExpired,
    SignedInvite,
    decode_invite,
    decode_signed,
    sign_invite,
)
from p2p.peer_identity import peer_id_from_public_key
from tests.node.joining_examples import CHAIN_ID, NOW_MS, VECTORS_FILE, address_of, make_invite, vectors
from tests.support.chain import key_for

ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
ANNE = key_for("account", "anne")


def problem_of(text: str) -> str:
    with pytest.raises(InviteError) as caught:
        decode_invite(text)
    return str(caught.value)


def resigned(body: InviteBody) -> Invite:
    """The body signed as it is, without the checks of ``sign_invite``."""
    encoded = encode(body)
    raw = encode(SignedInvite(body=encoded, signature=ANNE.sign(Domain.INVITE, body.chain_id, encoded)))
    return Invite(raw, body)


def test_golden_bytes() -> None:
    assert vectors() == json.loads(VECTORS_FILE.read_text("utf-8"))


def test_what_is_written_is_read_again() -> None:
    # Given
    invite = make_invite()
    # When
    read = decode_invite(invite.text())
    # Then
    assert read == invite
    assert read.addresses == (address_of("anne"),)
    assert read.body.member == ANNE.public_key
    assert (read.body.network, read.body.name) == ("Mill Lane", "dora")


def test_it_is_one_word_of_letters_and_digits() -> None:
    text = make_invite().text()
    assert text.startswith("ecloud1")
    assert set(text[7:]) <= set(ALPHABET)
    assert len(text) < 450


def test_white_space_and_capitals_do_no_harm() -> None:
    text = make_invite().text()
    folded = "\n  ".join(text[place : place + 60] for place in range(0, len(text), 60))
    assert decode_invite(f" {folded}\n") == decode_invite(text.upper()) == make_invite()


def test_one_character_changed_is_always_seen() -> None:
    text = make_invite().text()
    for place in Random(1).sample(range(7, len(text)), 40):
        for other in ALPHABET:
            if other != text[place]:
                with pytest.raises(InviteError):
                    decode_invite(text[:place] + other + text[place + 1 :])


@given(some.integers(min_value=1, max_value=300))
def test_cut_off_it_says_how_much_is_missing(missing: int) -> None:
    text = make_invite().text()
    assert f"cut off: {missing} characters are missing" in problem_of(text[:-missing])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "begins with 'ecloud1', not with ''"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "begins with 'ecloud1', not with 'bc1qw50'"),
        ("ecloud1", "cut off"),
        ("ecloud1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqq", "checksum does not match"),
        ("x" * 5_000, "at most 4096 characters"),
    ],
)
def test_what_is_no_invite(text: str, sentence: str) -> None:
    assert sentence in problem_of(text)


def test_a_character_that_occurs_in_none() -> None:
    text = make_invite().text()
    assert "character 21 of the invite, 'b', occurs in none" in problem_of(text[:20] + "b" + text[21:])


def test_mixed_case() -> None:
    text = make_invite().text()
    assert "mixes small and capital letters" in problem_of(text[:20] + text[20:].upper())


def test_tampered_and_given_a_fresh_checksum_the_signature_fails() -> None:
    body = msgspec.structs.replace(make_invite().body, network="Hill Lane")
    signed = SignedInvite(body=encode(body), signature=make_invite().raw[-64:])
    assert "forged" in problem_of(Invite(encode(signed), body).text())


def test_another_version_asks_for_another_program() -> None:
    body = msgspec.structs.replace(make_invite().body, version=2)
    assert "version 2, this program knows 1: update" in problem_of(resigned(body).text())


def test_bytes_that_are_no_invite() -> None:
    raw = encode(SignedInvite(body=encode((1, 2)), signature=bytes(64)))
    assert "holds no invite" in problem_of(Invite(raw, make_invite().body).text())
    with pytest.raises(InviteError):
        decode_signed(b"\x82" * (MAX_INVITE_BYTES + 1))


def test_an_address_that_cannot_be_dialled() -> None:
    body = make_invite().body
    broken = msgspec.structs.replace(body.addresses[0], protocol="udp")
    assert "address that cannot be used" in problem_of(
        resigned(msgspec.structs.replace(body, addresses=(broken,))).text()
    )


def test_expired() -> None:
    invite = make_invite(expires_ms=NOW_MS)
    invite.require_current(NOW_MS)
    with pytest.raises(InviteExpired, match="ask whoever sent it for a new one"):
        invite.require_current(NOW_MS + 1)


@pytest.mark.parametrize(
    ("addresses", "sentence"),
    [
        ((), "1 to 8 addresses"),
        ((address_of("anne"),) * 9, "1 to 8 addresses"),
        (("/ip4/1.2.3.4/tcp/4001",), "lacks the peer's id"),
        (("nonsense",), "is not an address"),
        (
            tuple(
                f"/dns4/{'x' * 120}.example/tcp/4001/p2p/{peer_id_from_public_key(ANNE.public_key)}" for _ in range(8)
            ),
            "name fewer addresses",
        ),
    ],
)
def test_what_cannot_be_signed(addresses: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(InviteError, match=sentence):
        sign_invite(
            ANNE,
            chain_id=CHAIN_ID,
            network="Mill Lane",
            name="",
            addresses=addresses,
            height=0,
            block_hash=CHAIN_ID,
            expires_ms=NOW_MS,
        )


@given(some.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with pytest.raises(InviteError):
        decode_signed(data)
