"""Multiaddrs: which ones this node can listen on and dial, read strictly before libp2p sees them.

1. Two kinds are known: a TCP address, and a *circuit*, which leads to a peer through a relay.
2. In text (``/ip4/192.0.2.1/tcp/4001/p2p/12D3Koo…``, for a circuit followed by ``/p2p-circuit/p2p/12D3Koo…``) and in
   libp2p's binary form. Both are read strictly: what is written differently from how it would be written here is
   refused. Source: https://github.com/multiformats/multiaddr, codes from its ``protocols.csv``.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace

import base58

from p2p.network import NetworkError, PeerId
from p2p.peer_identity import public_key_from_peer_id

_HOST_PROTOCOLS = ("ip4", "ip6", "dns4", "dns6", "dns")
_LONGEST = 300
_LONGEST_HOST = 120
_CIRCUIT = "p2p-circuit"
_CODES = {"ip4": 4, "tcp": 6, "ip6": 41, "dns": 53, "dns4": 54, "dns6": 55, _CIRCUIT: 290, "p2p": 421}
_NAMES = {code: name for name, code in _CODES.items()}
_FIXED_BYTES = {"ip4": 4, "tcp": 2, "ip6": 16, _CIRCUIT: 0}


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


@dataclass(frozen=True, slots=True)
class CircuitAddress:
    """``<relay>/p2p-circuit/p2p/12D3Koo…``: a peer as a relay reaches it. The relay's address names the relay."""

    relay: TcpAddress
    peer: PeerId | None = None

    def __str__(self) -> str:
        suffix = "" if self.peer is None else f"/p2p/{self.peer}"
        return f"{self.relay}/{_CIRCUIT}{suffix}"


Address = TcpAddress | CircuitAddress


def parse_address(text: str) -> TcpAddress:
    """Error: NetworkError saying what a right address looks like."""
    try:
        return _parse(text)
    except ValueError as error:
        raise _unusable(text, error) from error


def parse_peer_address(text: str) -> tuple[PeerId, TcpAddress]:
    """An address that names its peer. Error: NetworkError."""
    address = parse_address(text)
    if address.peer is None or address.port == 0:
        raise NetworkError(f"{text} lacks the peer's id or port: a right one is /ip4/192.0.2.1/tcp/4001/p2p/12D3KooW…")
    return address.peer, address


def parse_route(text: str) -> tuple[PeerId, Address]:
    """An address that names its peer, or a circuit that does. Error: NetworkError."""
    relay_text, circuit, rest = text.partition(f"/{_CIRCUIT}")
    if not circuit:
        return parse_peer_address(text)
    _, relay = parse_peer_address(relay_text)
    prefix, _, peer = rest.rpartition("/")
    if prefix != "/p2p":
        raise _unusable(text, ValueError("a circuit ends with the peer it leads to"))
    try:
        public_key_from_peer_id(peer)
    except ValueError as error:
        raise _unusable(text, error) from error
    return peer, CircuitAddress(relay, peer)


def _unusable(text: str, error: ValueError) -> NetworkError:
    return NetworkError(
        f"{text[:_LONGEST]} is not an address this node can use ({error}); "
        "a right one is /ip4/192.0.2.1/tcp/4001/p2p/12D3KooW…"
    )


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


def pack_address(address: Address) -> bytes:
    """The binary form."""
    if isinstance(address, CircuitAddress):
        return pack_address(address.relay) + _code(_CIRCUIT) + _packed_peer(address.peer)
    if address.protocol in ("ip4", "ip6"):
        host = ipaddress.ip_address(address.host).packed
    else:
        name = address.host.encode("ascii")
        assert len(name) <= _LONGEST_HOST
        host = bytes([len(name)]) + name
    port = _code("tcp") + address.port.to_bytes(2, "big")
    return _code(address.protocol) + host + port + _packed_peer(address.peer)


def unpack_address(octets: bytes) -> Address:
    """Reads the binary form. Error: ValueError for anything but a TCP address or a circuit, written as here."""
    if len(octets) > _LONGEST:
        raise ValueError(f"an address has at most {_LONGEST} bytes")
    parts = _parts(octets)
    shape = [name for name, _ in parts]
    relayed = shape.index(_CIRCUIT) if _CIRCUIT in shape else None
    first = parts if relayed is None else parts[:relayed]
    if len(first) not in (2, 3) or first[0][0] not in _HOST_PROTOCOLS or first[1][0] != "tcp":
        raise ValueError("not a TCP address")
    address = TcpAddress(first[0][0], first[0][1], int(first[1][1]), _peer_of(first[2:]))
    if str(_parse(str(address))) != str(address):
        raise ValueError("not written as it should be")
    if relayed is None:
        return address
    if address.peer is None:
        raise ValueError("a circuit names its relay")
    return CircuitAddress(address, _peer_of(parts[relayed + 1 :]))


def without_peer(address: Address) -> Address:
    """The address as its peer announces it: who it leads to goes without saying."""
    return replace(address, peer=None)


def with_peer(address: Address, peer: PeerId) -> Address:
    return replace(address, peer=peer)


def _code(name: str) -> bytes:
    code = _CODES[name]
    return bytes([code]) if code < 0x80 else bytes([code & 0x7F | 0x80, code >> 7])


def _packed_peer(peer: PeerId | None) -> bytes:
    if peer is None:
        return b""
    raw = base58.b58decode(peer)
    return _code("p2p") + bytes([len(raw)]) + raw


def _parts(octets: bytes) -> list[tuple[str, str]]:
    parts: list[tuple[str, str]] = []
    rest = octets
    while rest:
        width = 1 if rest[0] < 0x80 else 2
        code = rest[0] if width == 1 else rest[0] & 0x7F | rest[1] << 7 if len(rest) > 1 else -1
        name = _NAMES.get(code, "")
        if not name or len(parts) == 8:
            raise ValueError("a protocol that is not known here")
        rest = rest[width:]
        length = _FIXED_BYTES.get(name)
        if length is None:
            length = rest[0] if rest else _LONGEST
            rest = rest[1:]
        if length > min(len(rest), _LONGEST_HOST):
            raise ValueError("an address that ends early")
        parts.append((name, _value(name, rest[:length])))
        rest = rest[length:]
    return parts


def _value(name: str, octets: bytes) -> str:
    if name in ("ip4", "ip6"):
        return str(ipaddress.ip_address(octets))
    if name == "tcp":
        return str(int.from_bytes(octets, "big"))
    if name == "p2p":
        return str(base58.b58encode(octets).decode("ascii"))
    return octets.decode("ascii")


def _peer_of(parts: list[tuple[str, str]]) -> PeerId | None:
    if not parts:
        return None
    if len(parts) != 1 or parts[0][0] != "p2p":
        raise ValueError("what follows an address is a peer, and nothing follows that")
    public_key_from_peer_id(parts[0][1])
    return parts[0][1]
