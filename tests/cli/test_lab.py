from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.running import answer, refused, run


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
