"""What ``up`` refuses before it starts anything, and when it lets the chain begin."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from devnet.making import make_devnet
from devnet.manifest import DevnetError, edit, load
from devnet.processes import identify
from devnet.up import LONGEST_LEAD_MS, first_of, lead_ms, up


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"blocks": 0}, "at least 1"),
        ({"nodes": 41}, "1 to 40"),
        ({"detach": True, "at": ["3:kill:bob"]}, "--detach"),
        ({"blocks": 5, "at": ["3:kill:zoe"]}, "there are anne"),
        ({"blocks": 5, "at": ["5:kill:bob"]}, "blocks 1 … 4"),
        ({"keep": True}, "there is no devnet"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    tmp_path: Path, arguments: dict[str, object], words: str
) -> None:
    with pytest.raises(DevnetError, match=words):
        up(directory=tmp_path / "devnet", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "devnet" / "devnet.json").exists()


def test_a_typing_error_costs_no_chain(tmp_path: Path) -> None:
    before = make_devnet(tmp_path, 4, 1_750_000_000_000, 0)
    for arguments in ({"nodes": 0}, {"at": ["3:kil:bob"]}, {"blocks": -1}):
        with pytest.raises(DevnetError):
            up(directory=tmp_path, **arguments)  # type: ignore[arg-type]
    assert load(tmp_path) == before


def test_a_devnet_that_is_kept_keeps_its_size(tmp_path: Path) -> None:
    make_devnet(tmp_path, 2, 1_750_000_000_000, 0)
    with pytest.raises(DevnetError, match="has 2 homes, not 3"):
        up(3, keep=True, directory=tmp_path)


@pytest.mark.parametrize("keep", [False, True])
def test_a_devnet_that_runs_is_left_alone(tmp_path: Path, keep: bool) -> None:
    # Given a devnet with somebody who supervises it
    before = make_devnet(tmp_path, 1, 1_750_000_000_000, 0)
    with edit(tmp_path) as manifest:
        manifest.supervisor = identify(os.getpid())
    # When another is started in its place
    with pytest.raises(DevnetError, match="ecloud devnet down"):
        up(1, directory=tmp_path, keep=keep)
    # Then nothing has changed
    assert load(tmp_path).homes == before.homes


def test_the_chain_begins_later_where_more_nodes_share_fewer_cores() -> None:
    assert lead_ms(4, 0.0, 2) < lead_ms(13, 0.0, 2) < lead_ms(13, 8.0, 2)
    assert lead_ms(4, 0.0, 16) < lead_ms(4, 0.0, 2)
    assert lead_ms(40, 100.0, 1) == LONGEST_LEAD_MS


def test_of_errors_that_occur_together_the_first_is_told() -> None:
    first, second = DevnetError("first"), DevnetError("second")
    assert first_of(BaseExceptionGroup("", [ExceptionGroup("", [first]), second])) is first
