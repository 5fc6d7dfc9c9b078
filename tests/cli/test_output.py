from __future__ import annotations

import pytest

from cli.fields import payload_facts
from cli.output import plain, print_facts, print_table


def test_a_value_of_several_lines_stays_in_its_column(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts([("a", "one\ntwo"), ("long", ""), ("", "three")])
    assert capsys.readouterr().out == "a     one\n      two\nlong\n      three\n"


def test_a_table_in_a_pipe_is_whole_and_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["name", ">amount"], [["anne" * 60, "1.00"], ["bob", "[red]10.00"]], empty="")
    title, first, second = capsys.readouterr().out.splitlines()
    assert first == f"{'anne' * 60}        1.00"
    assert second.endswith("  [red]10.00"), "no markup of a text from elsewhere"
    assert len(title) == len(first) == len(second)


def test_of_nothing_something_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["name"], [], empty="nobody")
    assert capsys.readouterr().out == "nobody\n"


@pytest.mark.parametrize("text", ["\x1b[2J", "a\rb", "a\nb", "\x07", "\u202e", "\x9b"])
def test_control_characters_do_not_reach_the_terminal(text: str) -> None:
    assert plain(text).isprintable()


def test_every_unit_is_shown_by_its_suffix() -> None:
    party = {"address": "ecX", "name": "bob"}
    assert payload_facts(
        {
            "recipient": party,
            "token": "grid",
            "amount": 1_500_000,
            "amount_mvote": 2_500,
            "import_wh": 1_250,
            "import_nameplate_w": 17_250,
            "keep_bps": 2_000,
            "sampled_at_ms": 1_750_000_000_000,
            "voltage_mv": 230_100,
            "something_new": 1_234,
            "samples_root": None,
            "roles": ["approver", "issuer"],
            "targets": [{"candidate": {"address": "ecY", "name": None}, "share_bps": 10_000}],
        }
    ) == [
        ("recipient", "bob  ecX"),
        ("amount", "1.50 GRID"),
        ("amount", "2.50 VOTE"),
        ("import", "1.25 kWh"),
        ("import nameplate", "17,250 W"),
        ("keep", "20.0 %"),
        ("sampled", "2025-06-15 15:06:40 UTC"),
        ("voltage", "230.10 V"),
        ("something new", "1,234"),
        ("samples root", "–"),
        ("roles", "approver, issuer"),
        ("targets 1", ""),
        ("  candidate", "ecY"),
        ("  share", "100.0 %"),
    ]
