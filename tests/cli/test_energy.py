from __future__ import annotations

import time

import pytest

from ledger.transactions import SubmitReading
from node.client.client import NodeClient, ask
from node.client.wallet import sign_and_submit, wait_final
from tests.cli.conftest import Neighbourhood
from tests.cli.running import answer, refused, run

pytestmark = pytest.mark.xdist_group("a node of the command line")


def test_a_reading_shows_what_passed_and_mints_when_it_is_settled(neighbourhood: Neighbourhood) -> None:
    """Given a reading of the last whole period, When readings and meters are listed, Then it is there."""
    period_ms = neighbourhood.genesis.parameters.period_ms
    period = time.time_ns() // 1_000_000 // period_ms - 1
    reading = SubmitReading(
        period=period,
        import_wh=120,
        export_wh=300,
        sampled_at_ms=(period + 1) * period_ms,
        phases=(),
        samples_root=None,
    )

    async def submit(client: NodeClient) -> str | None:
        transaction = await sign_and_submit(client, neighbourhood.meter, reading)
        return (await wait_final(client, transaction.id.hex())).refusal

    assert ask(NodeClient(neighbourhood.api), submit) is None
    (found,) = answer("energy", "readings", *neighbourhood.options)["readings"]
    assert (found["period"], found["export_wh"], found["minted_mvote"]) == (period, 300, 0)
    row = run("energy", "readings", "anne", *neighbourhood.options).stdout.splitlines()[1].split()
    assert row[3:5] == ["anne", neighbourhood.meter.public_key.hex()[:12]]
    assert row[7] == "0.00"
    meters = run("energy", "meters", *neighbourhood.options).stdout.splitlines()
    assert len(meters) == 2
    assert "solar" in meters[1]
    assert "0.12" in meters[1]


def test_of_nobodys_meter_there_is_nothing(neighbourhood: Neighbourhood) -> None:
    said = refused("energy", "readings", "bob", *neighbourhood.options)
    assert said == "no meter, and no owner of one, is called 'bob'; owners are: anne"


def test_a_node_that_is_away_is_said() -> None:
    assert refused("energy", "meters", "--api", "http://127.0.0.1:9", status=4).startswith("no node answers at")
