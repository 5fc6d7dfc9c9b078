from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.running import answer, refused, run

CHAOS_FIELDS = [
    "runs",
    "heights",
    "violations",
    "halts",
    "convictable",
    "partitions",
    "crashes",
    "equivocations",
    "node_days",
    "cpu_seconds",
]


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        run("lab", "voting", "--blocks", "20", "--seed", "7", "--csv", str(tmp_path / f"{name}.csv"))
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    assert len((tmp_path / "one.csv").read_text().splitlines()) == 1 + 3 * 20


def test_a_picture_is_drawn_where_it_is_asked_for(tmp_path: Path) -> None:
    result = run("lab", "voting", "--blocks", "20", "--plot", str(tmp_path / "one.png"))
    assert result.stderr == f"written: {tmp_path / 'one.png'}\n"
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


def test_the_three_rules_stand_side_by_side() -> None:
    title, *rows = run("lab", "voting", "--blocks", "30").stdout.splitlines()
    assert title.split("  ")[-1] == "Condorcet"
    assert "E-Cloud's rule  Draw of this chain" in title
    won = [[int(number) for number in row.split()[-3:]] for row in rows[:4]]
    assert [sum(column) for column in zip(*won, strict=True)] == [30, 30, 30]


def test_for_programs_there_are_numbers() -> None:
    found = answer("lab", "voting", "--blocks", "30", "--seed", "3")
    assert [one["rule"] for one in found["rules"]] == ["ecloud", "draw", "condorcet"]
    assert all(sum(one["wins"].values()) == 30 for one in found["rules"])
    assert found == answer("lab", "voting", "--blocks", "30", "--seed", "3")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--blocks", "0"], "blocks must be 1 … 100000, not 0"),
        (["--blocks", "1000000"], "blocks must be 1 … 100000, not 1000000"),
        (["--blocks", "5", "--csv", "/nonexistent/file.csv"], "--csv: "),
        (["--blocks", "5", "--plot", "/nonexistent/file.png"], "--plot: "),
    ],
)
def test_what_cannot_be_is_said(options: list[str], says: str) -> None:
    assert says in refused("lab", "voting", *options, status=2)


def test_chaos_harms_nobody_and_says_what_happened() -> None:
    found = answer("lab", "chaos", "--days", "0.3", "--seed", "3")
    assert list(found) == CHAOS_FIELDS
    assert (found["runs"], found["violations"], found["halts"], found["convictable"]) == (1, 0, 0, 0)
    assert found["heights"] >= 40
    assert found["node_days"] == 1.2
    again = answer("lab", "chaos", "--days", "0.3", "--seed", "3")
    assert {**found, "cpu_seconds": 0} == {**again, "cpu_seconds": 0}


def test_for_people_there_is_a_table_with_the_interval() -> None:
    told = run("lab", "chaos", "--days", "0.005", "--interval", "15").stdout
    rows = dict(line.split("  ", 1) for line in told.splitlines())
    assert rows["heights"].strip().endswith("15 s apart")
    assert rows["violations"].strip() == "0"


def test_a_mutant_is_noticed_and_its_fault_named() -> None:
    result = run("lab", "chaos", "--mutant", "wrong-committee", "--json", status=1)
    assert '"violations": 1' in result.stdout
    assert "seed 0, violation: home" in result.stderr
    assert "another committee than the parent's header names" in result.stderr


def test_a_run_is_drawn(tmp_path: Path) -> None:
    run("lab", "chaos", "--days", "0.05", "--plot", str(tmp_path / "run.png"))
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--nodes", "0"], "nodes must be 4 … 64, not 0"),
        (["--nodes", "3"], "nodes must be 4 … 64, not 3"),
        (["--days", "-1"], "days must be above 0 and at most 3650, not -1"),
        (["--seeds", "0"], "seeds must be 1 … 100000, not 0"),
        (["--interval", "1"], "the block interval must be 5 … 600 s, not 1"),
        (["--mutant", "nothing"], "no mutant is called 'nothing'; there are finalize-after-nullify"),
        (["--days", "0.01", "--plot", "/nonexistent/file.png"], "--plot: "),
    ],
)
def test_chaos_that_cannot_be_is_said(options: list[str], says: str) -> None:
    assert says in refused("lab", "chaos", *options, status=2)


def test_a_neighbourhood_is_played_and_told_as_numbers_tables_and_a_picture(tmp_path: Path) -> None:
    """Given a small neighbourhood, when a day of it is played, then its goals are met and everything is written."""
    tables, picture = tmp_path / "tables", tmp_path / "run.png"
    options = ("--homes", "3", "--pv", "1", "--days", "1", "--csv", str(tables), "--plot", str(picture))
    found = answer("lab", "neighbourhood", *options)
    assert {"self_sufficiency", "self_consumption", "saving_per_home", "days", "cpu_seconds", "wall_seconds"} <= set(
        found
    )
    alone, market, pooled = (found["self_sufficiency"][name] for name in ("alone", "market", "pooled"))
    assert market - alone >= 0.95 * (pooled - alone) > 0
    assert 0 <= found["saving_per_home"]["min"] <= found["saving_per_home"]["mean"]
    assert (found["days"], found["conservation"]) == (1, 0)
    assert {path.name for path in tables.iterdir()} == {"homes.csv", "days.csv", "periods.csv"}
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_for_people_a_neighbourhood_is_a_table_of_three_ways_to_live() -> None:
    told = run("lab", "neighbourhood", "--homes", "2", "--pv", "1", "--days", "1", "--no-pool", "--auction").stdout
    assert told.splitlines()[0].split("  ")[-1] == "perfect pooling"
    for what in ("self-sufficiency", "saving per home", "prices of trades", "pool price  ", "computing"):
        assert what in told
    quiet = run("lab", "neighbourhood", "--homes", "2", "--pv", "1", "--days", "1", "--no-orders").stdout
    assert "nobody traded" in quiet


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--homes", "3", "--pv", "4"], "pv must be 0 … 3, the number of homes, not 4"),
        (["--homes", "1", "--pv", "0"], "homes must be 2 … 200, not 1"),
        (["--days", "0"], "days must be 1 … 366, not 0"),
        (["--seed", "-1"], "seed must be 0 or more, not -1"),
        (["--first-day", "400"], "the first day must be 0 … 365, not 400"),
        (["--csv", "/proc/nowhere"], "--csv: cannot write /proc/nowhere"),
        (["--plot", "/nonexistent/file.png"], "--plot: cannot write /nonexistent/file.png"),
    ],
)
def test_a_neighbourhood_that_cannot_be_is_said(options: list[str], says: str) -> None:
    assert says in refused("lab", "neighbourhood", *options, status=2)
