"""One node in a process of its own, for tests in network namespaces: ``python -m tests.p2p.nat_node``.

    nat_node NAME LISTEN ROLE [BOOTSTRAP …]

Prints ``listening ADDRESS``, then one line of JSON about itself each REPORT_S: peers with their addresses, who
published of late, who echoed, what it announces, counters. Publishes its name each second and asks each peer to echo
it.
"""

from __future__ import annotations

import json
import os
import sys

import trio

from p2p.joining import Joining, RelayRole
from p2p.libp2p import LibP2PNetwork
from p2p.limits import Limits
from p2p.network import NetworkError, Verdict
from tests.p2p.hostile import seed

NETWORK = "0123456789abcdef"
TOPIC = "/ecloud/test/1"
ECHO = "/echo/1"
REPORT_S = 0.5
HEARD_S = 5.0


async def main(name: str, listen: str, role: str, *bootstrap: str) -> None:
    joining = Joining(
        network_name=NETWORK,
        relay=RelayRole(role),
        local_discovery="LOCAL_DISCOVERY" in os.environ,
        map_port="MAP_PORT" in os.environ,
    )
    limits = Limits(redial_longest_s=3, ping_interval_s=2)
    network = LibP2PNetwork(seed(name), [listen], bootstrap, None, limits, joining)
    heard: dict[str, float] = {}
    echoed: set[str] = set()

    async def echo(peer: str, data: bytes) -> bytes:
        await trio.lowlevel.checkpoint()
        return data

    async def listen_to_others() -> None:
        async for message in network.subscribe(TOPIC, lambda *_: Verdict.ACCEPT):
            heard[message.data.decode().split()[0]] = trio.current_time()

    async def publish() -> None:
        number = 0
        while True:
            number += 1
            await network.publish(TOPIC, f"{name} {number}".encode())
            for info in network.peers():
                try:
                    if await network.request(info.peer, ECHO, name.encode(), 3) == name.encode():
                        echoed.add(info.peer)
                except NetworkError:
                    echoed.discard(info.peer)
            await trio.sleep(1)

    network.serve(ECHO, echo)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen_to_others)
        await nursery.start(network.run)
        print(f"listening {network.addresses()[0]}", flush=True)
        nursery.start_soon(publish)
        while True:
            report = {
                "peers": {info.peer: info.address for info in network.peers()},
                "heard": sorted(one for one, at_s in heard.items() if trio.current_time() - at_s < HEARD_S),
                "echoed": sorted(echoed),
                "announced": network.announced(),
                "metrics": dict(network.metrics()),
            }
            print(json.dumps(report), flush=True)
            await trio.sleep(REPORT_S)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
