"""Multicast DNS: the record, and real multicast over the loopback interface."""

from __future__ import annotations

import socket
import struct

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from p2p.local_discovery import MAX_ADDRESSES, LocalDiscovery, decode_text, encode_text, service_type
from tests.p2p.conftest import eventually

NETWORK, OTHER_NETWORK = "0123456789abcdef", "fedcba9876543210"
LOOPBACK = ["127.0.0.1"]

pytestmark = pytest.mark.xdist_group("namespaces")  # one port, and no two tests at once


def why_no_multicast() -> str:
    """What keeps multicast from the loopback interface, or nothing."""
    group = struct.pack("4s4s", socket.inet_aton("224.0.0.251"), socket.inet_aton("127.0.0.1"))
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
            listener.bind(("", 0))
            listener.settimeout(1)
            listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
                sender.sendto(b"try", ("224.0.0.251", listener.getsockname()[1]))
            listener.recv(3)
    except OSError as error:
        return f"no multicast on the loopback interface: {error}"
    return ""


@pytest.fixture(scope="module")
def multicast() -> None:
    reason = why_no_multicast()
    if reason:
        pytest.skip(reason)


def bound(other: socket.socket) -> bool:
    try:
        other.bind(("", 5353))
    except OSError:
        return False
    return True


def discovery(name: str, found: list[str], network: str = NETWORK) -> LocalDiscovery:
    address = f"/ip4/192.0.2.1/tcp/4001/p2p/{name}"
    return LocalDiscovery(network, name, lambda: [address], found.append, LOOPBACK)


@pytest.mark.trio
@pytest.mark.usefixtures("multicast")
async def test_nodes_of_one_network_find_each_other_and_no_others(nursery: trio.Nursery) -> None:
    # Given two nodes of one network and one of another, on one local network
    found: dict[str, list[str]] = {"anne": [], "bob": [], "stranger": []}
    for name, heard in found.items():
        network = OTHER_NETWORK if name == "stranger" else NETWORK
        nursery.start_soon(discovery(name, heard, network).run)
    # Then those of one network find each other, and neither hears of itself
    await eventually(lambda: bool(found["anne"] and found["bob"]), within_s=30)
    assert set(found["anne"]) == {"/ip4/192.0.2.1/tcp/4001/p2p/bob"}
    assert set(found["bob"]) == {"/ip4/192.0.2.1/tcp/4001/p2p/anne"}
    assert found["stranger"] == []


@pytest.mark.trio
@pytest.mark.usefixtures("multicast")
async def test_it_stops_within_two_seconds() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(discovery("anne", []).run)
        await trio.sleep(1)
        began_s = trio.current_time()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - began_s < 2


@pytest.mark.trio
async def test_where_it_cannot_be_it_ends_in_one_error() -> None:
    # Given another program that has the port of multicast DNS for itself
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        if not bound(other):
            pytest.skip("other programs share the port of multicast DNS: none can have it alone")
        # Then taking part fails with the error that ``run`` says and tries again after
        with pytest.raises(OSError, match="zeroconf"):
            await discovery("anne", [])._take_part()


def test_the_text_record() -> None:
    addresses = [f"/ip4/192.0.2.{number}/tcp/4001/p2p/x" for number in range(20)]
    assert decode_text(encode_text(addresses)) == addresses[:MAX_ADDRESSES]
    assert decode_text(b"\x03foo" + encode_text(addresses[:1])) == addresses[:1]
    assert encode_text(["/dns4/" + "x" * 300 + "/tcp/1"]) == b""


@given(st.binary(max_size=600))
def test_any_text_record_can_be_read(record: bytes) -> None:
    assert len(decode_text(record)) <= MAX_ADDRESSES


def test_the_service_belongs_to_the_network_and_fits_dns() -> None:
    name = service_type(NETWORK)
    assert name != service_type(OTHER_NETWORK)
    assert len(name.split(".", maxsplit=1)[0]) <= 16
