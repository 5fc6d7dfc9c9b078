"""Join requests and denials as bytes: what is signed by whom, and what is refused before any state is asked."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from ledger.encoding import encode
from ledger.records import MeterKind, MeterRole
from node.joining import (
    DENIAL,
    MAX_JOIN_MESSAGE_BYTES,
    Denial,
    JoinError,
    JoinForged,
    JoinMessage,
    JoinRequest,
    SignedJoin,
    decode_message,
    decode_request,
    sign_denial,
    sign_request,
)
from tests.node.joining_examples import NOW_MS, make_denial, make_invite, make_meter, make_request
from tests.support.chain import key_for


def test_a_request_comes_out_as_it_went_in() -> None:
    # Given
    request = make_request(make_invite())
    # When
    read = decode_message(request.message)
    # Then
    assert isinstance(read, JoinRequest)
    assert read == request
    read.require_signatures()
    (meter,) = read.registrations()
    assert (meter.owner, meter.role) == (key_for("account", "dora").public_key, MeterRole.CONNECTION)
    assert (meter.kind, meter.export_nameplate_w) == (MeterKind.SOLAR, 9_800)
    assert len(request.message) < 1_000


def test_the_largest_request_fits() -> None:
    invite = make_invite(addresses=tuple(f"/dns4/{'x' * 60}/tcp/4001/p2p/{peer}" for peer in _peers(7)))
    meters = tuple(
        msgspec.structs.replace(make_meter(invite), key=key_for("meter", f"{number}").public_key) for number in range(4)
    )
    request = make_request(invite, name="d" * 32, feeder="mill lane", meters=meters)
    assert decode_message(request.message) == request
    assert [meter.role for meter in request.registrations()] == [MeterRole.CONNECTION] + 3 * [MeterRole.SUB]


def _peers(count: int) -> list[str]:
    from p2p.peer_identity import peer_id_from_public_key

    return [peer_id_from_public_key(key_for("node", f"{number}").public_key) for number in range(count)]


@pytest.mark.parametrize("which", ["account_signature", "node_signature"])
def test_both_keys_must_agree(which: str) -> None:
    request = make_request(make_invite())
    forged = decode_request(encode(msgspec.structs.replace(request.signed, **{which: bytes(64)})))
    with pytest.raises(JoinForged, match=which.split("_", maxsplit=1)[0]):
        forged.require_signatures()


def test_a_meter_whose_key_agreed_to_another_account() -> None:
    invite = make_invite()
    stolen = make_meter(invite, "george")
    with pytest.raises(JoinForged, match="has not signed the account id"):
        make_request(invite, meters=(stolen,)).require_signatures()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"version": 2}, "version 2"),
        ({"node_key": key_for("account", "dora").public_key}, "a key each"),
        ({"expires_ms": NOW_MS}, "ends after it was made"),
        ({"expires_ms": make_invite().body.expires_ms + 1}, "with its invite at the latest"),
        ({"name": "Dora"}, "a name has 1 to 32"),
        ({"name": ""}, "a name has 1 to 32"),
        ({"name": "d" * 33}, "not a join request"),
        ({"feeder": "f" * 65}, "not a join request"),
        ({"meters": (msgspec.structs.replace(make_meter(make_invite()), kind=9),)}, "no meter has kind 9"),
        ({"meters": (make_meter(make_invite()),) * 2}, "a key each"),
        ({"meters": tuple(make_meter(make_invite(), str(n)) for n in range(5))}, "not a join request"),
        ({"invite": b"\x80"}, "holds no invite"),
    ],
)
def test_what_nobody_could_grant(change: dict[str, object], sentence: str) -> None:
    request = make_request(make_invite())
    body = msgspec.structs.replace(request.body, **change)
    with pytest.raises(JoinError, match=sentence):
        decode_request(encode(SignedJoin(encode(body), bytes(64), bytes(64))))


def test_a_wish_is_checked_before_it_is_signed() -> None:
    with pytest.raises(JoinError, match="a name has 1 to 32"):
        sign_request(
            key_for("account", "dora"),
            key_for("node", "dora"),
            make_invite(),
            name="not a name",
            feeder="mill lane",
            made_ms=NOW_MS,
            expires_ms=NOW_MS + 1,
        )


def test_a_denial() -> None:
    # Given
    request = make_request(make_invite())
    denial = make_denial(request)
    # When
    read = decode_message(denial.message)
    # Then
    assert isinstance(read, Denial)
    assert read == denial
    read.require_signature(request.invite.body.chain_id)
    with pytest.raises(JoinForged):
        read.require_signature(bytes(32))
    with pytest.raises(JoinError, match="at most 200 characters"):
        sign_denial(key_for("account", "anne"), bytes(32), bytes(32), bytes(32), "x" * 201)


def test_other_messages() -> None:
    with pytest.raises(JoinError, match="tag 3"):
        decode_message(encode(JoinMessage(3, b"")))
    with pytest.raises(JoinError, match="not a join message"):
        decode_message(encode(JoinMessage(DENIAL, b"\x80")))
    with pytest.raises(JoinError, match="exceed the limit"):
        decode_message(bytes(MAX_JOIN_MESSAGE_BYTES + 1))


@given(some.binary(max_size=300))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with pytest.raises(JoinError):
        decode_message(data)
