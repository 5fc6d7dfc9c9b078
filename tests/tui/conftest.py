"""What the terminal's tests share: a recorded node on loopback, wallets, an application attached to both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.client.client import NodeClient
from node.client.wallets import Keystore
from tests.tui.driving import make_wallets
from tests.tui.neighbourhood import grown
from tests.tui.server import RecordedNode
from tui.app import EcloudApp


@pytest.fixture
def node() -> Iterator[RecordedNode]:
    with RecordedNode(grown()) as node:
        yield node


@pytest.fixture
def keystore(tmp_path: Path) -> Keystore:
    return make_wallets(tmp_path / "wallets", "anne", "bob")


@pytest.fixture
def app(node: RecordedNode, keystore: Keystore) -> EcloudApp:
    return attach(node, keystore)


def attach(node: RecordedNode, keystore: Keystore) -> EcloudApp:
    return EcloudApp(NodeClient(node.url), keystore=keystore, now_ms=lambda: node.neighbourhood.status().now_ms)
