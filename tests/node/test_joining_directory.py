"""A newcomer's directory: made whole, remembered, refused where it is another's. Fetching is in tests/end_to_end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ledger.encoding import encode
from ledger.genesis import chain_id
from node.configuration import Configuration
from node.founding import BadPlan, DirectoryTaken, read_genesis
from node.joining_directory import (
    CannotJoin,
    JoinRecord,
    MeterWish,
    forget_record,
    is_node,
    load_record,
    make_directory,
    require_same_chain,
    save_record,
)
from tests.node.joining_examples import make_invite
from tests.support.chain import make_genesis

GENESIS = make_genesis()
RECORD = JoinRecord(invite="ecloud1…", wallet="dora", name="dora", feeder="F1", meter=MeterWish("solar", 1, 2, 3))


def test_made_whole(tmp_path: Path) -> None:
    # When
    make_directory(tmp_path / "deep" / "node", encode(GENESIS), Configuration(), os.urandom(32))
    # Then
    assert is_node(tmp_path / "deep" / "node")
    assert read_genesis(tmp_path / "deep" / "node")[1] == GENESIS
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["node"]
    require_same_chain(tmp_path / "deep" / "node", make_invite(chain_id(GENESIS)))
    with pytest.raises(CannotJoin, match="another network, 'Mill Lane'"):
        require_same_chain(tmp_path / "deep" / "node", make_invite(bytes(32)))


def test_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(BadPlan):
        make_directory(tmp_path / "node", b"\x80", Configuration(), os.urandom(32))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "something").touch()
    with pytest.raises(DirectoryTaken, match="holds no node"):
        make_directory(tmp_path, encode(GENESIS), Configuration(), os.urandom(32))


def test_what_is_remembered(tmp_path: Path) -> None:
    assert load_record(tmp_path) is None
    save_record(tmp_path, RECORD)
    assert load_record(tmp_path) == RECORD
    (tmp_path / "join.json").write_text("{")
    with pytest.raises(CannotJoin, match=r"join.json is damaged"):
        load_record(tmp_path)
    forget_record(tmp_path)
    assert load_record(tmp_path) is None
