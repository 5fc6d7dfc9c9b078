"""Where this node stands, and so which addresses told by others it may dial.

1. A told address is an IP address, never a name: a name can point anywhere, and looking it up tells who looks.
2. Its port is at least 1024: nobody makes this node knock at mail, web or login servers.
3. A loopback address is for a node that listens on loopback addresses only, as in a devnet. A private one must lie in a
   network this node has an interface in. Others must be globally routable unicast addresses.
4. A circuit is as good as its relay's address.

What the person who runs the node configures is not bound by this.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence

import ifaddr

from p2p.addresses import Address, CircuitAddress, TcpAddress

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface

LOWEST_PORT = 1024


def interfaces() -> list[Interface]:
    """The addresses of this machine with their networks; asks the operating system, without waiting."""
    found: list[Interface] = []
    for adapter in ifaddr.get_adapters():
        for entry in adapter.ips:
            host = entry.ip if isinstance(entry.ip, str) else entry.ip[0]
            found.append(ipaddress.ip_interface(f"{host.partition('%')[0]}/{entry.network_prefix}"))
    return found


def is_loopback(address: TcpAddress) -> bool:
    return address.protocol in ("ip4", "ip6") and ipaddress.ip_address(address.host).is_loopback


def is_global(address: Address) -> bool:
    """Whether the address means the same to everyone on the internet."""
    if isinstance(address, CircuitAddress):
        return is_global(address.relay)
    if address.protocol not in ("ip4", "ip6"):
        return True
    ip = ipaddress.ip_address(address.host)
    return ip.is_global and not ip.is_multicast


class Surroundings:
    """``look`` is asked for the interfaces each time they are needed anew: laptops move."""

    def __init__(self, listen: Sequence[TcpAddress], look: Callable[[], list[Interface]] = interfaces) -> None:
        self.loopback_only = bool(listen) and all(is_loopback(address) for address in listen)
        self._look = look
        self.interfaces: list[Interface] = []
        self.look_around()

    def look_around(self) -> bool:
        """Reads the interfaces; whether they changed."""
        before = self.interfaces
        self.interfaces = self._look()
        return self.interfaces != before

    def accepts(self, address: Address) -> bool:
        """Whether an address that another peer told may be dialled."""
        if isinstance(address, CircuitAddress):
            return self.accepts(address.relay)
        if address.protocol not in ("ip4", "ip6") or address.port < LOWEST_PORT:
            return False
        ip = ipaddress.ip_address(address.host)
        if ip.is_loopback:
            return self.loopback_only
        if ip.is_unspecified or ip.is_multicast or ip.is_link_local:
            return False
        return ip.is_global or any(ip in interface.network for interface in self.interfaces)

    def spelt_out(self, listening: Sequence[TcpAddress]) -> list[TcpAddress]:
        """Listening addresses as others can use them: an unspecified one stands for those of all interfaces."""
        spelt: list[TcpAddress] = []
        for address in listening:
            if address.protocol not in ("ip4", "ip6") or not ipaddress.ip_address(address.host).is_unspecified:
                spelt.append(address)
                continue
            for interface in self.interfaces:
                ip = interface.ip
                if f"ip{ip.version}" == address.protocol and not (ip.is_loopback or ip.is_link_local):
                    spelt.append(TcpAddress(address.protocol, str(ip), address.port))
        return list(dict.fromkeys(spelt))
