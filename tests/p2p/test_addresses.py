"""Multiaddrs read strictly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.addresses import (
    TcpAddress,
    pack_address,
    parse_address,
    parse_peer_address,
    parse_route,
    unpack_address,
)
from p2p.network import NetworkError
from tests.p2p.hostile import peer_id

PEER = peer_id("bob")


@pytest.mark.parametrize(
    "text",
    [
        "/ip4/0.0.0.0/tcp/0",
        "/ip6/::1/tcp/65535",
        f"/dns4/home.example/tcp/4001/p2p/{PEER}",
        f"/ip4/192.0.2.1/tcp/4001/p2p/{PEER}",
    ],
)
def test_an_address_is_written_as_it_was_read(text: str) -> None:
    assert str(parse_address(text)) == text


def test_the_parts_of_an_address() -> None:
    assert parse_peer_address(f"/ip4/192.0.2.1/tcp/4001/p2p/{PEER}") == (
        PEER,
        TcpAddress("ip4", "192.0.2.1", 4001, PEER),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "192.0.2.1:4001",
        "/ip4/192.0.2.1",
        "/ip4/192.0.2.1/udp/4001",
        "/ip4/192.0.2.1/tcp/65536",
        "/ip4/192.0.2.1/tcp/-1",
        "/ip4/192.0.2.1/tcp/x",
        "/ip4/::1/tcp/1",
        "/ip6/192.0.2.1/tcp/1",
        "/ip4/192.0.2.1/tcp/1/ws",
        "/ip4/192.0.2.1/tcp/1/quic/x",
        "/ip4/192.0.2.1/tcp/1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        "/dns4//tcp/1",
        f"/ip4/192.0.2.1/tcp/4001/p2p/{PEER}/p2p-circuit",
        "x" * 10_000,
    ],
)
def test_what_is_no_address_is_refused_in_one_short_line(text: str) -> None:
    with pytest.raises(NetworkError, match="a right one is") as refusal:
        parse_address(text)
    assert len(str(refusal.value)) < 600
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", ["/ip4/192.0.2.1/tcp/4001", f"/ip4/192.0.2.1/tcp/0/p2p/{PEER}"])
def test_a_peers_address_names_the_peer_and_a_port(text: str) -> None:
    with pytest.raises(NetworkError, match="lacks the peer's id or port"):
        parse_peer_address(text)


RELAY = peer_id("relay")
ROUTES = [
    "/ip4/192.0.2.1/tcp/4001",
    f"/ip4/192.0.2.1/tcp/4001/p2p/{PEER}",
    f"/ip6/2001:db8::1/tcp/1/p2p/{PEER}",
    f"/dns4/home.example/tcp/65535/p2p/{PEER}",
    f"/ip4/192.0.2.1/tcp/4001/p2p/{RELAY}/p2p-circuit",
    f"/ip4/192.0.2.1/tcp/4001/p2p/{RELAY}/p2p-circuit/p2p/{PEER}",
]


@pytest.mark.parametrize("text", ROUTES)
def test_the_binary_form_is_libp2ps_and_is_read_back(text: str) -> None:
    from p2p.libp2p import fastecdsa_stub  # noqa: F401 - the stub first
    from multiaddr import Multiaddr  # isort: skip

    packed = Multiaddr(text).to_bytes()
    assert str(unpack_address(packed)) == text
    assert pack_address(unpack_address(packed)) == packed


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        bytes.fromhex("04c0000201"),
        bytes.fromhex("04c0000201060fa1") + b"\x00",
        bytes.fromhex("04c0000201060fa1") + bytes.fromhex("a20200"),  # a circuit through nobody
        bytes.fromhex("04c00002"),
        bytes.fromhex("060fa104c0000201"),
        bytes.fromhex("04c0000201060fa1a503ff"),
        bytes.fromhex("04c0000201060fa1a50301ff"),
        bytes.fromhex("3602ff2f060fa1"),
        bytes.fromhex("04c00002019102"),
        bytes.fromhex("84"),
        b"\xff" * 300,
        bytes(301),
        pack_address(parse_address("/ip4/192.0.2.1/tcp/4001")) * 3,
    ],
)
def test_other_binary_addresses_are_refused(octets: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any reason will do
        unpack_address(octets)


@given(st.binary(max_size=120))
def test_whatever_is_read_is_written_the_same(octets: bytes) -> None:
    try:
        address = unpack_address(octets)
    except ValueError:
        return
    assert pack_address(address) == octets


@pytest.mark.parametrize(
    "text",
    [
        f"/ip4/192.0.2.1/tcp/4001/p2p-circuit/p2p/{PEER}",
        f"/ip4/192.0.2.1/tcp/4001/p2p/{RELAY}/p2p-circuit",
        f"/ip4/192.0.2.1/tcp/4001/p2p/{RELAY}/p2p-circuit/p2p/bob",
        f"/ip4/192.0.2.1/tcp/4001/p2p/{RELAY}/p2p-circuit/ip4/{PEER}",
        f"/p2p-circuit/p2p/{PEER}",
    ],
)
def test_a_route_through_a_relay_names_both(text: str) -> None:
    with pytest.raises(NetworkError):
        parse_route(text)


@pytest.mark.parametrize("text", [ROUTES[1], ROUTES[5]])
def test_a_route_is_written_as_it_was_read(text: str) -> None:
    peer, route = parse_route(text)
    assert (peer, str(route)) == (PEER, text)
