"""Which Wh goes from whom to whom: nearest first.

    for tier in same feeder, same substation, rest:
        for a in sorted(sources), b in sorted(sinks) of that tier: q = min(source[a], sink[b]) → flow, subtract

Within a tier's groups (a feeder, a substation, all) this is one walk along both sorted lists: what is nearer has been
paired before, so that whatever is left of a group lies on one side of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from ledger.market.grid_fee import Place, Tier


class Flow(NamedTuple):
    source: bytes
    sink: bytes
    energy_wh: int
    tier: Tier


_GROUPS: Final[tuple[tuple[Tier, Callable[[Place], str]], ...]] = (
    (Tier.SAME_FEEDER, lambda place: place.feeder),
    (Tier.SAME_SUBSTATION, lambda place: place.substation),
    (Tier.REST, lambda _: ""),
)


def pair(sources_wh: Mapping[bytes, int], sinks_wh: Mapping[bytes, int], places: Mapping[bytes, Place]) -> list[Flow]:
    """Flows by tier, then source, then sink. All of the smaller side is paired."""
    flows: list[Flow] = []
    sources = {member: energy_wh for member, energy_wh in sorted(sources_wh.items()) if energy_wh}
    sinks = {member: energy_wh for member, energy_wh in sorted(sinks_wh.items()) if energy_wh}
    for tier, group_of in _GROUPS:
        sinks_by_group: dict[str, list[bytes]] = defaultdict(list)
        for sink in sinks:
            sinks_by_group[group_of(places[sink])].append(sink)
        for waiting in sinks_by_group.values():
            waiting.reverse()  # the next one is the last
        for source in list(sources):
            left_wh = sources[source]
            waiting = sinks_by_group.get(group_of(places[source]), [])
            while waiting and left_wh:
                energy_wh = min(left_wh, sinks[waiting[-1]])
                flows.append(Flow(source, waiting[-1], energy_wh, tier))
                left_wh -= energy_wh
                sinks[waiting[-1]] -= energy_wh
                if not sinks[waiting[-1]]:
                    waiting.pop()
            sources[source] = left_wh
        sources = {member: energy_wh for member, energy_wh in sources.items() if energy_wh}
        sinks = {member: energy_wh for member, energy_wh in sinks.items() if energy_wh}
    return flows
