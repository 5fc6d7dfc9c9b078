"""Nodes of one network find each other on the local network: libp2p's multicast DNS, by the zeroconf package.

1. The service type is ``_p2p-<first SERVICE_DIGITS digits of the network's name>._udp.local.``, so that two networks in
   one house ignore each other. The instance is named at random, anew with each start. Its TXT record holds
   ``dnsaddr=<multiaddr with /p2p/>`` for each of our addresses, at most MAX_ADDRESSES.
2. What is found is a hint: at most MAX_FOUND instances with MAX_ADDRESSES addresses each are kept, offered when found
   and again every OFFER_S; whoever is behind it still has to prove its id and pass every other check.
3. zeroconf works in threads of its own; nothing here waits for them but starting (START_S) and stopping (STOP_S). Where
   there is no multicast, that is one line in the log, and another attempt every RETRY_S.

Source: libp2p specs, ``discovery/mdns.md``.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import structlog
import trio

from p2p.threads import at_the_end, in_thread

SERVICE_DIGITS = 11
MAX_FOUND = 64
MAX_ADDRESSES = 8
OFFER_S = 30.0
RETRY_S = 300.0
START_S = 5.0
STOP_S = 1.0
_LONGEST = 250
_LOOKUP_MS = 1_000
_PREFIX = b"dnsaddr="


def service_type(network_name: str) -> str:
    """The DNS name under which nodes of one network announce themselves."""
    return f"_p2p-{network_name[:SERVICE_DIGITS]}._udp.local."


def encode_text(addresses: Sequence[str]) -> bytes:
    """The TXT record, each string with its length before it."""
    strings = [_PREFIX + address.encode("ascii") for address in addresses[:MAX_ADDRESSES]]
    return b"".join(bytes([len(string)]) + string for string in strings if len(string) <= _LONGEST)


def decode_text(record: bytes) -> list[str]:
    """The addresses in a TXT record, whoever wrote it; what is none is passed over."""
    addresses: list[str] = []
    position = 0
    while position < len(record) and len(addresses) < MAX_ADDRESSES:
        string = record[position + 1 : position + 1 + record[position]]
        position += 1 + record[position]
        if string.startswith(_PREFIX) and string.isascii():
            addresses.append(string[len(_PREFIX) :].decode("ascii"))
    return addresses


class _Part:
    """What the threads have open. Whoever starts too late, after the end, finds ``over`` set and closes it itself."""

    def __init__(self) -> None:
        self.node: Any = None
        self.over = threading.Event()


class LocalDiscovery:
    """``addresses`` gives our own; ``found`` is told of others', in the trio thread. ``interfaces`` are IP addresses to
    use instead of all.
    """

    def __init__(
        self,
        network_name: str,
        peer: str,
        addresses: Callable[[], list[str]],
        found: Callable[[str], None],
        interfaces: Sequence[str] | None = None,
    ) -> None:
        self._service = service_type(network_name)
        self._instance = secrets.token_hex(16)
        self._peer = peer
        self._addresses = addresses
        self._found = found
        self._interfaces = interfaces
        self._others: OrderedDict[str, list[str]] = OrderedDict()

    async def run(self) -> None:
        """Announces and listens until cancelled; begins anew when our addresses change."""
        said = False
        while True:
            try:
                await self._take_part()
            except OSError as error:
                if not said:
                    structlog.get_logger().warning("no discovery on the local network", reason=str(error))
                said = True
                await trio.sleep(RETRY_S)

    async def _take_part(self) -> None:
        token = trio.lowlevel.current_trio_token()
        part = _Part()
        try:
            await in_thread(START_S, self._start, token, part)
            while True:
                announced = self._addresses()
                with trio.move_on_after(OFFER_S):
                    await trio.sleep_forever()
                if self._addresses() != announced:
                    return  # begin again with what is true now
                self._offer()
        except trio.TooSlowError as error:
            raise OSError("zeroconf does not start") from error
        finally:
            await at_the_end(STOP_S, self._stop, part)

    def _offer(self) -> None:
        for addresses in list(self._others.values()):
            for address in addresses:
                self._found(address)

    def _heard(self, name: str, addresses: list[str]) -> None:
        """In the trio thread."""
        others = [address for address in addresses if not address.endswith(f"/p2p/{self._peer}")]
        if not others:
            return
        self._others[name] = others
        self._others.move_to_end(name)
        if len(self._others) > MAX_FOUND:
            self._others.popitem(last=False)
        for address in others:
            self._found(address)

    # In threads

    def _start(self, token: trio.lowlevel.TrioToken, part: _Part) -> None:
        """Error: OSError."""
        try:
            self._open(token, part)
        except Exception as error:
            # zeroconf has a dozen errors of its own, and lets asyncio's pass; without it the node does as well.
            raise OSError(f"zeroconf: {error!r}") from error
        finally:
            if part.over.is_set():
                self._stop(part)

    def _open(self, token: trio.lowlevel.TrioToken, part: _Part) -> None:
        import zeroconf  # noqa: PLC0415 - costs a node that is not in a home nothing

        logging.getLogger("zeroconf").setLevel(logging.CRITICAL)  # it warns of every interface that comes or goes
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # its event loop complains when it is not waited for
        choice = zeroconf.InterfaceChoice.All if self._interfaces is None else list(self._interfaces)
        part.node = node = zeroconf.Zeroconf(interfaces=choice, ip_version=zeroconf.IPVersion.V4Only)
        service, heard = self._service, self._heard

        class Listener(zeroconf.ServiceListener):
            def add_service(self, zc: zeroconf.Zeroconf, type_: str, name: str) -> None:
                info = zeroconf.ServiceInfo(type_, name)
                info.request(zc, _LOOKUP_MS)  # False where there is no A record, which is none of our business
                if info.text:
                    try:
                        token.run_sync_soon(heard, name, decode_text(info.text))
                    except trio.RunFinishedError:  # the node has stopped meanwhile
                        return

            update_service = add_service

            def remove_service(self, zc: zeroconf.Zeroconf, type_: str, name: str) -> None:
                """Whoever says goodbye is not dialled for long; another may have said it in its name."""

        addresses = self._addresses()
        info = zeroconf.ServiceInfo(
            service,
            f"{self._instance}.{service}",
            port=int(addresses[0].split("/")[4]) if addresses else 0,
            properties=encode_text(addresses),
            server=f"{self._instance}.local.",
            parsed_addresses=[address.split("/")[2] for address in addresses if address.startswith("/ip4/")],
        )
        node.register_service(info)
        zeroconf.ServiceBrowser(node, service, listener=Listener())

    def _stop(self, part: _Part) -> None:
        part.over.set()
        if part.node is not None:
            with suppress(Exception):  # closing what did not start well may fail in any way; the node ends all the same
                part.node.close()
