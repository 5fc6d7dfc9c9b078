"""``ecloud home``: making a home, what is wrong with one, and what is known of one that does not run."""

from __future__ import annotations

from pathlib import Path

import pytest

from home.samples import Sample, SampleStore
from home.status import HomeStatus, write_status
from ledger.keys import SigningKey
from ledger.merkle import merkle_root
from node.key_files import load_seed
from tests.cli.running import answer, refused, run


def test_a_home_is_made_once_with_a_key_and_every_setting(tmp_path: Path) -> None:
    home = tmp_path / "home"
    found = answer("home", "init", "--directory", str(home), "--source", "p1", "--cable", "tcp:10.0.0.9:23")
    assert SigningKey(load_seed(home / "meter.key")).public_key.hex() == found["meter"]
    text = (home / "home.toml").read_text()
    assert 'cable = "tcp:10.0.0.9:23"' in text
    # And it is never overwritten
    assert "is there already" in refused("home", "init", "--directory", str(home))
    assert (home / "home.toml").read_text() == text


def test_the_key_that_joining_made_is_taken(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "meter.key").write_text("11" * 32 + "\n")
    (tmp_path / "node" / "meter.key").chmod(0o600)
    found = answer("home", "init", "-D", str(tmp_path / "home"), "-d", str(tmp_path / "node"))
    assert found["meter"] == SigningKey(b"\x11" * 32).public_key.hex()
    assert not (tmp_path / "home" / "meter.key").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[mqtt]\nbroker = 'mosquitto'", "line 2: broker: 'mosquitto' is not HOST:PORT"),
        ("[meter]\nsource = 'roof'", "line 2: source = 'roof'; there are simulated, p1, signed"),
        ("[meter\n", "not TOML"),
        ("[wallet]\nname = 'anne'\ndirectory = 'none'\npassword_file = 'none'", "--password-file"),
        ("[mqtt]\nbroker = 'off'\n", "there is no key file"),
    ],
)
def test_a_home_that_cannot_run_says_why(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "home.toml").write_text(text)
    assert words in refused("home", "run", "--directory", str(tmp_path), status=2)


def test_without_a_directory_it_says_how_to_make_one(tmp_path: Path) -> None:
    assert "ecloud home init" in refused("home", "run", "--directory", str(tmp_path / "missing"), status=2)
    assert "no home has run" in refused("home", "status", "--directory", str(tmp_path / "missing"))


def test_the_status_of_a_home_that_ran(tmp_path: Path) -> None:
    said = HomeStatus(
        state="online",
        pid=1,
        started_at_ms=1_790_000_000_000,
        now_ms=1_790_000_060_000,
        meter="ab" * 32,
        source="serial:/dev/ttyUSB0",
        source_works=True,
        node="http://127.0.0.1:4080",
        node_answers=False,
        mqtt="off",
        mqtt_connected=False,
        import_wh=12_345,
        export_wh=0,
        waiting=3,
        refused={"torn": 2},
        missed=1,
        shed=("non_essential",),
        last_actions=("12:00:00 buy 1.00 kWh",),
    )
    write_status(tmp_path, said)
    done = run("home", "status", "--directory", str(tmp_path))
    for words in (
        "does not run",
        "12.345 kWh taken in",
        "is away",
        "2 torn",
        "3 readings",
        "non_essential",
        "buy 1.00",
    ):
        assert words in done.stdout
    found = answer("home", "status", "--directory", str(tmp_path))
    assert (found["running"], found["home"]["waiting"]) == (False, 3)


def test_a_telegram_is_proven(tmp_path: Path) -> None:
    store = SampleStore(tmp_path / "samples")
    telegrams = [f"/X{number}\r\n".encode() for number in range(5)]
    for number, raw in enumerate(telegrams):
        store.append(7, Sample(number, raw))
    found = answer("home", "prove", "7", "--sample", "2", "-D", str(tmp_path))
    assert found["samples_root"] == merkle_root(telegrams).hex()
    assert (found["index"], found["size"], found["telegram"]) == (2, 5, "/X2\r\n")
    assert "number 4 of 5" in run("home", "prove", "7", "-D", str(tmp_path)).stdout
    assert "0 telegrams" in refused("home", "prove", "8", "-D", str(tmp_path))
