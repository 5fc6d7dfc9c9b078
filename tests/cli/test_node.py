from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ledger.encoding import encode
from tests.cli.conftest import Neighbourhood
from tests.cli.running import answer, refused, run, run_process
from tests.support.chain import make_genesis

pytestmark = pytest.mark.xdist_group("a node of the command line")


@pytest.fixture
def genesis(tmp_path: Path) -> Path:
    path = tmp_path / "genesis.cbor"
    path.write_bytes(encode(make_genesis()))
    return path


class TestInit:
    def test_it_makes_all_a_node_needs(self, genesis: Path, tmp_path: Path) -> None:
        directory = tmp_path / "home" / "node"
        made = answer("node", "init", "--genesis", str(genesis), "--data-dir", str(directory), "--api-port", "4999")
        assert made["data_directory"] == str(directory)
        names = {path.name for path in directory.iterdir()}
        assert names == {"genesis.cbor", "config.toml", "node.key", "api.token", "journal"}
        assert "port = 4999" in (directory / "config.toml").read_text()

    def test_it_says_how_to_start_it(self, genesis: Path, tmp_path: Path) -> None:
        shown = run("node", "init", "--genesis", str(genesis), "-d", str(tmp_path / "node")).stdout
        assert shown.endswith(f"start it with   ecloud node run --data-dir {tmp_path / 'node'}\n")

    def test_nothing_is_overwritten(self, genesis: Path, tmp_path: Path) -> None:
        options = ["--genesis", str(genesis), "-d", str(tmp_path / "node")]
        run("node", "init", *options)
        key = (tmp_path / "node" / "node.key").read_bytes()
        assert "is there already, and is not overwritten" in refused("node", "init", *options)
        assert (tmp_path / "node" / "node.key").read_bytes() == key

    @pytest.mark.parametrize(
        ("options", "says", "status"),
        [
            (["--listen", "mill lane 4"], "--listen: 'mill lane 4' is not a multiaddr like", 2),
            (["--bootstrap", "/ip4/127.0.0.1/tcp/1"], "--bootstrap: '/ip4/127.0.0.1/tcp/1' is not a multiaddr like", 2),
            (["--api-port", "70000"], "Invalid value for '--api-port': ", 2),
            (["--genesis", "/nonexistent"], "--genesis /nonexistent: No such file or directory", 2),
            (["--genesis", "/dev/null"], "is no genesis", 1),
        ],
    )
    def test_what_is_wrong_is_said_and_nothing_made(
        self, genesis: Path, tmp_path: Path, options: list[str], says: str, status: int
    ) -> None:
        directory = tmp_path / "node"
        assert says in refused("node", "init", "--genesis", str(genesis), "-d", str(directory), *options, status=status)
        assert not directory.exists()


class TestRun:
    @pytest.mark.parametrize(
        ("settings", "says"),
        [
            ("[network]\nlisten = [\n  'nope'\n]\n", "config.toml, line 2: 'nope' is not a multiaddr like"),
            ("\n[api]\nport = 'http'\n", "config.toml, line 3: port = 'http': expected a whole number"),
            ("[log]\nlevle = 'info'\n", "config.toml, line 2: no setting 'levle'; there are level, json"),
            ("[api]\nhost = '0.0.0.0'\n", "config.toml, line 2: host = '0.0.0.0': the local API listens on a loopback"),
            ("[api\n", "config.toml: not TOML: "),
        ],
    )
    def test_a_wrong_configuration_names_the_line(self, tmp_path: Path, settings: str, says: str) -> None:
        (tmp_path / "config.toml").write_text(settings)
        assert says in refused("node", "run", "-d", str(tmp_path), status=2)

    def test_a_directory_in_use_is_one_line(self, neighbourhood: Neighbourhood, tmp_path: Path) -> None:
        done = run_process("node", "run", "-d", str(neighbourhood.directory), home=tmp_path)
        assert done.returncode == 2
        assert "is in use by" in done.stderr
        assert done.stderr.endswith("stop that node first, or give this one a directory of its own\n")
        assert len(done.stderr.splitlines()) == 1
        assert answer("node", "status", *neighbourhood.options)["name"] == "anne", "the one that runs goes on"


class TestStatus:
    def test_a_person_reads_it_with_units(self, neighbourhood: Neighbourhood) -> None:
        shown = run("node", "status", *neighbourhood.options).stdout
        facts = dict(line.split("  ", 1) for line in shown.splitlines() if not line.startswith(" "))
        assert facts["home"].strip() == f"anne  {neighbourhood.address('anne')}"
        assert facts["network"].strip().startswith("lane  ")
        assert facts["agreeing on"].strip().endswith("the turn of this node")
        assert facts["peers"].strip() == "none: nobody to agree with"
        assert facts["final after"].strip().endswith("(95 %)")

    def test_a_program_reads_it_by_data_directory_too(self, neighbourhood: Neighbourhood) -> None:
        found = answer("node", "status", "--data-dir", str(neighbourhood.directory))
        assert found["network"] == "lane"
        assert found["height"] >= 1

    def test_a_node_that_is_away_is_said(self, tmp_path: Path) -> None:
        said = refused("node", "status", "--data-dir", str(tmp_path), status=4)
        assert said == f"no node runs on {tmp_path}; start it with: ecloud node run --data-dir {tmp_path}"
        said = refused("node", "status", "--api", "ftp://mill", status=4)
        assert said == "'ftp://mill' is not the address of a node; it looks like http://127.0.0.1:4080"

    def test_what_answers_but_is_no_node_is_said(self) -> None:
        class Other(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"<html>")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        with HTTPServer(("127.0.0.1", 0), Other) as server:
            threading.Thread(target=server.handle_request, daemon=True).start()
            said = refused("node", "status", "--api", f"http://127.0.0.1:{server.server_port}")
        assert "not as a node of this version does" in said
