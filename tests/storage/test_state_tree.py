"""The tree against its own rules, rebuilt from nothing by other code; proofs true and false."""

from __future__ import annotations

import math
import random
from hashlib import sha256

import cbor2
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import state_tree
from storage.errors import Damaged
from storage.state_tree import EMPTY_ROOT, Proof, prove, root_of, tree_of, update, verify

Records = dict[bytes, bytes]


def bits_of(key: bytes) -> str:
    return "".join(f"{byte:08b}" for byte in sha256(key).digest())


def stored_path(bits: str) -> bytes:
    padded = bits + "0" * (-len(bits) % 8)
    return bytes(int(padded[at : at + 8], 2) for at in range(0, len(padded), 8)) + len(bits).to_bytes(2, "big")


def rebuilt(records: Records) -> tuple[bytes, dict[bytes, bytes]]:
    """Root and all nodes straight from the rules in the module's docstring."""
    nodes: dict[bytes, bytes] = {}

    def place(path: str, leaves: list[tuple[str, bytes]]) -> bytes:
        if not leaves:
            return bytes(32)
        if len(leaves) == 1:
            node = leaves[0][1]
        else:
            zeros = [leaf for leaf in leaves if leaf[0][len(path)] == "0"]
            ones = [leaf for leaf in leaves if leaf[0][len(path)] == "1"]
            node = b"\x01" + place(path + "0", zeros) + place(path + "1", ones)
        nodes[stored_path(path)] = node
        return sha256(node).digest()

    leaves = sorted(
        (bits_of(key), b"\x00" + sha256(key).digest() + sha256(value).digest()) for key, value in records.items()
    )
    return place("", leaves), nodes


def close_keys() -> list[bytes]:
    """Keys whose hashes share 8 to 16 bits and more, beside some that do not: deep branches, long collapses."""
    chance = random.Random(5)
    by_prefix: dict[bytes, list[bytes]] = {}
    while len(groups := [group for group in by_prefix.values() if len(group) >= 3]) < 4:
        key = chance.randbytes(6)
        by_prefix.setdefault(sha256(key).digest()[:2], []).append(key)
    near = [key for group in groups for key in group]
    same_byte = [key for key in (chance.randbytes(5) for _ in range(4_000)) if sha256(key).digest()[0] == 0xA5][:8]
    return near + same_byte + [b"plain %d" % number for number in range(12)]


KEYS = close_keys()
batches = st.lists(
    st.dictionaries(st.sampled_from(KEYS), st.none() | st.binary(max_size=4), max_size=12), min_size=1, max_size=12
)


def apply(nodes: dict[bytes, bytes], records: Records, changes: dict[bytes, bytes | None]) -> bytes:
    result = update(nodes.get, changes)
    for path, node in result.nodes.items():
        assert nodes.get(path) != node, "a node that did not change was written"
        if node is None:
            del nodes[path]
        else:
            nodes[path] = node
    for key, value in changes.items():
        if value is None:
            records.pop(key, None)
        else:
            records[key] = value
    return result.root


@given(batches)
@settings(max_examples=150, deadline=None)
def test_any_sequence_of_batches_ends_at_the_tree_rebuilt_from_the_records(
    sequence: list[dict[bytes, bytes | None]],
) -> None:
    # Given an empty tree
    nodes: dict[bytes, bytes] = {}
    records: Records = {}
    for changes in sequence:
        # When a batch of insertions, changes and deletions is applied
        root = apply(nodes, records, changes)
        # Then root and nodes, to the last one, are those of the records alone
        assert (root, nodes) == rebuilt(records) == tree_of(records)
        assert root_of(nodes.get) == root


@given(batches)
@settings(max_examples=50, deadline=None)
def test_deleting_all_leaves_nothing(sequence: list[dict[bytes, bytes | None]]) -> None:
    nodes: dict[bytes, bytes] = {}
    records: Records = {}
    for changes in sequence:
        apply(nodes, records, changes)
    root = apply(nodes, records, dict.fromkeys(KEYS))
    assert (root, nodes) == (EMPTY_ROOT, {})


def test_many_records_in_many_batches() -> None:
    # Given two thousand records, when forty batches change, add and delete some, then the tree is that of a rebuild
    chance = random.Random(3)
    nodes: dict[bytes, bytes] = {}
    records: Records = {}
    apply(nodes, records, {chance.randbytes(8): chance.randbytes(9) for _ in range(2_000)})
    for _ in range(40):
        changes: dict[bytes, bytes | None] = {chance.randbytes(8): b"new" for _ in range(10)}
        changes |= {key: chance.choice((None, b"changed")) for key in chance.sample(sorted(records), 30)}
        root = apply(nodes, records, changes)
    assert (root, nodes) == rebuilt(records)


def test_an_empty_batch_and_an_absent_deletion_change_nothing() -> None:
    nodes = {path: node for path, node in tree_of({b"a": b"1", b"b": b"2"}).nodes.items() if node is not None}
    before = root_of(nodes.get)
    assert update(nodes.get, {}) == (before, {})
    assert update(nodes.get, {b"absent": None, b"a": b"1"}) == (before, {})
    assert update(lambda _: None, {b"absent": None}) == (EMPTY_ROOT, {})


def test_golden_roots() -> None:
    """Fixed for ever: a change here is a change of every chain's state roots."""
    one = {b"anne": b"1"}
    many = {b"home %d" % number: b"%d Wh" % (number * 10) for number in range(100)}
    assert tree_of(one).root == sha256(b"\x00" + sha256(b"anne").digest() + sha256(b"1").digest()).digest()
    assert tree_of(many).root.hex() == "13abf02894f210fe94aa14fbca77b05ed0cb5fc245465b85a98a097c375da6e2"


def test_an_update_reads_only_the_changed_paths() -> None:
    # Given 5,000 records
    chance = random.Random(9)
    nodes: dict[bytes, bytes] = {}
    records: Records = {}
    apply(nodes, records, {chance.randbytes(8): b"value" for _ in range(5_000)})
    reads: list[bytes] = []

    def counting(path: bytes) -> bytes | None:
        reads.append(path)
        return nodes.get(path)

    # When 200 change, then no node is read twice and about a path's length is read for each
    update(counting, dict.fromkeys(chance.sample(sorted(records), 200), b"other"))
    assert len(reads) == len(set(reads))
    assert len(reads) < 200 * (math.log2(5_000) + 3)


def test_a_missing_node_is_named_as_damage() -> None:
    nodes: dict[bytes, bytes] = {}
    records: Records = {}
    apply(nodes, records, {b"key %d" % number: b"value" for number in range(50)})
    for path in list(nodes):
        if path == state_tree.ROOT_PATH_KEY:
            continue
        holed = {other: node for other, node in nodes.items() if other != path}
        with pytest.raises(Damaged, match=path.hex()):
            update(holed.get, dict.fromkeys(records, b"changed"))


def prove_all(nodes: dict[bytes, bytes], records: Records) -> None:
    for key in records:
        prove(nodes.get, key)


def test_a_proof_is_refused_when_a_node_was_altered() -> None:
    nodes: dict[bytes, bytes] = {}
    records: Records = {}
    apply(nodes, records, {b"key %d" % number: b"value" for number in range(50)})
    for path in sorted(nodes.keys() - {state_tree.ROOT_PATH_KEY}):
        altered = dict(nodes)
        altered[path] = nodes[path][:-1] + bytes((nodes[path][-1] ^ 1,))
        with pytest.raises(Damaged):
            prove_all(altered, records)


@given(st.sets(st.sampled_from(KEYS)), st.sampled_from(KEYS))
@settings(max_examples=150, deadline=None)
def test_proofs_of_presence_and_absence(present: set[bytes], key: bytes) -> None:
    # Given a tree of some keys
    nodes: dict[bytes, bytes] = {}
    records: Records = {}
    root = apply(nodes, records, {one: b"value of " + one for one in present})
    # When any key is proven
    proof = prove(nodes.get, key)
    # Then the proof shows exactly what is true of it, also after a journey over the wire
    value = records.get(key)
    assert verify(root, key, value, proof)
    assert not verify(root, key, b"another value", proof)
    assert not verify(root, key, b"value of " + key if value is None else None, proof)
    assert not verify(sha256(root).digest(), key, value, proof)
    assert msgspec.convert(cbor2.loads(cbor2.dumps(proof)), Proof) == proof


@given(st.sets(st.sampled_from(KEYS), min_size=2), st.data())
@settings(max_examples=150, deadline=None)
def test_a_tampered_proof_proves_nothing_false(present: set[bytes], data: st.DataObject) -> None:
    # Given the true proof of some key
    nodes: dict[bytes, bytes] = {}
    root = apply(nodes, {}, dict.fromkeys(present, b"value"))
    key = data.draw(st.sampled_from(KEYS))
    true_value = b"value" if key in present else None
    proof = prove(nodes.get, key)
    # When anything of it is altered, dropped, added or taken from another key's proof
    siblings, leaf = list(proof.siblings), proof.leaf
    other = prove(nodes.get, data.draw(st.sampled_from(KEYS)))
    hashes = st.sampled_from([EMPTY_ROOT, root, *other.siblings, *map(state_tree.node_hash, nodes.values())])
    leaves = st.sampled_from(
        [None, other.leaf, (sha256(key).digest(), sha256(b"forged").digest()), (sha256(key).digest(), root)]
    )
    match data.draw(st.sampled_from(["replace", "drop", "add", "leaf", "both"])):
        case "replace" if siblings:
            siblings[data.draw(st.integers(0, len(siblings) - 1))] = data.draw(hashes)
        case "drop" if siblings:
            del siblings[data.draw(st.integers(0, len(siblings) - 1))]
        case "add":
            siblings.insert(data.draw(st.integers(0, len(siblings))), data.draw(hashes))
        case "leaf":
            leaf = data.draw(leaves)
        case _:
            siblings, leaf = siblings[:-1], data.draw(leaves)
    tampered = Proof(tuple(siblings), leaf)
    # Then it shows nothing that is not so, and if it differs from the true proof it shows nothing at all
    for claim in (None, b"value", b"forged"):
        expected = claim == true_value and tampered == proof
        assert verify(root, key, claim, tampered) is expected


hostile = st.recursive(
    st.none() | st.booleans() | st.integers() | st.binary(max_size=40) | st.text(max_size=5) | st.just(bytes(32)),
    lambda inner: (
        st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple) | st.dictionaries(st.text(), inner)
    ),
    max_leaves=12,
)


@given(hostile)
@settings(max_examples=150, deadline=None)
def test_a_hostile_proof_is_false_and_raises_nothing(thing: object) -> None:
    for value in (None, b"value"):
        assert verify(b"\x07" * 32, b"key", value, thing) is False  # type: ignore[arg-type]
        assert verify(b"\x07" * 32, b"key", value, Proof(thing, None)) is False  # type: ignore[arg-type]
        assert verify(b"\x07" * 32, b"key", value, Proof((), thing)) is False  # type: ignore[arg-type]


def test_a_proof_deeper_than_the_tree_can_be_is_false() -> None:
    # Given a proof whose hashes do lead to the root it is checked against, but over 257 levels
    key_hash, value_hash = sha256(b"key").digest(), sha256(b"value").digest()
    for levels, sound in ((256, True), (257, False)):
        current = sha256(b"\x00" + key_hash + value_hash).digest()
        for depth in reversed(range(min(levels, 256))):
            right = key_hash[depth >> 3] & (0x80 >> (depth & 7))
            current = sha256(b"\x01" + (bytes(32) + current if right else current + bytes(32))).digest()
        assert verify(current, b"key", b"value", Proof((bytes(32),) * levels, (key_hash, value_hash))) is sound


def test_a_leaf_in_a_place_that_is_not_its_own_excludes_nothing() -> None:
    # Given a root over a malformed tree: the leaf of a record whose hash begins with 1 stands on the left
    key = next(key for key in KEYS if bits_of(key)[0] == "0")
    stranger = next(key for key in KEYS if bits_of(key)[0] == "1")
    leaf = (sha256(stranger).digest(), sha256(b"value").digest())
    root = sha256(b"\x01" + sha256(b"\x00" + leaf[0] + leaf[1]).digest() + bytes(32)).digest()
    # When it is shown as the end of another key's path, then it proves nothing about that key
    assert not verify(root, key, None, Proof((bytes(32),), leaf))
