"""Network namespaces for tests: a street with the internet, routers with NAT, and homes behind them.

    internet 45.0.0.0/24 (a bridge)  ──  public 45.0.0.10
                                     ──  router-a 45.0.0.21, NAT  ──  192.168.1.0/24  ──  home-a 192.168.1.2
                                     ──  router-b 45.0.0.22, NAT  ──  192.168.1.0/24  ──  home-b 192.168.1.2

Routers masquerade, keep the source port where they can, and drop what comes from outside uninvited, as home routers do.
Addresses look global and lead nowhere: nothing here is connected with the machine's own network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

INTERNET = "45.0.0"
_RULES = """
table ip nat {
  chain post { type nat hook postrouting priority 100; oifname "wan" masquerade%s; }
}
table ip filter {
  chain in { type filter hook input priority 0; policy accept; iifname "wan" ct state new drop; }
  chain through { type filter hook forward priority 0; policy accept; iifname "wan" ct state new drop; }
}
"""


def why_not() -> str:
    """What this machine lacks for namespaces with NAT, or nothing."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [tool for tool in ("ip", "nft") if shutil.which(tool) is None]
    if missing:
        return f"missing: {', '.join(missing)} (on Debian: apt install iproute2 nftables)"
    name = f"ecloud-try-{os.getpid()}"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"no network namespaces here: {tried.stderr.strip()}"
    try:
        rules = _run(name, "nft", "-f", "-", text=_RULES % "", check=False)
        return f"no NAT here: {rules.stderr.strip()}" if rules.returncode else ""
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def demand() -> None:
    """Skips a test, or fails it where ``NAT=required`` says that it must run, naming what the machine lacks."""
    reason = why_not()
    if reason and os.environ.get("NAT") == "required":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


def _run(namespace: str, *command: str, text: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
    prefix = ["ip", "netns", "exec", namespace]
    return subprocess.run([*prefix, *command], input=text, capture_output=True, text=True, check=check)


class Street:
    """Namespaces by short names; ``enter`` gives what to put before a command to run it there."""

    def __init__(self) -> None:
        self._prefix = f"ec{os.getpid()}"
        self._names: list[str] = []

    def name(self, short: str) -> str:
        return f"{self._prefix}-{short}"

    def enter(self, short: str) -> list[str]:
        return ["ip", "netns", "exec", self.name(short)]

    def add(self, short: str) -> None:
        subprocess.run(["ip", "netns", "add", self.name(short)], check=True)
        self._names.append(short)
        self.run(short, "ip", "link", "set", "lo", "up")

    def run(self, short: str, *command: str, text: str = "") -> None:
        _run(self.name(short), *command, text=text)

    def link(self, one: str, one_interface: str, other: str, other_interface: str) -> None:
        """A cable between two namespaces, both ends up."""
        ends = f"{one_interface} netns {self.name(one)} type veth peer name {other_interface} netns {self.name(other)}"
        subprocess.run(["ip", "link", "add", *ends.split()], check=True)
        self.run(one, "ip", "link", "set", one_interface, "up")
        self.run(other, "ip", "link", "set", other_interface, "up")

    def internet(self) -> None:
        self.add("net")
        self.run("net", "ip", "link", "add", "name", "bridge0", "type", "bridge")
        self.run("net", "ip", "link", "set", "bridge0", "up")

    def plug_in(self, short: str, interface: str, host: int) -> None:
        """Connects a namespace with the internet under 45.0.0.<host>."""
        self.link("net", f"p{host}", short, interface)
        self.run("net", "ip", "link", "set", f"p{host}", "master", "bridge0")
        self.run(short, "ip", "addr", "add", f"{INTERNET}.{host}/24", "dev", interface)

    def unplug(self, host: int, plugged: bool = False) -> None:
        """Pulls the plug of 45.0.0.<host>, or puts it back."""
        self.run("net", "ip", "link", "set", f"p{host}", "up" if plugged else "down")

    def public(self, short: str, host: int) -> None:
        self.add(short)
        self.plug_in(short, "wan", host)

    def home_behind_router(self, letter: str, host: int, symmetric: bool = False) -> None:
        """``router-<letter>`` at 45.0.0.<host> and ``home-<letter>`` behind it. A symmetric router gives each
        connection a port of its own, so that no hole can be punched.
        """
        router, home = f"router-{letter}", f"home-{letter}"
        self.add(router)
        self.add(home)
        self.plug_in(router, "wan", host)
        self.link(router, "lan", home, "eth0")
        self.run(router, "ip", "addr", "add", "192.168.1.1/24", "dev", "lan")
        self.run(home, "ip", "addr", "add", "192.168.1.2/24", "dev", "eth0")
        self.run(home, "ip", "route", "add", "default", "via", "192.168.1.1")
        self.run(router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        self.run(router, "nft", "-f", "-", text=_RULES % (" fully-random" if symmetric else ""))

    def close(self) -> None:
        for short in reversed(self._names):
            subprocess.run(["ip", "netns", "del", self.name(short)], check=False)


@contextmanager
def street() -> Iterator[Street]:
    made = Street()
    try:
        made.internet()
        yield made
    finally:
        made.close()
