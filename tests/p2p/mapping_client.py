"""Runs ``PortMapping`` in a namespace: ``python -m tests.p2p.mapping_client SECONDS``; prints what it is told, in
order, and at the end how long stopping took and what was counted.
"""

from __future__ import annotations

import json
import sys
from collections import Counter

import trio

from p2p.port_mapping import PortMapping


async def main(seconds: float) -> None:
    told: list[str] = []
    counters: Counter[str] = Counter()
    ticks = 0
    async with trio.open_nursery() as nursery:
        mapping = PortMapping(4001, lambda address: told.append(str(address)), counters)
        nursery.start_soon(mapping.run)
        with trio.move_on_after(seconds):
            while not told and not counters:
                ticks += 1
                await trio.sleep(0.01)
        began_s = trio.current_time()
        nursery.cancel_scope.cancel()
    stop_s = trio.current_time() - began_s
    print(json.dumps({"told": told, "counters": dict(counters), "stop_s": stop_s, "ticks": ticks}))


if __name__ == "__main__":
    trio.run(main, float(sys.argv[1]))
