"""The state tree: a compact sparse Merkle tree that commits to every state record, and proofs against its root.

1. A record (key, value) is placed by SHA-256(key), read as 256 bits from the most significant; a *path* is a prefix of
   it.
2. A *leaf* sits at the shortest path no other record shares: node = 0x00 ‖ SHA-256(key) ‖ SHA-256(value). A *branch*
   has at least two records below it: node = 0x01 ‖ left hash ‖ right hash, left being bit 0. The hash of a node is
   SHA-256(node); the first byte keeps leaves and branches apart (as in RFC 6962). The hash of an empty place, and so
   the root of an empty tree, is 32 zero bytes.
3. The shape follows from the records alone: any order of insertions, changes and deletions that ends at the same
   records ends at the same nodes. So deletion collapses: a branch left with one leaf below becomes that leaf.
4. Nodes are stored by path: the path's bits padded with zeros to whole bytes, then the number of bits as u16
   big-endian. The root's path key is 0x0000. Prefix first keeps a subtree together on the disk.
5. Pure: reads go through ``get``, writes are returned. Once per block, in one batch.
6. A proof lists the sibling hashes from the root down to where the key's path ends, and the leaf found there, if any.
   The end is the key's own leaf (inclusion), an empty place, or another record's leaf (both exclusion).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Final, NamedTuple

from storage.errors import Damaged

EMPTY_ROOT: Final = bytes(32)
ROOT_PATH_KEY: Final = b"\x00\x00"
MAX_DEPTH: Final = 256
LEAF: Final = b"\x00"
BRANCH: Final = b"\x01"

GetNode = Callable[[bytes], bytes | None]
_Item = tuple[bytes, bytes | None]
"""SHA-256 of a key, and SHA-256 of its new value or None for a deletion."""

_MASKS: Final = (0xFF, 0x80, 0xC0, 0xE0, 0xF0, 0xF8, 0xFC, 0xFE)
_LAST_BYTES: Final = (
    (),
    *(tuple(bytes((byte & 0xFF << (8 - bits) & 0xFF,)) for byte in range(256)) for bits in range(1, 9)),
)
"""``_LAST_BYTES[bits][byte]``: a path's last byte, of which ``bits`` count."""
_DEPTHS: Final = tuple(depth.to_bytes(2, "big") for depth in range(MAX_DEPTH + 1))


class TreeUpdate(NamedTuple):
    """The root after a batch, and the nodes that changed: path key → node, or None for a node that is gone."""

    root: bytes
    nodes: dict[bytes, bytes | None]


class Proof(NamedTuple):
    """Shows that a key has a value, or has none, under a root. Plain tuples and bytes; at most 256 × 32 + 64 bytes.

    ``siblings``: hashes beside the path, root first. ``leaf``: (SHA-256(key), SHA-256(value)) of the leaf at the end of
    the path, or None when the path ends in an empty place.
    """

    siblings: tuple[bytes, ...]
    leaf: tuple[bytes, bytes] | None


def path_key(key_hash: bytes, depth: int) -> bytes:
    """The stored name of the node at the first ``depth`` bits of ``key_hash``."""
    whole, bits = depth >> 3, depth & 7
    if bits:
        return key_hash[:whole] + bytes((key_hash[whole] & _MASKS[bits],)) + _DEPTHS[depth]
    return key_hash[:whole] + _DEPTHS[depth]


def node_hash(node: bytes | None) -> bytes:
    """SHA-256 of a node; 32 zero bytes for an empty place."""
    return EMPTY_ROOT if node is None else sha256(node).digest()


def root_of(get: GetNode) -> bytes:
    """The root of the stored tree."""
    return node_hash(get(ROOT_PATH_KEY))


def update(get: GetNode, changes: Mapping[bytes, bytes | None]) -> TreeUpdate:
    """Apply one block's net changes, state key → value or None for a deletion, to the stored tree.

    Deleting a key that is not there changes nothing. Raises ``Damaged`` if a node that must be there is not.
    """
    items: list[_Item] = sorted(
        (sha256(key).digest(), None if value is None else sha256(value).digest()) for key, value in changes.items()
    )
    old_root = get(ROOT_PATH_KEY)
    if not items:
        return TreeUpdate(node_hash(old_root), {})
    batch = _Batch(get)
    new_root = batch.replace(old_root, 0, items)
    if new_root != old_root:
        batch.nodes[ROOT_PATH_KEY] = new_root
    return TreeUpdate(node_hash(new_root), batch.nodes)


def tree_of(records: Mapping[bytes, bytes]) -> TreeUpdate:
    """Root and nodes of a tree that holds exactly these records, made from nothing: for a genesis, and to check a
    stored tree.
    """
    return update(lambda _: None, records)


class _Batch:
    """One update. ``replace``, ``replace_one`` and ``build`` return the new node of a place and leave storing it to the
    caller, the branch above, which may take a lone leaf up to its own place instead.
    """

    def __init__(self, get: GetNode) -> None:
        self.get = get
        self.nodes: dict[bytes, bytes | None] = {}

    def replace(self, old: bytes | None, depth: int, items: list[_Item]) -> bytes | None:
        """The node at ``depth`` on the common path of ``items`` (sorted, not empty), where ``old`` stands now."""
        if len(items) == 1:
            return self.replace_one(old, depth, items[0])
        if old is None or old[:1] == LEAF:
            return self.overwrite(old, depth, items)
        left_hash, right_hash = old[1:33], old[33:]
        left_key, right_key = _children(items[0][0], depth)
        middle = _first_right(items, depth)
        if middle:
            before = self.load(left_key, left_hash)
            after = self.replace(before, depth + 1, items[:middle])
            if after != before:
                self.nodes[left_key] = after
                left_hash = node_hash(after)
        if middle < len(items):
            before = self.load(right_key, right_hash)
            after = self.replace(before, depth + 1, items[middle:])
            if after != before:
                self.nodes[right_key] = after
                right_hash = node_hash(after)
        return self.join(old, left_hash, right_hash, items[0][0], depth)

    def replace_one(self, old: bytes | None, depth: int, item: _Item) -> bytes | None:
        """``replace`` for one item: down its path to the end and back up, without the splitting. Most of a batch's work
        is here.
        """
        key_hash, get, nodes = item[0], self.get, self.nodes
        above: list[tuple[bytes, bytes, int]] = []
        node = old
        while node is not None and node[0]:  # a branch
            whole, bits = depth >> 3, depth & 7
            byte = key_hash[whole]
            goes_right = byte & (0x80 >> bits)
            expected = node[33:] if goes_right else node[1:33]
            depth += 1
            place = key_hash[:whole] + _LAST_BYTES[bits + 1][byte] + _DEPTHS[depth]  # path_key(key_hash, depth)
            above.append((node, place, goes_right))
            node = None if expected == EMPTY_ROOT else get(place) or self.load(place, expected)
        before, after = node, self.overwrite(node, depth, [item])
        while above:
            if after == before:
                return old
            before, place, goes_right = above.pop()
            depth -= 1
            nodes[place] = after
            child_hash = EMPTY_ROOT if after is None else sha256(after).digest()
            left_hash, right_hash = (before[1:33], child_hash) if goes_right else (child_hash, before[33:])
            if EMPTY_ROOT in (left_hash, right_hash):
                after = self.join(before, left_hash, right_hash, key_hash, depth)
            else:
                after = BRANCH + left_hash + right_hash
        return after

    def overwrite(self, old: bytes | None, depth: int, items: list[_Item]) -> bytes | None:
        """The node of a place that is empty or holds the leaf ``old``, once ``items`` are applied."""
        if old is not None:
            standing = old[1:33]
            if all(key_hash != standing for key_hash, _ in items):
                items = sorted([*items, (standing, old[33:])])
        return self.build(depth, [item for item in items if item[1] is not None])

    def build(self, depth: int, items: list[_Item]) -> bytes | None:
        """The node of a place with nothing stored below it and exactly ``items`` (sorted, none a deletion) to hold."""
        if not items:
            return None
        if len(items) == 1:
            key_hash, value_hash = items[0]
            assert value_hash is not None
            return LEAF + key_hash + value_hash
        assert depth < MAX_DEPTH, "two records with one key hash"
        middle = _first_right(items, depth)
        left_key, right_key = _children(items[0][0], depth)
        left = self.build(depth + 1, items[:middle])
        right = self.build(depth + 1, items[middle:])
        if left is not None:
            self.nodes[left_key] = left
        if right is not None:
            self.nodes[right_key] = right
        return BRANCH + node_hash(left) + node_hash(right)

    def join(self, old: bytes, left_hash: bytes, right_hash: bytes, key_hash: bytes, depth: int) -> bytes | None:
        """The node of a place whose children now have these hashes and are stored; ``old`` was its branch. A lone leaf
        moves up.
        """
        if EMPTY_ROOT not in (left_hash, right_hash):
            return BRANCH + left_hash + right_hash
        if left_hash == right_hash:
            return None
        left_key, right_key = _children(key_hash, depth)
        if left_hash == EMPTY_ROOT:
            lone_key, lone_hash, hash_before = right_key, right_hash, old[33:]
        else:
            lone_key, lone_hash, hash_before = left_key, left_hash, old[1:33]
        lone = self.nodes.get(lone_key) or self.load(lone_key, lone_hash)
        assert lone is not None
        if lone[:1] == BRANCH:
            return BRANCH + left_hash + right_hash
        if hash_before == EMPTY_ROOT:
            del self.nodes[lone_key]
        else:
            self.nodes[lone_key] = None
        return lone

    def load(self, key: bytes, expected_hash: bytes) -> bytes | None:
        """A child as stored. Its hash is not checked here, where it would cost a third of the update: a wrong node ends
        in a state root that the block's header contradicts, and the walk over the chain names it.
        """
        if expected_hash == EMPTY_ROOT:
            return None
        node = self.get(key)
        if node is None:
            raise Damaged("the state tree", f"no node at path {key.hex()}")
        return node


def _first_right(items: list[_Item], depth: int) -> int:
    """The index of the first item whose bit at ``depth`` is 1; ``items`` share all bits before it and are sorted."""
    byte, mask = depth >> 3, 0x80 >> (depth & 7)
    low, high = 0, len(items)
    while low < high:
        middle = (low + high) >> 1
        if items[middle][0][byte] & mask:
            high = middle
        else:
            low = middle + 1
    return low


def _children(key_hash: bytes, depth: int) -> tuple[bytes, bytes]:
    """The path keys of both children of the branch at the first ``depth`` bits of ``key_hash``."""
    whole, bits = depth >> 3, depth & 7
    last = key_hash[whole] & _MASKS[bits] if bits else 0
    prefix, suffix = key_hash[:whole], _DEPTHS[depth + 1]
    return prefix + bytes((last,)) + suffix, prefix + bytes((last | 0x80 >> bits,)) + suffix


def prove(get: GetNode, key: bytes) -> Proof:
    """The proof that ``key`` has its value, or has none, under the stored root. Raises ``Damaged`` if a node is missing
    or altered.
    """
    key_hash = sha256(key).digest()
    siblings: list[bytes] = []
    node = get(ROOT_PATH_KEY)
    while node is not None and node[:1] == BRANCH:
        depth = len(siblings)
        assert depth < MAX_DEPTH
        left_hash, right_hash = node[1:33], node[33:]
        goes_right = key_hash[depth >> 3] & (0x80 >> (depth & 7))
        expected = right_hash if goes_right else left_hash
        siblings.append(left_hash if goes_right else right_hash)
        place = path_key(key_hash, depth + 1)
        node = None if expected == EMPTY_ROOT else get(place)
        if node_hash(node) != expected:
            raise Damaged("the state tree", f"the node at path {place.hex()} is not the one its branch commits to")
    return Proof(tuple(siblings), None if node is None else (node[1:33], node[33:]))


def verify(root: bytes, key: bytes, value: bytes | None, proof: Proof) -> bool:
    """Whether ``proof`` shows that ``key`` has ``value`` (None: has no value) under ``root``. False, never an
    exception, for any proof that does not, whatever it is made of.
    """
    if not _well_formed(proof):
        return False
    siblings, leaf = proof
    key_hash = sha256(key).digest()
    if value is not None:
        if leaf != (key_hash, sha256(value).digest()):
            return False
    elif leaf is not None and (leaf[0] == key_hash or not _share_bits(leaf[0], key_hash, len(siblings))):
        return False
    current = EMPTY_ROOT if leaf is None else sha256(LEAF + leaf[0] + leaf[1]).digest()
    for depth in range(len(siblings) - 1, -1, -1):
        if key_hash[depth >> 3] & (0x80 >> (depth & 7)):
            current = sha256(BRANCH + siblings[depth] + current).digest()
        else:
            current = sha256(BRANCH + current + siblings[depth]).digest()
    return current == root


def _well_formed(proof: object) -> bool:
    """A proof may come from anyone, decoded from anything: accept only tuples of the right lengths holding 32-byte
    strings.
    """
    if not isinstance(proof, tuple) or len(proof) != 2:
        return False
    siblings, leaf = proof
    if not isinstance(siblings, tuple) or len(siblings) > MAX_DEPTH or not all(map(_is_hash, siblings)):
        return False
    return leaf is None or (isinstance(leaf, tuple) and len(leaf) == 2 and all(map(_is_hash, leaf)))


def _is_hash(value: object) -> bool:
    return isinstance(value, bytes) and len(value) == 32


def _share_bits(one: bytes, other: bytes, bits: int) -> bool:
    return bits == 0 or (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")) >> (256 - bits) == 0
