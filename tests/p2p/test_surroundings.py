"""Which told addresses may be dialled."""

from __future__ import annotations

from ipaddress import ip_interface

import pytest

from p2p.addresses import Address, CircuitAddress, TcpAddress, parse_address
from p2p.surroundings import Surroundings, interfaces, is_global
from tests.p2p.hostile import peer_id

AT_HOME = [ip_interface("127.0.0.1/8"), ip_interface("192.168.1.7/24"), ip_interface("fe80::1/64")]
ANYWHERE = [TcpAddress("ip4", "0.0.0.0", 4001)]


def circuit(text: str) -> CircuitAddress:
    address = parse_address(text)
    return CircuitAddress(TcpAddress(address.protocol, address.host, address.port, peer_id("relay")))


@pytest.mark.parametrize(
    ("address", "accepted"),
    [
        (parse_address("/ip4/8.8.8.8/tcp/4001"), True),
        (parse_address("/ip6/2606:4700::1/tcp/4001"), True),
        (circuit("/ip4/8.8.8.8/tcp/4001"), True),
        (parse_address("/ip4/192.168.1.9/tcp/4001"), True),
        (parse_address("/ip4/192.168.2.9/tcp/4001"), False),
        (parse_address("/ip4/10.0.0.1/tcp/4001"), False),
        (parse_address("/ip4/100.64.0.1/tcp/4001"), False),
        (parse_address("/ip4/127.0.0.1/tcp/4001"), False),
        (parse_address("/ip6/::1/tcp/4001"), False),
        (parse_address("/ip4/0.0.0.0/tcp/4001"), False),
        (parse_address("/ip4/169.254.1.1/tcp/4001"), False),
        (parse_address("/ip6/fe80::2/tcp/4001"), False),
        (parse_address("/ip4/224.0.0.251/tcp/5353"), False),
        (parse_address("/ip4/255.255.255.255/tcp/4001"), False),
        (parse_address("/ip4/8.8.8.8/tcp/25"), False),
        (parse_address("/ip4/8.8.8.8/tcp/443"), False),
        (parse_address("/ip4/8.8.8.8/tcp/0"), False),
        (parse_address("/dns4/victim.example/tcp/4001"), False),
        (circuit("/ip4/10.0.0.1/tcp/4001"), False),
        (circuit("/dns4/victim.example/tcp/4001"), False),
    ],
    ids=str,
)
def test_addresses_at_home(address: Address, accepted: bool) -> None:
    assert Surroundings(ANYWHERE, lambda: AT_HOME).accepts(address) is accepted


def test_loopback_is_for_those_who_listen_on_nothing_else() -> None:
    loopback = parse_address("/ip4/127.0.0.1/tcp/4001")
    assert Surroundings([loopback], lambda: AT_HOME).accepts(loopback)
    assert not Surroundings([loopback, *ANYWHERE], lambda: AT_HOME).accepts(loopback)
    assert not Surroundings([], lambda: AT_HOME).accepts(loopback)


def test_an_unspecified_address_is_spelt_out() -> None:
    around = Surroundings(ANYWHERE, lambda: AT_HOME)
    spelt = around.spelt_out([*ANYWHERE, parse_address("/ip4/127.0.0.1/tcp/5")])
    assert [str(address) for address in spelt] == ["/ip4/192.168.1.7/tcp/4001", "/ip4/127.0.0.1/tcp/5"]


def test_a_change_of_interfaces_is_noticed() -> None:
    found = list(AT_HOME)
    around = Surroundings(ANYWHERE, lambda: list(found))
    assert not around.look_around()
    found.append(ip_interface("10.1.1.1/8"))
    assert around.look_around()
    assert around.accepts(parse_address("/ip4/10.9.9.9/tcp/4001"))


def test_the_machines_own_interfaces_are_seen() -> None:
    assert ip_interface("127.0.0.1/8") in interfaces()


def test_what_is_global() -> None:
    assert is_global(parse_address("/ip4/8.8.8.8/tcp/1"))
    assert not is_global(circuit("/ip4/192.168.1.1/tcp/1"))
