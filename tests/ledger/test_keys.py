"""Signatures under domain tags, and addresses for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.keys import AddressError, Domain, SigningKey, address_text, digest, parse_address, verify_signature

KEY = SigningKey(bytes(range(32)))
CHAIN = bytes(32)


def test_the_key_pair_is_ed25519_of_the_seed() -> None:
    # RFC 8032, section 7.1, test 1
    key = SigningKey(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
    assert key.public_key.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


def test_a_seed_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes, not 31"):
        SigningKey(bytes(31))


def test_a_signature_is_good_for_its_purpose_chain_and_message_only() -> None:
    signature = KEY.sign(Domain.VOTE, CHAIN, b"message")

    assert verify_signature(KEY.public_key, Domain.VOTE, CHAIN, b"message", signature)
    assert not verify_signature(KEY.public_key, Domain.PROPOSAL, CHAIN, b"message", signature)
    assert not verify_signature(KEY.public_key, Domain.VOTE, b"\x01" * 32, b"message", signature)
    assert not verify_signature(KEY.public_key, Domain.VOTE, CHAIN, b"messagf", signature)
    assert not verify_signature(SigningKey(b"\x01" * 32).public_key, Domain.VOTE, CHAIN, b"message", signature)
    assert not verify_signature(KEY.public_key, Domain.VOTE, CHAIN, b"message", signature[:63])
    assert not verify_signature(KEY.public_key[:31], Domain.VOTE, CHAIN, b"message", signature)


@given(st.binary(max_size=70), st.binary(max_size=40))
def test_no_bytes_at_all_make_verification_fail_otherwise_than_false(signature: bytes, key: bytes) -> None:
    assert not verify_signature(key, Domain.VOTE, CHAIN, b"message", signature)


def test_no_domain_is_the_prefix_of_another() -> None:
    tags = [domain.value for domain in Domain]
    assert not [(one, other) for one in tags for other in tags if one != other and other.startswith(one)]


@given(st.binary(min_size=32, max_size=32))
def test_an_address_stands_for_its_key(key: bytes) -> None:
    text = address_text(key)
    assert text.startswith("ec")
    assert parse_address(text) == key


def test_a_typing_error_in_an_address_is_noticed() -> None:
    text = address_text(KEY.public_key)
    for at in range(2, len(text)):
        with pytest.raises(AddressError):
            parse_address(text[:at] + ("2" if text[at] == "1" else "1") + text[at + 1 :])


@pytest.mark.parametrize(
    "text", ["", "ec", "anne", "ec0OIl", "xx" + address_text(bytes(32))[2:], "ec3QJmnh", address_text(bytes(32)) + "\n"]
)
def test_what_is_no_address_says_so(text: str) -> None:
    with pytest.raises(AddressError):
        parse_address(text)


def test_a_digest_is_sha256_of_the_parts_joined() -> None:
    assert digest(b"a", b"bc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
