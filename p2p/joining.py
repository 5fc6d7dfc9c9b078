"""How a node finds others and lets itself be found, beyond the addresses it is given: what it is told to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class RelayRole(Enum):
    """AUTO: relays for others when it can be dialled, is relayed when it cannot. OFF: neither. SERVE: relays."""

    AUTO = "auto"
    OFF = "off"
    SERVE = "serve"


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """``network_name`` tells one network from another: nodes of different names do not exchange peers and do not find
    each other. ``announce`` are addresses (without ``/p2p/``) under which this node can be reached, as configured.
    """

    network_name: str
    wanted_peers: int = 8
    peer_exchange: bool = True
    local_discovery: bool = False
    map_port: bool = False
    dht: bool = False
    relay: RelayRole = RelayRole.AUTO
    announce: tuple[str, ...] = ()
