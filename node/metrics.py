"""The node's numbers in Prometheus' form, collected when they are asked for.

The network's counters come as ``word`` or ``word topic-or-protocol`` (``sent /ecloud/0123456789abcdef/consensus/1``).
The first are counters of their own, ``ecloud_network_<word>_total``; the second are one, ``ecloud_network_total``, with
the labels ``what`` and ``where``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ledger.effects import Effect, EffectKind
from ledger.market.matching import Side

FINALITY_BUCKETS_S: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60, 300)

Numbers = Callable[[], Mapping[str, float]]


NETWORK_GAUGES: Final = frozenset(
    ("peers", "inbound", "handshakes", "empty_mesh", "known_peers", "reachable", "relay_circuits", "relay_reservations")
)
"""Of the network's numbers those that also fall."""


class _Live(Collector):
    def __init__(self, gauges: Numbers, counters: Numbers, restarts: Callable[[], Mapping[str, int]]) -> None:
        self._gauges = gauges
        self._counters = counters
        self._restarts = restarts

    def collect(self) -> Iterable[Metric]:
        for name, value in self._gauges().items():
            yield GaugeMetricFamily(f"ecloud_{name}", name.replace("_", " "), value=value)
        by_place = CounterMetricFamily("ecloud_network", "what happened where on the network", labels=["what", "where"])
        for name, value in self._counters().items():
            what, _, where = name.partition(" ")
            if where:
                by_place.add_metric([what, where], value)
            elif name in NETWORK_GAUGES:
                yield GaugeMetricFamily(f"ecloud_network_{name}", name.replace("_", " "), value=value)
            else:
                yield CounterMetricFamily(f"ecloud_network_{name}", name.replace("_", " "), value=value)
        yield by_place
        restarts = CounterMetricFamily("ecloud_service_restarts", "services started again", labels=["service"])
        for service, count in self._restarts().items():
            restarts.add_metric([service], count)
        yield restarts


class _Traded(Collector):
    """Since this start."""

    def __init__(self) -> None:
        self.trades = 0
        self.energy_wh = 0

    def collect(self) -> Iterable[Metric]:
        yield CounterMetricFamily("ecloud_market_trades", "trades in blocks since this start", value=self.trades)
        yield CounterMetricFamily("ecloud_market_energy_wh", "energy they moved, Wh", value=self.energy_wh)


class Metrics:
    """``registry`` is what ``/metrics`` renders."""

    def __init__(self, gauges: Numbers, counters: Numbers, restarts: Callable[[], Mapping[str, int]]) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self.finality = Histogram(
            "ecloud_finality_seconds",
            "from the block's time to its commit here",
            buckets=FINALITY_BUCKETS_S,
            registry=self.registry,
        )
        self._traded = _Traded()
        self.registry.register(self._traded)
        self.registry.register(_Live(gauges, counters, restarts))

    def count_trades(self, effects: Iterable[Effect]) -> None:
        """Of one final block. Each trade has two effects: the seller's is counted."""
        for effect in effects:
            if effect.kind == EffectKind.ORDER_FILLED and effect.side == Side.SELL:
                self._traded.trades += 1
                self._traded.energy_wh += effect.energy_wh
