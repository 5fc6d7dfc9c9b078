"""Multiaddrs read strictly."""

from __future__ import annotations

import pytest

from p2p.addresses import TcpAddress, parse_address, parse_peer_address
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
