"""Pairs: nearest first, as the three nested loops would find them."""

from __future__ import annotations

import random

from ledger.market.grid_fee import Tier, tier_between
from ledger.settlement.pair import Flow, pair
from tests.ledger.market.terrain import member, place_of

PLACES = {member(number): place_of(number) for number in range(12)}


def nested_loops(sources: dict[bytes, int], sinks: dict[bytes, int]) -> list[Flow]:
    sources, sinks, flows = dict(sources), dict(sinks), []
    for tier in Tier:
        for a in sorted(sources):
            for b in sorted(sinks):
                energy_wh = min(sources[a], sinks[b])
                if tier_between(PLACES[a], PLACES[b]) is tier and energy_wh:
                    sources[a] -= energy_wh
                    sinks[b] -= energy_wh
                    flows.append(Flow(a, b, energy_wh, tier))
    return flows


def test_random_sources_and_sinks() -> None:
    for seed in range(2_000):
        rng = random.Random(seed)
        sources = {member(number): rng.randint(0, 50) for number in rng.sample(range(12), rng.randint(0, 8))}
        sinks = {member(number): rng.randint(0, 50) for number in rng.sample(range(12), rng.randint(0, 8))}
        flows = pair(sources, sinks, PLACES)
        assert flows == nested_loops(sources, sinks), seed
        assert sum(flow.energy_wh for flow in flows) == min(sum(sources.values()), sum(sinks.values()))
