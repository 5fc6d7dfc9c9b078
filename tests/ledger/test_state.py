"""The overlay: reads fall through, writes stay above, a refused transaction leaves no trace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding import Unsigned, Wire, encode
from ledger.refusal import Refusal, TransactionRefused
from ledger.state import DictReader, State, Table


class Note(Wire, frozen=True):
    number: Unsigned


NOTES = Table(0x70, Note)
OTHERS = Table(0x71, Note)


def reader(**notes: int) -> DictReader:
    return DictReader({NOTES.key(key.encode()): encode(Note(number)) for key, number in notes.items()})


def test_reads_fall_through_and_writes_stay_above() -> None:
    base = reader(a=1)
    state = State(base)
    NOTES.put(state, Note(2), b"a")
    NOTES.put(state, Note(3), b"b")

    assert NOTES.get(state, b"a") == Note(2)
    assert base.data == reader(a=1).data
    assert state.changes() == {NOTES.key(b"a"): encode(Note(2)), NOTES.key(b"b"): encode(Note(3))}


def test_a_deletion_is_a_change_only_where_something_was() -> None:
    state = State(reader(a=1))
    NOTES.delete(state, b"a")
    NOTES.put(state, Note(1), b"b")
    NOTES.delete(state, b"b")
    NOTES.delete(state, b"c")

    assert state.changes() == {NOTES.key(b"a"): None}


def test_writing_back_what_was_there_is_no_change() -> None:
    state = State(reader(a=1))
    NOTES.put(state, Note(2), b"a")
    NOTES.put(state, Note(1), b"a")

    assert state.changes() == {}


def test_a_refused_transaction_leaves_no_trace() -> None:
    state = State(reader(a=1, b=2))
    NOTES.put(state, Note(10), b"a")

    def refused() -> None:
        with state.transaction():
            NOTES.put(state, Note(11), b"a")
            NOTES.put(state, Note(12), b"a")
            NOTES.delete(state, b"b")
            NOTES.put(state, Note(13), b"c")
            raise TransactionRefused(Refusal.DUPLICATE, "no")

    with pytest.raises(TransactionRefused):
        refused()

    assert [NOTES.get(state, key) for key in (b"a", b"b", b"c")] == [Note(10), Note(2), None]
    assert state.changes() == {NOTES.key(b"a"): encode(Note(10))}
    assert [key for key, _ in NOTES.scan(state)] == [b"a", b"b"]


def test_what_a_transaction_wrote_stays_when_it_is_not_refused() -> None:
    state = State(reader())
    with state.transaction():
        NOTES.put(state, Note(1), b"a")
    assert state.changes() == {NOTES.key(b"a"): encode(Note(1))}
    assert NOTES.get(state, b"a") == Note(1)


def test_a_scan_sees_one_table_in_order_with_own_writes_and_without_deletions() -> None:
    state = State(reader(b=2, d=4, ba=21))
    OTHERS.put(state, Note(9), b"a")
    NOTES.put(state, Note(1), b"a")
    NOTES.put(state, Note(22), b"b")
    NOTES.delete(state, b"d")

    assert list(NOTES.scan(state)) == [(b"a", Note(1)), (b"b", Note(22)), (b"ba", Note(21))]
    assert list(NOTES.scan(state, b"b")) == [(b"b", Note(22)), (b"ba", Note(21))]


def test_a_scan_may_be_written_to_while_it_runs() -> None:
    state = State(reader(a=1, b=2, c=3))
    for key, note in NOTES.scan(state):
        NOTES.delete(state, key)
        NOTES.put(state, note, b"z" + key)

    assert [key for key, _ in NOTES.scan(state)] == [b"za", b"zb", b"zc"]


keys = st.binary(min_size=1, max_size=3)


@given(
    st.dictionaries(keys, st.integers(0, 3)),
    st.lists(st.tuples(keys, st.integers(0, 3) | st.none())),
    st.binary(max_size=2),
)
def test_the_overlay_is_a_dictionary_with_a_base(
    committed: dict[bytes, int], writes: list[tuple[bytes, int | None]], prefix: bytes
) -> None:
    base = DictReader({NOTES.key(key): encode(Note(number)) for key, number in committed.items()})
    state = State(base)
    model = dict(committed)
    for key, number in writes:
        if number is None:
            NOTES.delete(state, key)
            model.pop(key, None)
        else:
            NOTES.put(state, Note(number), key)
            model[key] = number

    assert list(NOTES.scan(state, prefix)) == [
        (key, Note(model[key])) for key in sorted(model) if key.startswith(prefix)
    ]
    base.apply(state.changes())
    assert base.data == {NOTES.key(key): encode(Note(number)) for key, number in model.items()}


@given(
    st.dictionaries(keys, st.integers(0, 3)),
    st.lists(st.lists(st.tuples(keys, st.integers(0, 3) | st.none())), max_size=4),
    st.booleans(),
)
def test_blocks_in_a_row_on_one_state_are_the_same_as_one_after_the_other_on_its_bytes(
    committed: dict[bytes, int], blocks: list[list[tuple[bytes, int | None]]], scans_between: bool
) -> None:
    one_by_one = DictReader({NOTES.key(key): encode(Note(number)) for key, number in committed.items()})
    start = dict(one_by_one.data)
    row = State(DictReader(start))
    for writes in blocks:
        alone, above = State(one_by_one), State(row)
        for state in (alone, above):
            for key, number in writes:
                if number is None:
                    NOTES.delete(state, key)
                else:
                    NOTES.put(state, Note(number), key)
        assert list(NOTES.scan(above)) == list(NOTES.scan(alone))
        one_by_one.apply(alone.changes())
        row.absorb(above)
        if scans_between:
            assert list(NOTES.scan(row)) == list(NOTES.scan(State(one_by_one)))
    after = DictReader(start)
    after.apply(row.changes())
    assert after.data == one_by_one.data
