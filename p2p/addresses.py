"""Multiaddrs: which ones this node can listen on and dial, read strictly before libp2p sees them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from p2p.network import NetworkError, PeerId
from p2p.peer_identity import public_key_from_peer_id

_HOST_PROTOCOLS = ("ip4", "ip6", "dns4", "dns6", "dns")
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """``/ip4/192.0.2.1/tcp/4001`` and, with a peer, ``/ip4/192.0.2.1/tcp/4001/p2p/12D3Koo…``."""

    protocol: str
    host: str
    port: int
    peer: PeerId | None = None

    def __str__(self) -> str:
        suffix = "" if self.peer is None else f"/p2p/{self.peer}"
        return f"/{self.protocol}/{self.host}/tcp/{self.port}{suffix}"


def parse_address(text: str) -> TcpAddress:
    """Error: NetworkError saying what a right address looks like."""
    try:
        return _parse(text)
    except ValueError as error:
        raise NetworkError(
            f"{text[:_LONGEST]} is not an address this node can use ({error}); "
            "a right one is /ip4/192.0.2.1/tcp/4001/p2p/12D3KooW…"
        ) from error


def _parse(text: str) -> TcpAddress:
    parts = text.split("/")
    if len(text) > _LONGEST or len(parts) not in (5, 7) or parts[0] or parts[3] != "tcp":
        raise ValueError("wrong shape")
    protocol, host, port = parts[1], parts[2], int(parts[4])
    if protocol not in _HOST_PROTOCOLS or not host or not 0 <= port <= 65_535:
        raise ValueError("wrong host or port")
    if protocol in ("ip4", "ip6") and f"ip{ipaddress.ip_address(host).version}" != protocol:
        raise ValueError("the host is not of the kind it says")
    if len(parts) == 5:
        return TcpAddress(protocol, host, port)
    if parts[5] != "p2p":
        raise ValueError("wrong peer")
    public_key_from_peer_id(parts[6])
    return TcpAddress(protocol, host, port, parts[6])


def parse_peer_address(text: str) -> tuple[PeerId, TcpAddress]:
    """An address that names its peer. Error: NetworkError."""
    address = parse_address(text)
    if address.peer is None or address.port == 0:
        raise NetworkError(f"{text} lacks the peer's id or port: a right one is /ip4/192.0.2.1/tcp/4001/p2p/12D3KooW…")
    return address.peer, address
