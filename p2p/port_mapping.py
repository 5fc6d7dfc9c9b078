"""Asks the home's router to let others in: UPnP port mapping, by the miniupnpc package.

1. TCP, our listening port to the same port outside, or to a random one if that is taken. The mapping lasts LEASE_S and
   is renewed at half of that; a router that knows only lasting mappings gets one. It is removed at stop.
2. The outside address is told only if it is globally routable: behind two routers, the inner one's mapping is no way
   in.
3. miniupnpc waits for the network in a thread; nothing here waits for it but mapping (ASK_S) and stopping (STOP_S). A
   router that does not answer, or refuses, is one line in the log, and another attempt every RETRY_S.

Source: UPnP Forum, ``WANIPConnection:1``.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections import Counter
from collections.abc import Callable
from typing import Any

import structlog
import trio

from p2p.addresses import TcpAddress
from p2p.threads import at_the_end, in_thread

LEASE_S = 3_600
RETRY_S = 900.0
ASK_S = 20.0
STOP_S = 1.0
DISCOVERY_MS = 2_000
_OTHER_PORTS = 3
_DESCRIPTION = "E-Cloud"


class NoMapping(Exception):
    """No router, or one that will not; the text says which."""


class PortMapping:
    """``told`` hears of the outside address, and None when there is none any more."""

    def __init__(self, port: int, told: Callable[[TcpAddress | None], None], counters: Counter[str]) -> None:
        self._port = port
        self._told = told
        self._counters = counters
        self._outside_port: int | None = None
        self._router_known: Any = None

    async def run(self) -> None:
        """Keeps the mapping until cancelled."""
        told: TcpAddress | None = None
        said = False
        try:
            while True:
                try:
                    outside = await in_thread(ASK_S, self._map)
                except (NoMapping, trio.TooSlowError) as error:
                    self._counters["port_mapping_failed"] += 1
                    outside, wait_s = None, RETRY_S
                    if not said:
                        structlog.get_logger().info("no port mapped", reason=str(error) or "the router is silent")
                    said = True
                else:
                    self._counters["port_mappings"] += 1
                    wait_s = LEASE_S / 2
                if outside != told:
                    self._told(outside)
                    told = outside
                await trio.sleep(wait_s)
        finally:
            if self._outside_port is not None:
                await at_the_end(STOP_S, self._remove)

    # In threads

    def _map(self) -> TcpAddress:
        """Error: NoMapping."""
        router = self._router_known = self._router()
        wanted = [self._outside_port or self._port]
        wanted += [20_000 + secrets.randbelow(40_000) for _ in range(_OTHER_PORTS)]
        for port in wanted:
            if self._ask(router, port, LEASE_S) or self._ask(router, port, 0):
                self._outside_port = port
                break
        else:
            raise NoMapping("the router refuses")
        try:
            host = router.externalipaddress()
            is_global = ipaddress.ip_address(host).is_global
        except Exception as error:
            # As in _router; or it answers with what is no address.
            raise NoMapping(f"the router tells no outside address: {error}") from error
        if not is_global:
            raise NoMapping(f"the router's outside address, {host}, is none of the internet's")
        return TcpAddress("ip6" if ":" in host else "ip4", host, port)

    def _router(self) -> Any:
        import miniupnpc  # type: ignore[import-not-found]  # noqa: PLC0415 - as zeroconf in p2p.local_discovery

        router = miniupnpc.UPnP()
        router.discoverdelay = DISCOVERY_MS
        try:
            router.discover()
            router.selectigd()
        except Exception as error:
            # miniupnpc raises Exception itself, with the C library's text.
            raise NoMapping(f"no router that speaks UPnP: {error}") from error
        return router

    def _ask(self, router: Any, outside_port: int, lease_s: int) -> bool:
        try:
            return bool(
                router.addportmapping(outside_port, "TCP", router.lanaddr, self._port, _DESCRIPTION, "", lease_s)
            )
        except Exception:
            # As above: taken by another, or no leases of that kind.
            return False

    def _remove(self) -> None:
        try:
            self._router_known.deleteportmapping(self._outside_port, "TCP")
        except Exception:
            # The router is gone or has forgotten; the lease ends by itself.
            self._counters["port_mapping_not_removed"] += 1
