"""The stub lets libp2p be imported and lets nobody use P-256."""

from __future__ import annotations

import subprocess
import sys

import pytest

from p2p.libp2p import fastecdsa_stub


def test_libp2p_imports_without_fastecdsa_and_refuses_its_keys() -> None:
    program = """
from p2p.libp2p import LibP2PNetwork
from libp2p.crypto import ecc
try:
    ecc.create_new_key_pair("P-256")
except (NotImplementedError, AttributeError) as refusal:
    print("refused:", refusal)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "refused: P-256 keys are not supported here" in done.stdout


def test_the_stub_fails_loudly() -> None:
    fastecdsa_stub.install()
    with pytest.raises(NotImplementedError, match="fastecdsa is replaced"):
        fastecdsa_stub._AbsentName()
    with pytest.raises(AttributeError, match="fastecdsa is replaced"):
        _ = fastecdsa_stub._AbsentName.gen_private_key
