"""The API's own numbers, beside the node's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from node.api import hypercorn_guard
from node.event_hub import EventHub


class ApiMetrics(Collector):
    """``requests``: answers by status class, ``2xx`` … ``5xx``."""

    def __init__(self, hub: EventHub) -> None:
        self.requests: Final[Counter[str]] = Counter()
        self._hub = hub

    def collect(self) -> Iterable[Metric]:
        requests = CounterMetricFamily("ecloud_api_requests", "answers of the local API", labels=["status"])
        for status, count in self.requests.items():
            requests.add_metric([status], count)
        yield requests
        broken = CounterMetricFamily(
            "ecloud_api_connections_broken", "connections ended by what a client sent", labels=["error"]
        )
        for name, count in hypercorn_guard.escaped.items():
            broken.add_metric([name], count)
        yield broken
        yield GaugeMetricFamily("ecloud_api_event_streams", "clients that follow the events", value=len(self._hub))
