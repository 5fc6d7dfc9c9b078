"""``ecloud network`` on a real node: founding by questions and by file, inviting, granting, denying."""

from __future__ import annotations

import json
import time
from pathlib import Path

from ledger.genesis import chain_id
from ledger.keys import SigningKey
from node.client.client import NodeClient, ask
from node.invite import decode_invite
from node.joining import JoinRequest
from node.keystore import Keystore
from tests.cli.conftest import Neighbourhood
from tests.cli.running import PASSWORD, answer, on_terminal, refused, run
from tests.node.joining_examples import DAY_MS, make_invite, make_request

PLAN = """\
name = "Mill Lane"
[[feeders]]
name = "F1"
substation = "S"
[[members]]
name = "anne"
feeder = "F1"
roles = ["approver"]
"""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def file_request(home: Neighbourhood, who: str) -> JoinRequest:
    """A newcomer's request, as her own node would pass it on."""
    anne = SigningKey(Keystore(home.wallets).unlock("anne", PASSWORD))
    invite = make_invite(chain_id(home.genesis), by=anne, name=who, expires_ms=now_ms() + DAY_MS)
    request = make_request(invite, who, feeder="mill lane", made_ms=now_ms())
    ask(NodeClient(home.api), lambda client: client.file_join(request.message))
    return request


def test_founded_from_a_file(tmp_path: Path) -> None:
    # Given
    (tmp_path / "lane.toml").write_text(PLAN)
    arguments = ["--from", str(tmp_path / "lane.toml"), "--wallets", str(tmp_path / "wallets")]
    # When
    made = answer("network", "new", str(tmp_path / "lane"), *arguments)
    # Then
    (anne,) = made["members"]
    assert Path(anne["data_directory"], "node.key").exists()
    assert anne["mnemonic"] == Keystore(tmp_path / "wallets").export_mnemonic("anne", PASSWORD)
    # and not a second time
    assert "not empty" in refused("network", "new", str(tmp_path / "lane"), *arguments)


def test_a_wrong_file_is_said_with_its_line_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "lane.toml").write_text(PLAN.replace('"approver"', '"boss"'))
    arguments = ["network", "new", str(tmp_path / "lane"), "--from", str(tmp_path / "lane.toml")]
    assert "line 8: no role is called 'boss'" in refused(*arguments, status=2)
    (tmp_path / "lane.toml").write_text(PLAN.replace('roles = ["approver"]', ""))
    assert "nobody is an approver" in refused(*arguments)
    assert {path.name for path in tmp_path.iterdir()} <= {"lane.toml", "user"}
    assert "use --from FILE" in refused("network", "new", str(tmp_path / "lane"), status=2)


def test_founded_by_questions(tmp_path: Path) -> None:
    status, shown = on_terminal(
        ["network", "new", str(tmp_path / "lane")],
        [
            ("Name of the network", "Mill Lane\n"),
            ("Your name in it", "Anne\n"),
            ("begins with a letter", "anne\n"),
            ("Feeder that your home is on", "\n"),
            ("Substation", "\n"),
            ("WATT that you begin with", "\n"),
            ("Kind of your meter", "solar\n"),
            ("Most that it feeds in", "9800\n"),
            ("New password of the wallet anne", "secret\n"),
            ("Repeat", "secret\n"),
        ],
        tmp_path,
    )
    assert status == 0, shown
    assert "ecloud node run --data-dir" in shown
    assert "Write these 24 words on paper" in shown
    assert (tmp_path / "lane" / "homes" / "anne" / "meter.key").exists()


def test_an_invite_says_what_it_says(neighbourhood: Neighbourhood) -> None:
    # When
    text = run("network", "invite", "dora", "--days", "2", *neighbourhood.signing()).stdout.strip()
    # Then
    invite = decode_invite(text)
    assert invite.body.chain_id == chain_id(neighbourhood.genesis)
    assert invite.body.member == Keystore(neighbourhood.wallets).show("anne").public_key
    assert abs(invite.body.expires_ms - now_ms() - 2 * DAY_MS) < 60_000
    assert all("/p2p/" in address and "/ip4/0.0.0.0/" not in address for address in invite.addresses)
    shown = answer("network", "show", text)
    assert (shown["network"], shown["name"], shown["expired"]) == ("lane", "dora", False)
    for word in ("lane", "dora", neighbourhood.address("anne"), str(invite.body.height)):
        assert word in run("network", "show", text).stdout


def test_invites_that_are_not_made(neighbourhood: Neighbourhood) -> None:
    assert "is no member of this network" in refused("network", "invite", "dora", *neighbourhood.signing("poor"))
    assert "called 'bob' already" in refused("network", "invite", "bob", *neighbourhood.signing())
    assert "a name has 1 to 32" in refused("network", "invite", "Dora", *neighbourhood.signing(), status=2)
    wrong = refused("network", "invite", "dora", "--address", "/ip4/1.2.3.4", *neighbourhood.signing())
    assert "is not an address" in wrong


def test_an_expired_invite_is_shown_and_said_to_be() -> None:
    text = make_invite(expires_ms=1_750_000_000_000).text()
    assert "the invite has expired" in refused("network", "show", text)
    assert "begins with 'ecloud1'" in refused("network", "show", "nonsense")


def test_granted_registered_with_meter_and_first_fees(neighbourhood: Neighbourhood) -> None:
    # Given
    request = file_request(neighbourhood, "dora")
    assert "dora" in run("network", "requests", *neighbourhood.options).stdout
    # When
    granted = answer("network", "grant", "dora", "--yes", *neighbourhood.signing())
    # Then
    assert (granted["state"], len(granted["transactions"])) == ("final", 3)
    account = ask(NodeClient(neighbourhood.api), lambda client: client.account("dora"))
    assert account.account_key == request.body.account.hex()
    assert account.watt_uwatt == 20_000
    assert account.member is not None
    assert account.member.meters == [request.body.meters[0].key.hex()]
    assert "nobody who asks to join is called 'dora'" in refused("network", "grant", "dora", *neighbourhood.signing())


def test_a_confirmation_that_states_all_of_it(neighbourhood: Neighbourhood) -> None:
    file_request(neighbourhood, "emil")
    result = run("network", "grant", "emil", *neighbourhood.signing(), answers="n\n", status=1)
    for word in (
        "emil",
        "mill lane",
        "17,250 W in, 9,800 W out",
        "anne",
        "0.02 WATT",
        "0.023 WATT",
        "all of them must",
    ):
        assert word in result.stderr, word
    assert "nothing was done" in result.stderr


def test_only_an_approver_grants_or_denies(neighbourhood: Neighbourhood) -> None:
    file_request(neighbourhood, "fatma")
    for command in ("grant", "deny"):
        assert "bob is no approver" in refused("network", command, "fatma", "--yes", *neighbourhood.signing("bob"))


def test_denied_with_a_reason(neighbourhood: Neighbourhood) -> None:
    request = file_request(neighbourhood, "hugo")
    # When
    denied = answer("network", "deny", request.id.hex()[:8], "--reason", "who?", "--yes", *neighbourhood.signing())
    # Then
    assert (denied["name"], denied["state"]) == ("hugo", "denied")
    listed = json.loads(run("network", "requests", *neighbourhood.options, "--json").stdout)["requests"]
    (hugo,) = [one for one in listed if one["name"] == "hugo"]
    assert (hugo["state"], hugo["reason"]) == ("denied", "who?")
    assert "nobody who asks to join is called 'hugo'" in refused("network", "grant", "hugo", *neighbourhood.signing())
    assert "there waits" in refused("network", "deny", "ines", "--yes", *neighbourhood.signing())
