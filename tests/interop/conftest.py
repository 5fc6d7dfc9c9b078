"""The JavaScript peers of this folder: run where Node and the packages of ``package-lock.json`` are there.

``make test-interop`` installs the packages and sets ``INTEROP=required``, so that nothing is skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
OLDEST_NODE = 20


def _skip(reason: str) -> None:
    if os.environ.get("INTEROP") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def node_program() -> str:
    """The path of Node."""
    found = shutil.which("node")
    if found is None:
        _skip("Node is not installed")
    assert found is not None
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
    if int(version.lstrip("v").split(".")[0]) < OLDEST_NODE:
        _skip(f"Node is {version.strip()}; the peers need {OLDEST_NODE} or newer")
    return found


@pytest.fixture(scope="session")
def js_libp2p(node_program: str) -> str:
    """The path of Node, beside which js-libp2p is installed."""
    if not (HERE / "node_modules" / ".package-lock.json").exists():
        _skip("js-libp2p is not installed: `make test-interop` does it, from the npm registry")
    return node_program
