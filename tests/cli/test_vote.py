from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Neighbourhood
from tests.cli.running import answer, refused, run

pytestmark = pytest.mark.xdist_group("a node of the command line")


def test_tokens_are_withdrawn_and_cast_again(neighbourhood: Neighbourhood) -> None:
    """Given the ballot of the genesis, When some is withdrawn, Then it is kept, and can be cast."""
    run("vote", "withdraw", "anne", "10", "VOTE", "--yes", *neighbourhood.signing())
    kept = answer("vote", "show", "anne", *neighbourhood.options)["votes"]["kept_mvote"]
    assert kept >= 10_000
    cast = run("vote", "cast", "anne", "2.5", *neighbourhood.signing(), answers="y\n")
    assert cast.stderr.splitlines()[0] == "cast    2.50 VOTE"
    assert cast.stdout.endswith("\n")
    assert "final in block " in cast.stdout
    assert 0 < answer("vote", "show", "anne", *neighbourhood.options)["votes"]["kept_mvote"] <= kept - 2_400


def test_a_rule_is_set_and_shown(neighbourhood: Neighbourhood) -> None:
    options = ["--keep", "33.33", "--to", "anne=100", *neighbourhood.signing("bob")]
    asked = run("vote", "rule", *options, answers="y\n").stderr.splitlines()
    assert asked[:2] == [
        "keep                  33.33 %",
        f"100.00 % of the rest  anne  {neighbourhood.address('anne')}",
    ]
    rule = answer("vote", "show", "bob", *neighbourhood.options)["votes"]["rule"]
    assert rule["keep_bps"] == 3_333
    assert [(one["candidate"]["name"], one["share_bps"]) for one in rule["targets"]] == [("anne", 10_000)]
    shown = run("vote", "show", "bob", *neighbourhood.options).stdout
    assert "rule         keeps 33.33 %\n             100.00 % of the rest to anne\n" in shown


def test_all_candidates_are_shown(neighbourhood: Neighbourhood) -> None:
    title, first = run("vote", "show", *neighbourhood.options).stdout.splitlines()
    assert title.split()[:2] == ["candidate", "status"]
    assert first.split()[:2] == ["anne", "active"]
    assert "100.0 %" in first


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["cast", "anne", "1000"], "refused: insufficient_votes: "),
        (["cast", "bob", "1"], "refused: not_a_candidate: "),
        (["cast", "anne", "0"], "refused: amount_zero: "),
        (["withdraw", "anne", "1000"], "refused: insufficient_votes: "),
        (["rule", "--keep", "0", "--to", "bob=100"], "refused: not_a_candidate: "),
        (["rule", "--keep", "0", "--to", "carla=100"], "no member is called 'carla'"),
    ],
)
def test_a_refusal_is_shown_with_its_word(neighbourhood: Neighbourhood, arguments: list[str], says: str) -> None:
    assert says in refused("vote", *arguments, "--yes", *neighbourhood.signing("anne"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["cast", "anne", "ten"], "is no amount of VOTE"),
        (["cast", "anne", "0.0001"], "VOTE has 3 decimals at the most"),
        (["rule", "--keep", "a fifth"], "--keep: 'a fifth' is no amount of percent"),
        (["rule", "--keep", "101"], "--keep: 101 percent is more than all"),
        (["rule", "--keep", "20"], "sum to 0.00 %; they must sum to 100 %"),
        (["rule", "--keep", "20", "--to", "bob=50"], "sum to 50.00 %; they must sum to 100 %"),
        (["rule", "--keep", "100", "--to", "bob=100"], "nothing is left to cast"),
        (["rule", "--keep", "20", "--to", "bob"], "for instance --to bob=50"),
        (["rule", "--keep", "20", "--to", "bob=50", "--to", "bob=50"], "bob is named twice"),
        (["rule"], "Missing option '--keep'"),
    ],
)
def test_wrong_usage_is_found_before_the_node_is_asked(wallets: Path, arguments: list[str], says: str) -> None:
    options = ["--wallets", str(wallets), "--wallet", "anne", "--api", "http://127.0.0.1:9"]
    assert says in refused("vote", *arguments, *options, status=2)
