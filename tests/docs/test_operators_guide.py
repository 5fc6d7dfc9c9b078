"""The settings, metrics and statuses of ``docs/operators-guide.md`` are the program's own."""

from __future__ import annotations

import json
import re

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from trio.testing import MockClock

from cli.main import EXIT_STATUS
from node.api.metrics import ApiMetrics
from node.event_hub import EventHub
from node.founding import GENESIS_NAME, NODE_KEY_NAME
from tests.docs.configuration_reference import reference
from tests.docs.documents import ROOT, table_rows
from tests.support.nodes import neighbourhood

GUIDE = ROOT / "docs" / "operators-guide.md"
DASHBOARD = ROOT / "docs" / "grafana-dashboard.json"


def test_the_reference_has_every_setting_as_it_is() -> None:
    # If this fails: python -m tests.docs.configuration_reference prints the table
    assert table_rows(GUIDE, "Settings") == reference()


def test_the_exit_statuses_are_those_of_the_help() -> None:
    listed = {row[0]: row[1] for row in table_rows(GUIDE, "Exit status")}
    said = dict(re.findall(r"^  (\d)  (.+)$", EXIT_STATUS, re.MULTILINE))
    assert listed == {**said, "130": "interrupted"}


def test_the_data_directory_lists_what_is_made() -> None:
    listed = {name for row in table_rows(GUIDE, "The data directory") for name in re.findall(r"[\w.]+", row[0])}
    assert {GENESIS_NAME, NODE_KEY_NAME, "config.toml", "api.token", "chain", "journal", "mempool.log"} <= listed


async def _metric_names() -> set[str]:
    """The names that ``/metrics`` of a node shows after two blocks."""
    async with neighbourhood(seed=1) as homes:
        await homes.until_height(2)
        node = homes.homes["anne"].node
        assert node is not None
        api = CollectorRegistry(auto_describe=False)
        api.register(ApiMetrics(EventHub()))
        text = (generate_latest(node.registry) + generate_latest(api)).decode()
    return set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))


@pytest.mark.trio
async def test_the_metrics_listed_and_drawn_are_those_of_a_node(autojump_clock: MockClock) -> None:
    names = await _metric_names()
    listed = {row[0] for row in table_rows(GUIDE, "Metrics and the dashboard")}
    # Then the guide lists each of the node's own, and no other
    assert {name for name in names if not name.startswith("ecloud_network_")} - {"ecloud_finality_seconds_created"} == {
        name for name in listed if not name.startswith("ecloud_network_")
    }
    # and the dashboard draws only what there is
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert expressions
    for expression in expressions:
        bare = re.sub(r'"[^"]*"', "", expression)
        for name in re.findall(r"\becloud_\w+", bare):
            assert re.sub(r"_(bucket|count|sum)$", "", name) in names, name


def test_the_dashboard_s_panels_have_places_of_their_own() -> None:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    places = [
        (x, y)
        for panel in panels
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(places)) == len(places)
    assert all(x < 24 for x, _ in places)
    assert len({panel["id"] for panel in panels}) == len(panels)
