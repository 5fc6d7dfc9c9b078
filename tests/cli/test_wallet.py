from __future__ import annotations

import json
from pathlib import Path

import pytest

from node.keystore import CHEAP, Keystore
from tests.cli.conftest import Neighbourhood
from tests.cli.running import PASSWORD, answer, on_terminal, refused, run

pytestmark = pytest.mark.xdist_group("a node of the command line")


class TestKeys:
    def test_a_wallet_is_made_and_comes_back_from_its_words(self, tmp_path: Path) -> None:
        """Given a new wallet, When its words, as shown, make another, Then both have the same key."""
        made = run("wallet", "create", "savings", "--wallets", str(tmp_path))
        lines = made.stdout.splitlines()
        assert lines[0] == "wallet   savings"
        assert "shown this once" in made.stderr
        words = "\n".join(lines[-4:])
        imported = run(
            "wallet", "import", "again", "--wallets", str(tmp_path), "--words-file", "-", "--json", answers=words
        )
        address = lines[1].split()[1]
        assert json.loads(imported.stdout)["address"] == address
        listed = answer("wallet", "list", "--wallets", str(tmp_path))
        assert [(one["name"], one["address"]) for one in listed["wallets"]] == [
            ("again", address),
            ("savings", address),
        ]
        exported = answer("wallet", "export", "again", "--wallets", str(tmp_path))
        assert exported["mnemonic"].split() == [word for word in words.split() if not word.isdecimal()]

    def test_a_password_comes_from_a_files_first_line(self, wallets: Path, tmp_path: Path) -> None:
        (tmp_path / "password").write_text(f"{PASSWORD}\nnot this\n")
        options = ["--wallets", str(wallets), "--password-file"]
        exported = run("wallet", "export", "anne", *options, str(tmp_path / "password"), password=None)
        assert len([word for word in exported.stdout.split() if not word.isdecimal()]) == 24
        again = run("wallet", "export", "anne", *options, "-", answers=PASSWORD, password="wrong")
        assert again.stdout == exported.stdout

    def test_on_a_terminal_it_is_asked_for_and_never_shown(self, wallets: Path, tmp_path: Path) -> None:
        status, shown = on_terminal(
            ["wallet", "export", "bob", "--wallets", str(wallets)],
            [("Password of the wallet bob:", f"{PASSWORD}\n")],
            tmp_path,
        )
        assert status == 0
        assert PASSWORD not in shown
        assert " 1 " in shown
        assert "24 " in shown

    def test_a_wrong_password_is_said(self, wallets: Path) -> None:
        said = refused("wallet", "export", "anne", "--wallets", str(wallets), password="wrong")
        assert said.startswith("wrong password for the wallet 'anne'")

    def test_without_a_terminal_nobody_is_asked(self, wallets: Path) -> None:
        said = refused("wallet", "export", "anne", "--wallets", str(wallets), password=None, status=2)
        assert said == "no terminal to ask for the password: use --password-file or $ECLOUD_PASSWORD"

    @pytest.mark.parametrize(
        ("arguments", "says", "status"),
        [
            (["create", "anne"], "there is a wallet 'anne' in", 1),
            (["import", "anne"], "there is a wallet 'anne' in", 1),
            (["create", "Two Words"], "cannot name a wallet", 1),
            (["export", "carla"], "there are: anne, bob, poor", 1),
            (["export", "anne", "--password-file", "/nonexistent"], "No such file", 2),
            (["import", "new", "--words-file", "/nonexistent"], "No such file", 2),
            (["import", "new", "--words-file", "-", "--password-file", "-"], "cannot both come from standard", 2),
            (["import", "new"], "a backup has 24 words; these are 0", 1),
            (["show"], "there are several wallets; choose one with --wallet: anne, bob, poor", 2),
        ],
    )
    def test_what_cannot_be_is_said_before_a_password_is_asked_for(
        self, wallets: Path, arguments: list[str], says: str, status: int
    ) -> None:
        assert says in refused("wallet", *arguments, "--wallets", str(wallets), password=None, status=status)

    def test_where_there_is_no_wallet_one_is_told_how_to_make_one(self, tmp_path: Path) -> None:
        assert run("wallet", "list", "--wallets", str(tmp_path)).stdout.startswith("no wallet in ")
        said = refused("wallet", "send", "bob", "1", "WATT", "--wallets", str(tmp_path))
        assert said.endswith("make one with: ecloud wallet create NAME")

    def test_a_damaged_file_does_not_hide_the_others(self, tmp_path: Path) -> None:
        keystore = Keystore(tmp_path)
        keystore.create("good", PASSWORD, CHEAP)
        (tmp_path / "bad.json").write_text("{}")
        result = run("wallet", "list", "--wallets", str(tmp_path))
        assert keystore.show("good").address in result.stdout
        assert "bad.json is not a wallet file" in result.stderr


class TestSending:
    def test_what_is_sent_is_final_and_in_both_histories(self, neighbourhood: Neighbourhood) -> None:
        """Given money from the genesis, When it is sent by name, Then a block carries it and both accounts show it."""
        before = answer("wallet", "show", "bob", *neighbourhood.options)["account"]["watt_uwatt"]
        sent = run("wallet", "send", "bob", "12.5", "WATT", "--memo", "coal", "--yes", *neighbourhood.signing())
        assert sent.stdout.startswith("final in block ")
        assert "waiting for a block" in sent.stderr
        after = answer("wallet", "show", "bob", *neighbourhood.options)
        assert after["account"]["watt_uwatt"] == before + 12_500_000
        assert after["history"][0]["payload"]["memo"] == "coal"
        shown = run("wallet", "show", "anne", *neighbourhood.options, "--wallets", str(neighbourhood.wallets)).stdout
        assert "anne, on this machine" in shown
        assert "−12.50 WATT  bob" in shown

    def test_the_question_states_all_and_a_no_does_nothing(self, neighbourhood: Neighbourhood) -> None:
        asked = run("wallet", "send", "bob", "3 grid", *neighbourhood.signing(), answers="n\n", status=1).stderr
        assert asked.splitlines()[:4] == [
            "amount  3.00 GRID",
            f"to      bob  {neighbourhood.address('bob')}",
            f"from    anne  {neighbourhood.address('anne')}",
            "fee     0.001 WATT",
        ]
        assert asked.endswith("ecloud: nothing was done\n")
        assert answer("node", "status", *neighbourhood.options)["mempool"]["transactions"] == 0

    def test_a_yes_sends_it(self, neighbourhood: Neighbourhood) -> None:
        sent = run("wallet", "send", "bob", "3 GRID", *neighbourhood.signing(), answers="y\n")
        assert "final in block " in sent.stdout

    def test_an_address_nobody_has_used_is_pointed_out(self, neighbourhood: Neighbourhood) -> None:
        command = ["wallet", "send", neighbourhood.address("poor"), "1", "WATT", *neighbourhood.signing()]
        assert "nobody has used this address yet: check it" in run(*command, answers="n\n", status=1).stderr

    def test_for_programs_there_is_the_transaction(self, neighbourhood: Neighbourhood) -> None:
        sent = answer("wallet", "send", "bob", "0.000001", "WATT", "--fee", "0.002", "-y", *neighbourhood.signing())
        assert (sent["state"], sent["refusal"], sent["payload"]["amount"]) == ("final", None, 1)
        assert sent["fee_uwatt"] == 2_000
        pending = answer("wallet", "send", "bob", "1", "WATT", "--no-wait", "-y", *neighbourhood.signing())
        assert (pending["state"], len(pending["id"])) == ("pending", 64)

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["bob", "5000 GRID"], "refused: insufficient_grid: "),
            (["bob", "0 WATT"], "refused: amount_zero: "),
            (["anne", "1 WATT"], "refused: same_account: "),
            (["bob", "1 WATT", "--fee", "0"], "refused: fee_too_low: "),
            (["bob", "1 WATT", "--memo", "m" * 65], "refused: oversized: "),
            (["bobby", "1 WATT"], "no member is called 'bobby'; use an address, or one of: anne, bob"),
            (["ec3K9HzW3Pt4ADLiyWxHAi2FGJR3Z5A28vfvwhhocQyLuFBjsk1wk", "1 WATT"], "has a typing error"),
        ],
    )
    def test_a_refusal_is_shown_with_its_word(
        self, neighbourhood: Neighbourhood, arguments: list[str], says: str
    ) -> None:
        assert says in refused("wallet", "send", *arguments, "--yes", *neighbourhood.signing())

    def test_money_that_is_already_on_its_way_cannot_be_sent_again(self, neighbourhood: Neighbourhood) -> None:
        """Given a payment that waits, When more than the rest is sent, Then the node or the block refuses it."""
        run("wallet", "send", "anne", "600", "WATT", "--yes", "--no-wait", *neighbourhood.signing("bob"))
        said = refused("wallet", "send", "anne", "600", "WATT", "--yes", *neighbourhood.signing("bob"))
        assert said.startswith("refused")
        assert "insufficient_watt" in said
        run("wallet", "send", "bob", "600", "WATT", "--yes", *neighbourhood.signing("anne"))

    def test_an_account_without_money_cannot_pay(self, neighbourhood: Neighbourhood) -> None:
        said = refused("wallet", "send", "bob", "1", "WATT", "--yes", *neighbourhood.signing("poor"))
        assert said.startswith("refused: cannot_pay_fee: ")

    def test_a_wrong_password_signs_nothing(self, neighbourhood: Neighbourhood) -> None:
        said = refused("wallet", "send", "bob", "1", "WATT", "--yes", *neighbourhood.signing(), password="wrong")
        assert said.startswith("wrong password for the wallet 'anne'")

    @pytest.mark.parametrize(
        ("amount", "says"),
        [
            ("12", "'12': say how much of what, for instance 12.5 WATT or 3 GRID"),
            ("1 EUR", "say how much of what"),
            ("WATT", "is no amount of WATT"),
            ("-1 WATT", "No such option: -1"),
            ("1,5 WATT", "'1,5' is no amount of WATT"),
            ("1.1234567 WATT", "WATT has 6 decimals at the most"),
            ("99999999999999999 GRID", "is no amount of GRID"),
        ],
    )
    def test_what_is_no_amount_is_wrong_usage(self, wallets: Path, amount: str, says: str) -> None:
        options = ["--wallets", str(wallets), "--wallet", "anne", "--api", "http://127.0.0.1:9"]
        assert says in refused("wallet", "send", "bob", *amount.split(" "), *options, status=2)

    def test_a_node_that_is_away_is_said(self, wallets: Path) -> None:
        options = ["--wallets", str(wallets), "--wallet", "anne", "--yes", "--api", "http://127.0.0.1:9"]
        assert refused("wallet", "send", "bob", "1", "WATT", *options, status=4) == (
            "no node answers at http://127.0.0.1:9; start it with: ecloud node run"
        )
