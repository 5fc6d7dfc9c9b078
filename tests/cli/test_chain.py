from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from ledger.encoding import encode
from ledger.genesis import chain_id
from ledger.transactions import Token, Transfer
from node.founding import read_genesis
from node.views.proofs import prove_account
from node.views.reader import Reader
from storage.chain import ChainDatabase
from tests.cli.conftest import Neighbourhood
from tests.cli.running import answer, refused, run
from tests.node.api.household import household
from tests.support.chain import make_genesis

ON_THE_NODE = pytest.mark.xdist_group("a node of the command line")
BLOCKS = 20


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory of a chain of ``BLOCKS`` blocks with a transfer in the seventh, that no node runs on."""
    directory = tmp_path_factory.mktemp("stored")
    with household(directory) as home:
        (directory / "genesis.cbor").write_bytes(home.genesis)
        pay = Transfer(recipient=home.made.home("bob").id, token=Token.WATT, amount=5_000_000, memo="for the coal")
        for height in range(1, BLOCKS + 1):
            home.produce([home.made.sign("anne", pay)] if height == 7 else [])
        with home.chain.snapshot() as view:
            proof = prove_account(Reader(view, home), home.made.home("bob").id)
        (directory / "proof.json").write_bytes(msgspec.json.encode(proof))
        (directory / "committee").write_text(home.made.open.committee.hash.hex())
        made_seventh = home.made.blocks[6].block.header.producer == home.made.home("bob").id
        (directory / "fee").write_text("1000" if made_seventh else "0")
    return directory


class TestBlocks:
    @ON_THE_NODE
    def test_a_block_is_found_by_height_and_by_hash(self, neighbourhood: Neighbourhood) -> None:
        by_height = answer("chain", "block", "1", *neighbourhood.options)
        assert by_height["summary"]["producer"]["name"] == "anne"
        by_hash = answer("chain", "block", by_height["summary"]["hash"], *neighbourhood.options)
        assert by_hash["state_root"] == by_height["state_root"]
        shown = run("chain", "block", "1", *neighbourhood.options).stdout
        assert f"state root         {by_height['state_root']}\n" in shown
        assert shown.endswith("no transactions\n")

    @ON_THE_NODE
    def test_without_a_height_it_is_the_newest(self, neighbourhood: Neighbourhood) -> None:
        height = answer("node", "status", *neighbourhood.options)["height"]
        assert answer("chain", "block", *neighbourhood.options)["summary"]["height"] >= height

    @ON_THE_NODE
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["block", "999999999"], "no block at height 999999999 yet; the newest is "),
            (["block", "f" * 64], "no block of that hash"),
            (["block", "newest"], "'newest' is neither a height nor a block hash"),
            (["transaction", "f" * 64], "no block has this transaction"),
            (["transaction", "12"], "'12' is no transaction id"),
            (["committee", "999999999"], "no committee is known for height 999999999"),
            (["prove", "carla"], "no member is called 'carla'"),
        ],
    )
    def test_what_is_not_there_is_said(self, neighbourhood: Neighbourhood, arguments: list[str], says: str) -> None:
        assert says in refused("chain", *arguments, *neighbourhood.options)

    @ON_THE_NODE
    def test_a_transaction_is_shown_decoded(self, neighbourhood: Neighbourhood) -> None:
        sent = answer("wallet", "send", "bob", "1.5", "GRID", "--memo", "\x1b[2J", "-y", *neighbourhood.signing())
        shown = run("chain", "transaction", sent["id"], *neighbourhood.options).stdout
        facts = dict(line.split("  ", 1) for line in shown.splitlines())
        assert facts["amount"].strip() == "1.50 GRID"
        assert facts["recipient"].strip() == f"bob  {neighbourhood.address('bob')}"
        assert facts["result"].strip() == "took effect"
        assert facts["memo"].strip() == "�[2J", "nobody but this program writes to the reader's terminal"
        block = run("chain", "block", str(sent["height"]), *neighbourhood.options).stdout
        assert f"transfer  anne    done    {sent['id']}" in block


class TestVerify:
    def test_a_whole_chain_is_recomputed(self, stored: Path) -> None:
        shown = run("chain", "verify", "--data-dir", str(stored)).stdout
        assert shown.startswith("verified      20 blocks, from the genesis on: everything is as it must be\n")
        found = answer("chain", "verify", "--data-dir", str(stored))
        assert (found["ok"], found["height"], found["transactions"]) == (True, BLOCKS, 1)

    @ON_THE_NODE
    def test_also_beside_the_node_that_runs_on_it(self, neighbourhood: Neighbourhood) -> None:
        before = answer("node", "status", *neighbourhood.options)["height"]
        assert answer("chain", "verify", "--data-dir", str(neighbourhood.directory))["height"] >= before

    @pytest.mark.parametrize("height", [1, 7, BLOCKS])
    def test_a_flipped_byte_in_a_stored_block_is_found_and_named(
        self, stored: Path, tmp_path: Path, height: int
    ) -> None:
        """Given a chain with one bit of one block changed, When it is verified, Then the height is named."""
        _copy_with_flipped_block(stored, tmp_path, height)
        said = refused("chain", "verify", "--data-dir", str(tmp_path))
        assert said.startswith(f"block {height}: ")
        result = run("chain", "verify", "--data-dir", str(tmp_path), "--json", status=1)
        fault = json.loads(result.stdout)
        assert (fault["ok"], fault["height"]) == (False, height)
        assert "Traceback" not in result.stderr

    def test_where_there_is_no_chain_one_is_told_what_to_do(self, tmp_path: Path, stored: Path) -> None:
        assert refused("chain", "verify", "-d", str(tmp_path)).endswith("make one with: ecloud node init")
        (tmp_path / "genesis.cbor").write_bytes((stored / "genesis.cbor").read_bytes())
        assert "there is no database in" in refused("chain", "verify", "-d", str(tmp_path))
        (tmp_path / "genesis.cbor").write_bytes(b"\xff")
        assert "is no genesis" in refused("chain", "verify", "-d", str(tmp_path))

    def test_another_networks_genesis_is_refused(
        self, stored: Path, tmp_path: Path, neighbourhood_genesis: bytes
    ) -> None:
        _copy_with_flipped_block(stored, tmp_path, None)
        (tmp_path / "genesis.cbor").write_bytes(neighbourhood_genesis)
        assert "point the node at its own data directory" in refused("chain", "verify", "-d", str(tmp_path))


class TestProofs:
    @ON_THE_NODE
    def test_a_proof_needs_only_its_file_and_the_genesis(self, neighbourhood: Neighbourhood, tmp_path: Path) -> None:
        """Given a proof from a node, When it is checked with no node, Then it says what the account holds."""
        proof = tmp_path / "proof.json"
        written = run("chain", "prove", "bob", "--output", str(proof), *neighbourhood.options).stdout
        assert f"written to  {proof}" in written
        genesis = str(neighbourhood.directory / "genesis.cbor")
        found = answer("chain", "check", str(proof), "--genesis", genesis)
        assert (found["ok"], found["account"], found["exists"]) == (True, neighbourhood.address("bob"), True)
        committee = answer("chain", "committee", str(found["height"]), *neighbourhood.options)["hash"]
        shown = run("chain", "check", str(proof), "--committee", committee.upper()).stdout
        assert shown.startswith("sound       the committee you trust made this final\n")
        assert f"account     {neighbourhood.address('bob')}\n" in shown

    @ON_THE_NODE
    def test_an_account_that_does_not_exist_is_proven_absent(
        self, neighbourhood: Neighbourhood, tmp_path: Path
    ) -> None:
        proof = tmp_path / "proof.json"
        proof.write_text(run("chain", "prove", neighbourhood.address("poor"), *neighbourhood.options).stdout)
        genesis = str(neighbourhood.directory / "genesis.cbor")
        assert answer("chain", "check", str(proof), "--genesis", genesis)["exists"] is False

    def test_the_committee_of_the_height_is_trusted(self, stored: Path) -> None:
        found = answer("chain", "check", str(stored / "proof.json"), "--committee", (stored / "committee").read_text())
        fee_uwatt = int((stored / "fee").read_text())
        assert (found["height"], found["watt_uwatt"]) == (BLOCKS, 1_005_000_000 + fee_uwatt)

    def test_a_genesis_vouches_only_while_its_committee_votes(self, stored: Path) -> None:
        """Given epochs of 12 blocks and a delay of 6, When block 20 is proven, Then the genesis is not enough."""
        said = refused("chain", "check", str(stored / "proof.json"), "--genesis", str(stored / "genesis.cbor"))
        assert said.startswith("the genesis says who votes up to block 17; the proof is of block 20: give --committee")

    def test_what_has_been_changed_is_found(self, stored: Path, tmp_path: Path) -> None:
        proof = json.loads((stored / "proof.json").read_text())
        proof["value"] = proof["value"][:-2] + "17"
        (tmp_path / "proof.json").write_text(json.dumps(proof))
        committee = (stored / "committee").read_text()
        said = refused("chain", "check", str(tmp_path / "proof.json"), "--committee", committee)
        assert said.endswith("the path does not lead to the state root in the header")
        result = run("chain", "check", str(tmp_path / "proof.json"), "--committee", committee, "--json", status=1)
        assert json.loads(result.stdout)["ok"] is False

    def test_another_committee_is_not_trusted(self, stored: Path) -> None:
        said = refused("chain", "check", str(stored / "proof.json"), "--committee", "0" * 64)
        assert said.endswith("compare with `ecloud chain committee 20` on a node you trust")

    def test_another_chains_genesis_is_said(self, stored: Path, tmp_path: Path, neighbourhood_genesis: bytes) -> None:
        (tmp_path / "genesis.cbor").write_bytes(neighbourhood_genesis)
        said = refused("chain", "check", str(stored / "proof.json"), "--genesis", str(tmp_path / "genesis.cbor"))
        assert said.startswith("the proof is of another chain, ")

    @pytest.mark.parametrize(
        ("file", "trusted", "says", "status"),
        [
            ("proof.json", [], "say what you trust: either --committee HASH or --genesis FILE", 2),
            ("proof.json", ["--committee", "0" * 64, "--genesis", "x"], "say what you trust", 2),
            ("proof.json", ["--committee", "12"], "a hash has 64 hexadecimal digits", 2),
            ("proof.json", ["--genesis", "/nonexistent"], "No such file", 2),
            ("proof.json", ["--genesis", "/dev/null"], "is no genesis", 2),
            ("missing.json", ["--committee", "0" * 64], "No such file", 2),
            ("genesis.cbor", ["--committee", "0" * 64], "is no proof, as ecloud chain prove writes it", 1),
        ],
    )
    def test_wrong_usage_is_said(self, stored: Path, file: str, trusted: list[str], says: str, status: int) -> None:
        assert says in refused("chain", "check", str(stored / file), *trusted, status=status)


@pytest.fixture(scope="module")
def neighbourhood_genesis() -> bytes:
    """Of another network."""
    return encode(make_genesis(("xenia", "yusuf")))


def _copy_with_flipped_block(stored: Path, target: Path, height: int | None) -> None:
    """Copies the data directory and turns one bit in the middle of a block, wherever the file holds it."""
    (target / "chain").mkdir()
    (target / "genesis.cbor").write_bytes((stored / "genesis.cbor").read_bytes())
    data = bytearray((stored / "chain" / "data.mdb").read_bytes())
    if height is not None:
        store = ChainDatabase.open(stored, chain_id=chain_id(read_genesis(stored)[1]), read_only=True)
        block = store.block(height)
        store.close()
        assert block is not None
        places = [place for place in range(len(data)) if data.startswith(block, place)]
        assert places
        for place in places:
            data[place + len(block) // 2] ^= 1
    (target / "chain" / "data.mdb").write_bytes(data)
