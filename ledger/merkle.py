"""The Merkle tree of RFC 6962, section 2.1 (unchanged in RFC 9162): one hash for a list, short proofs for its members.

1. A leaf is SHA-256(0x00 ‖ data), a node SHA-256(0x01 ‖ left ‖ right), the empty list SHA-256 of nothing.
2. A list of n > 1 is split at the largest power of two below n.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256


def _leaf(data: bytes) -> bytes:
    return sha256(b"\x00" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def _levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """The tree from its leaf hashes up to its root. Pairing from the left and carrying an odd last hash up unchanged
    gives the same tree as splitting at the largest power of two.
    """
    levels = [[_leaf(data) for data in leaves]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        above = [_node(below[index], below[index + 1]) for index in range(0, len(below) - 1, 2)]
        if len(below) % 2:
            above.append(below[-1])
        levels.append(above)
    return levels


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The 32-byte root over the leaves' data, in their order."""
    if not leaves:
        return sha256(b"").digest()
    return _levels(leaves)[-1][0]


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The hashes that lead from leaf ``index`` to the root, lowest first (RFC 6962, section 2.1.1)."""
    if not 0 <= index < len(leaves):
        raise IndexError(f"leaf {index} of {len(leaves)}")
    proof = []
    for level in _levels(leaves)[:-1]:
        sibling = index ^ 1
        if sibling < len(level):
            proof.append(level[sibling])
        index >>= 1
    return tuple(proof)


def verify_inclusion(root: bytes, leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bool:
    """True if ``proof`` shows that the data ``leaf`` is number ``index`` of the ``size`` leaves under ``root`` (RFC
    9162, section 2.1.3.2).
    """
    if not 0 <= index < size:
        return False
    last = size - 1
    found = _leaf(leaf)
    for sibling in proof:
        if last == 0:
            return False
        if index % 2 or index == last:
            found = _node(sibling, found)
            while index % 2 == 0 and index != 0:
                index >>= 1
                last >>= 1
        else:
            found = _node(found, sibling)
        index >>= 1
        last >>= 1
    return last == 0 and found == root
