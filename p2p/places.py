"""Places that connections take and give back, so that no address can have them all.

1. There are ``total`` places, of which one *group* has at most ``per_group``.
2. A group is an IPv4 address or the /64 network of an IPv6 address: whoever has one IPv6 address has 2⁶⁴ of them. An
   IPv4 address inside an IPv6 one is that IPv4 address.
"""

from __future__ import annotations

import ipaddress
from collections import Counter

_IPV6_PREFIX = 64


def group_of(host: str) -> str:
    """The group of an IP address in text; text that is none is a group of its own."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))


class Places:
    """Counts who holds how many; holds nothing itself."""

    def __init__(self, total: int, per_group: int) -> None:
        assert 0 < per_group <= total
        self._total = total
        self._per_group = per_group
        self._held: Counter[str] = Counter()
        self.taken = 0

    def free_for(self, group: str) -> bool:
        return self.taken < self._total and self._held[group] < self._per_group

    def take(self, group: str) -> bool:
        """A place for one of ``group``; False, and nothing taken, when there is none."""
        if not self.free_for(group):
            return False
        self.taken += 1
        self._held[group] += 1
        return True

    def give_back(self, group: str) -> None:
        assert self._held[group] > 0, "a place is given back once"
        self.taken -= 1
        self._held[group] -= 1
        if not self._held[group]:
            del self._held[group]
