"""The ledger's state while a block is executed: typed tables over bytes, with roll-back.

1. Below is a ``StateReader``: the committed state, canonical CBOR under typed keys (one prefix byte per table, then
   the record's key).
2. ``State`` lies over it and is the only thing the ledger writes to. Records are decoded once and kept as immutable
   structs.
3. ``State.transaction()`` undoes every write made inside it when the block of code raises ``TransactionRefused``.
4. A ``State`` may lie over another: a block of several in a row is executed on what the ones before it left, without
   their records being encoded and decoded in between; ``absorb`` takes its effect over.
5. ``State.changes()`` is the block's net effect, key → bytes or None for a deletion, without writes that changed
   nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from heapq import merge
from typing import Final, Generic, Protocol, TypeVar, Union, cast

from sortedcontainers import SortedDict, SortedList

from ledger.encoding import Wire, decode, encode
from ledger.refusal import TransactionRefused

MAX_RECORD_BYTES: Final = 1024 * 1024  # a committee of all members that bounds allow has about 400 KB

SMALL_RECORD_BYTES: Final = 1_024
SMALL_RECORDS_REMEMBERED: Final = 4_096
LARGE_RECORDS_REMEMBERED: Final = 16
"""Decoded records are immutable, and every block reads the same parameters, committees and candidates."""

MAX_KEY_TAIL: Final = b"\xff" * 512  # sorts after any continuation of a key; the longest key has 65 bytes

R = TypeVar("R", bound=Wire)


class StateReader(Protocol):
    """Committed state. ``scan`` yields (key, value) in ascending key order for all keys that begin with ``prefix``."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]: ...


class DictReader:
    """A ``StateReader`` in memory: for genesis, tests and the laboratory."""

    def __init__(self, data: Mapping[bytes, bytes]) -> None:
        self.data: dict[bytes, bytes] = SortedDict(data)

    def get(self, key: bytes) -> bytes | None:
        return self.data.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        data = self.data
        for key in data.irange(prefix):  # type: ignore[attr-defined]  # SortedDict has no types
            if not key.startswith(prefix):
                return
            yield key, data[key]

    def apply(self, changes: Mapping[bytes, bytes | None]) -> None:
        for key, value in changes.items():
            if value is None:
                self.data.pop(key, None)
            else:
                self.data[key] = value


Base = Union[StateReader, "State"]


class State:
    """An overlay of decoded records on a ``StateReader`` or on another ``State``; see the module's rules."""

    def __init__(self, base: Base) -> None:
        self.base = base
        self._records: dict[bytes, Wire | None] = {}
        self._before: dict[bytes, Wire | None] = {}  # the committed record of every key ever written to
        self._sorted: SortedList[bytes] = SortedList()
        self._unsorted: list[bytes] = []  # keys of ``_before`` that no scan has asked for yet
        self._undo: list[tuple[bytes, Wire | None]] | None = None

    def read(self, key: bytes, record: type[R]) -> R | None:
        if key in self._records:
            found = self._records[key]
            assert found is None or type(found) is record, f"two tables share the key {key.hex()}"
            return found
        if isinstance(self.base, State):
            loaded = self.base.read(key, record)
        else:
            data = self.base.get(key)
            loaded = None if data is None else _decode_record(data, record)
        self._records[key] = loaded
        return loaded

    def write(self, key: bytes, record: Wire | None, record_type: type[Wire]) -> None:
        previous = self.read(key, record_type)
        if key not in self._before:
            self._before[key] = previous
            self._unsorted.append(key)
        if self._undo is not None:
            self._undo.append((key, previous))
        self._records[key] = record

    def scan(self, prefix: bytes, record: type[R]) -> Iterator[tuple[bytes, R]]:
        """Yields (whole key, record) in ascending key order, own writes included. Reads no further than the caller
        iterates. Safe to write while iterating; keys new since the start are not visited.
        """
        base = self.base
        below = base.scan(prefix, record) if isinstance(base, State) else base.scan(prefix)
        committed = (key for key, _ in below)
        written = self._written_keys(prefix)
        last = None
        for key in merge(committed, written) if written else committed:
            if key != last and (found := self.read(key, record)) is not None:
                yield key, found
            last = key

    def _written_keys(self, prefix: bytes) -> list[bytes]:
        if self._unsorted:
            self._sorted.update(self._unsorted)
            self._unsorted.clear()
        return list(self._sorted.irange(prefix, prefix + MAX_KEY_TAIL))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing: a ``TransactionRefused`` raised inside undoes the writes made inside, and is raised on."""
        assert self._undo is None, "transactions do not nest"
        self._undo = []
        try:
            yield
        except TransactionRefused:
            for key, previous in reversed(self._undo):
                self._records[key] = previous
            raise
        finally:
            self._undo = None

    def written(self) -> Iterator[tuple[bytes, Wire | None, Wire | None]]:
        """Yields (key, committed record, record now) of every key written to, ascending: what conservation is checked
        on. Both are equal where writes were undone or changed nothing.
        """
        for key in self._written_keys(b""):
            yield key, self._before[key], self._records[key]

    def absorb(self, above: State) -> None:
        """Takes over what was written to a state that lies over this one."""
        assert above.base is self
        assert self._undo is None
        for key, before, record in above.written():
            if key not in self._before:
                self._before[key] = before
                self._unsorted.append(key)
            self._records[key] = record

    def changes(self) -> dict[bytes, bytes | None]:
        """The net effect in ascending key order; records that were written back unchanged do not appear."""
        return {
            key: None if record is None else encode(record)
            for key, before, record in self.written()
            if record != before
        }


def _decode_record(data: bytes, record: type[R]) -> R:
    """Errors: EncodingError."""
    return cast("R", (_decode_small if len(data) <= SMALL_RECORD_BYTES else _decode_large)(data, record))


@lru_cache(maxsize=SMALL_RECORDS_REMEMBERED)
def _decode_small(data: bytes, record: type[Wire]) -> Wire:
    return decode(data, record, MAX_RECORD_BYTES)


@lru_cache(maxsize=LARGE_RECORDS_REMEMBERED)
def _decode_large(data: bytes, record: type[Wire]) -> Wire:
    return decode(data, record, MAX_RECORD_BYTES)


class Table(Generic[R]):
    """One kind of record under one prefix byte."""

    def __init__(self, prefix: int, record: type[R]) -> None:
        self.prefix = bytes((prefix,))
        self.record = record

    def key(self, *parts: bytes) -> bytes:
        return self.prefix + b"".join(parts)

    def get(self, state: State, *parts: bytes) -> R | None:
        return state.read(self.key(*parts), self.record)

    def put(self, state: State, record: R, *parts: bytes) -> None:
        state.write(self.key(*parts), record, self.record)

    def delete(self, state: State, *parts: bytes) -> None:
        state.write(self.key(*parts), None, self.record)

    def scan(self, state: State, *prefix: bytes) -> Iterator[tuple[bytes, R]]:
        """Yields (key without the table's prefix, record), ascending, for keys that begin with ``prefix``."""
        for key, record in state.scan(self.key(*prefix), self.record):
            yield key[1:], record
