"""RFC 6962's Merkle tree: the Certificate Transparency project's own vectors, and every proof of small trees."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.merkle import inclusion_proof, merkle_root, verify_inclusion

# the leaves and roots published with the reference implementation of Certificate Transparency
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_the_reference_implementation(size: int) -> None:
    assert merkle_root(LEAVES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize("size", range(1, 20))
def test_every_leaf_is_proven_and_no_other(size: int) -> None:
    leaves = [sha256(bytes([number])).digest() for number in range(size)]
    root = merkle_root(leaves)
    for index in range(size):
        proof = inclusion_proof(leaves, index)
        assert verify_inclusion(root, leaves[index], index, size, proof)
        for other in range(size):
            assert verify_inclusion(root, leaves[index], other, size, proof) == (other == index)
            assert verify_inclusion(root, leaves[other], index, size, proof) == (other == index)


@given(st.lists(st.binary(max_size=40), min_size=2, max_size=40), st.data())
def test_a_changed_proof_proves_nothing(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof = list(inclusion_proof(leaves, index))
    at = data.draw(st.integers(0, len(proof) - 1))
    root = merkle_root(leaves)
    changed = [*proof[:at], bytes([proof[at][0] ^ 1]) + proof[at][1:], *proof[at + 1 :]]

    assert not verify_inclusion(root, leaves[index], index, len(leaves), changed)
    assert not verify_inclusion(root, leaves[index], index, len(leaves), proof[:-1])
    assert not verify_inclusion(root, leaves[index], index, len(leaves), [*proof, bytes(32)])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 3), (3, 3)])
def test_an_index_outside_the_tree_is_never_proven(index: int, size: int) -> None:
    leaves = LEAVES[:size]
    assert not verify_inclusion(merkle_root(leaves), b"", index, size, ())
    with pytest.raises(IndexError):
        inclusion_proof(leaves, index)
