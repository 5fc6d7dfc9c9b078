"""Asks a node's API every question its own OpenAPI document allows, and many it does not: schemathesis
(https://schemathesis.readthedocs.io) against a real node.

All of schemathesis' checks: no answer of class 5xx, every answer as the document says (status, content type, headers,
schema), what the document forbids refused, what it allows not refused, wrong methods answered with the right ones.
Left out: the path that stops the node, and the event stream, which never ends.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from ledger.genesis import chain_id
from ledger.transactions import Token, Transfer, sign_transaction
from tests.support.chain import FEE_UWATT, make_home
from tests.support.processes import NodeProcess, lone_genesis, make_home_directory, running_node

SETTINGS: Final = Path(__file__).with_name("schemathesis.toml")
LEFT_OUT: Final = ("/v1/admin/stop", "/v1/events")


@dataclass(frozen=True, slots=True)
class Asked:
    """``report`` is schemathesis' own; ``output`` what it tells people."""

    report: Any
    output: str

    @property
    def found(self) -> list[str]:
        """What it has to complain about."""
        failures = [f"{failure['title']}: {', '.join(failure['operations'])}" for failure in self.report["failures"]]
        return failures + [str(error) for error in self.report["errors"]]


@contextmanager
def node_with_a_past(directory: Path) -> Iterator[tuple[NodeProcess, str]]:
    """A lone home's node after a few blocks, one of them with a transfer, whose id comes with it."""
    genesis, anne = lone_genesis(), make_home("anne")
    with running_node(make_home_directory(directory / "anne", genesis)) as node:
        node.until_height(3)
        transfer = sign_transaction(
            anne.account,
            chain_id(genesis),
            Transfer(recipient=bytes(32), token=Token.WATT, amount=5, memo="für nichts"),
            fee_uwatt=FEE_UWATT,
            valid_until_height=100,
        )
        assert node.submit(transfer.raw).status_code == 202
        node.until(lambda: node.get(f"/v1/transactions/{transfer.id.hex()}")["state"] == "final")
        yield node, transfer.id.hex()


def ask(node: NodeProcess, transaction_id: str, *flags: str, quiet: bool = True) -> Asked:
    """Runs schemathesis with these flags. Error: AssertionError if it could not run."""
    token = (node.directory / "api.token").read_text().strip()
    known = {"/v1/transactions/{transaction_id}": ("transaction_id", transaction_id)}
    known["/v1/meters/{key}"] = ("key", make_home("anne").meter.public_key.hex())
    with tempfile.TemporaryDirectory() as scratch:
        settings, report = Path(scratch) / "schemathesis.toml", Path(scratch) / "report.json"
        settings.write_text(
            SETTINGS.read_text()
            + "".join(
                f'\n[[operations]]\ninclude-path = "{path}"\n[operations.parameters]\n{name} = "{value}"\n'
                for path, (name, value) in known.items()
            )
        )
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(settings), "run"]
        command += [f"{node.url}/openapi.json", "--header", f"Authorization: Bearer {token}"]
        command += [flag for path in LEFT_OUT for flag in ("--exclude-path", path)]
        command += ["--generation-database", "none", "--continue-on-failure", "--request-timeout", "10"]
        command += ["--report", "json", "--report-json-path", str(report), "--no-color", *flags]
        began_s = time.monotonic()
        ended = subprocess.run(
            command, cwd=scratch, stdout=subprocess.PIPE if quiet else None, stderr=subprocess.STDOUT, check=False
        )
        output = (ended.stdout or b"").decode()
        assert report.exists(), f"after {time.monotonic() - began_s:.0f} s: {output}"
        return Asked(msgspec.json.decode(report.read_bytes()), output)
