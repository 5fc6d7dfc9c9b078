"""Peer ids without libp2p, and the same as libp2p's."""

from __future__ import annotations

import subprocess
import sys

import base58
import pytest

from p2p.peer_identity import peer_id_from_public_key, public_key_from_peer_id

KEY = bytes.fromhex("1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e")
PEER = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
"""The public key of the Ed25519 vector in the libp2p specs (peer-ids/peer-ids.md), and the id libp2p gives it."""


def test_a_known_key_has_its_known_id() -> None:
    assert peer_id_from_public_key(KEY) == PEER
    assert public_key_from_peer_id(PEER) == KEY


def test_the_id_is_the_one_libp2p_derives() -> None:
    from p2p.libp2p import LibP2PNetwork
    from tests.p2p.hostile import peer_id, seed

    assert LibP2PNetwork(seed("someone"), []).peer_id == peer_id("someone")


def test_naming_a_peer_does_not_import_libp2p() -> None:
    program = "import sys, p2p.peer_identity; sys.exit('libp2p' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_key_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        peer_id_from_public_key(bytes(size))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "12D3KooW",
        "0OIl",
        "12D3KooW" + "1" * 500,
        "é",
        "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5\n",
        base58.b58encode(bytes.fromhex("1220") + bytes(32)).decode(),
        base58.b58encode(bytes.fromhex("002408021220") + bytes(32)).decode(),
    ],
)
def test_what_is_no_ed25519_peer_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="."):  # noqa: RUF043 - any message will do
        public_key_from_peer_id(text)
