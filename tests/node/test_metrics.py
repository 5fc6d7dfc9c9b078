"""The node's numbers as Prometheus reads them."""

from __future__ import annotations

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from node.metrics import Metrics

COUNTERS = {"bans": 2, "sent /ecloud/0123456789abcdef/consensus/1": 7, "served /ecloud/status/1": 3}


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = generate_latest(metrics.registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_everything_has_a_name_that_prometheus_takes() -> None:
    metrics = Metrics(lambda: {"height": 5.0}, lambda: COUNTERS, lambda: {"gossip in": 1})
    metrics.finality.observe(0.4)
    found = samples(metrics)
    assert found["ecloud_height", ()] == 5
    assert found["ecloud_network_bans_total", ()] == 2
    topic = (("what", "sent"), ("where", "/ecloud/0123456789abcdef/consensus/1"))
    assert found["ecloud_network_total", topic] == 7
    assert found["ecloud_network_total", (("what", "served"), ("where", "/ecloud/status/1"))] == 3
    assert found["ecloud_service_restarts_total", (("service", "gossip in"),)] == 1
    assert found["ecloud_finality_seconds_bucket", (("le", "0.5"),)] == 1
    assert found["ecloud_finality_seconds_bucket", (("le", "0.3"),)] == 0


def test_numbers_are_those_of_the_moment_they_are_asked_for() -> None:
    height = 1.0
    metrics = Metrics(lambda: {"height": height}, dict, dict)
    assert samples(metrics)["ecloud_height", ()] == 1
    height = 2.0
    assert samples(metrics)["ecloud_height", ()] == 2
