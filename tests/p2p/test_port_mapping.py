"""Port mapping against a router of the test's own, in network namespaces: SSDP, HTTP and SOAP for real."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.p2p import namespaces

ROOT = Path(__file__).parents[2]
OUTSIDE = "45.0.0.21"

pytestmark = pytest.mark.xdist_group("namespaces")


@pytest.fixture(scope="module")
def home() -> Iterator[namespaces.Street]:
    """A router at 192.168.1.1 and a home at 192.168.1.2."""
    namespaces.demand()
    street = namespaces.Street()
    try:
        street.add("router")
        street.add("home")
        street.link("router", "lan", "home", "eth0")
        street.run("router", "ip", "addr", "add", "192.168.1.1/24", "dev", "lan")
        street.run("home", "ip", "addr", "add", "192.168.1.2/24", "dev", "eth0")
        for place, interface in (("router", "lan"), ("home", "eth0")):
            street.run(place, "ip", "route", "add", "224.0.0.0/4", "dev", interface)
        yield street
    finally:
        street.close()


def map_port(home: namespaces.Street, kind: str, outside: str = OUTSIDE, seconds: float = 25) -> dict[str, Any]:
    """What the home was told by a router of that kind, and what the router did."""
    command = [*home.enter("router"), sys.executable, "-m", "tests.p2p.router", "192.168.1.1", outside, kind]
    router = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert router.stdout is not None
        assert router.stdout.readline() == "ready\n"
        client = [*home.enter("home"), sys.executable, "-m", "tests.p2p.mapping_client", str(seconds)]
        done = subprocess.run(client, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    finally:
        router.kill()
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    with router.stdout:
        result["router"] = router.stdout.read().splitlines()
    result["said"] = [line for line in done.stdout.splitlines()[:-1] if line]
    router.wait()
    return result


def test_a_router_lets_others_in_and_forgets_it_at_the_end(home: namespaces.Street) -> None:
    result = map_port(home, "good")
    assert result["told"] == [f"/ip4/{OUTSIDE}/tcp/4001"]
    assert result["router"] == ["mapped 4001 192.168.1.2 4001 TCP 3600", "removed 4001"]
    assert result["stop_s"] < 2
    assert result["ticks"] > 50  # the node went on meanwhile


def test_a_router_that_knows_only_lasting_mappings_gets_one(home: namespaces.Street) -> None:
    result = map_port(home, "permanent")
    assert result["told"] == [f"/ip4/{OUTSIDE}/tcp/4001"]
    assert result["router"] == ["mapped 4001 192.168.1.2 4001 TCP 0", "removed 4001"]


def test_a_port_that_is_taken_is_replaced_by_another(home: namespaces.Street) -> None:
    result = map_port(home, "taken")
    mapped = result["router"][0].split()[1]
    assert mapped != "4001"
    assert result["told"] == [f"/ip4/{OUTSIDE}/tcp/{mapped}"]
    assert result["router"][-1] == f"removed {mapped}"


@pytest.mark.parametrize("kind", ["refusing", "garbage"])
def test_a_router_that_will_not_is_one_line_in_the_log(home: namespaces.Street, kind: str) -> None:
    result = map_port(home, kind)
    assert result["told"] == []
    assert result["counters"] == {"port_mapping_failed": 1}
    assert len(result["said"]) == 1


def test_behind_two_routers_nothing_is_announced_and_the_mapping_is_removed(home: namespaces.Street) -> None:
    result = map_port(home, "good", outside="10.0.0.5")
    assert result["told"] == []
    assert result["counters"]["port_mapping_failed"] == 1
    assert result["router"][-1] == "removed 4001"


def test_a_node_stops_in_time_whatever_the_router_does(home: namespaces.Street) -> None:
    result = map_port(home, "silent", seconds=4)
    assert result["told"] == []
    assert result["stop_s"] < 2
