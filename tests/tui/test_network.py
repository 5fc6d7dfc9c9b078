"""Network: peers as they are, and newcomers granted or denied with one key, a confirmation and a password."""

from __future__ import annotations

from typing import Any

from textual.pilot import Pilot

from ledger.transactions import RegisterMember, RegisterMeter, Transfer, decode_transaction
from node.client.events import JoinEnded, JoinRequested
from node.client.wallets import Keystore
from tests.tui.conftest import attach
from tests.tui.driving import PASSWORD, make_wallets, play, press, said, text_of, until, until_shown
from tests.tui.neighbourhood import KEYS, newcomer_key
from tests.tui.server import RecordedNode
from tui.app import EcloudApp
from tui.dialogs.grant import DenyDialog, GrantDialog
from tui.screens.network import NetworkScreen


async def asked(pilot: Pilot[Any], node: RecordedNode, *names: str) -> None:
    """On the network screen, newcomers come."""
    await press(pilot, "p")
    await until(pilot, lambda: isinstance(pilot.app.screen, NetworkScreen), "the screen did not open")
    for name in names:
        node.neighbourhood.newcomers.append(name)
        node.tell(JoinRequested(id="00", name=name, address=""))
        await until_shown(pilot, name)


async def told(pilot: Pilot[Any], text: str) -> None:
    """A passing notice says it."""
    await until(pilot, lambda: any(text in one.message for one in pilot.app._notifications), f"{text!r} never came")


def test_peers_with_direction_latency_and_bytes(app: EcloudApp, node: RecordedNode) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await asked(pilot, node)
        await until_shown(pilot, "Peers · 3")
        shown = text_of(app)
        for part in ("←  bob", "→  carla", "/ip4/127.0.0.1/tcp/40", "0.7 ms", "2.9 ms", "1.1 MiB", "7.1 MiB received"):
            assert part in shown, part
        assert "ecloud network invite NAME" in shown

    play(app, scene)


def test_granted_it_is_registered_with_meter_and_first_fees(app: EcloudApp, node: RecordedNode) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await asked(pilot, node, "dora")
        # When
        await press(pilot, "g")
        await until(pilot, lambda: isinstance(app.screen, GrantDialog), "no confirmation was asked for")
        stated = text_of(app)
        for part in ("dora", "F1, substation S", "17,250 W in, 9,800 W out", "bob", "0.02 WATT", "0.023 WATT"):
            assert part in stated, part
        assert node.submitted == []
        await press(pilot, f"={PASSWORD}", "enter")
        # Then
        await until_shown(pilot, "waiting for a block")
        member, meter, welcome = (decode_transaction(raw) for raw in node.submitted)
        key = newcomer_key("dora").public_key
        assert member.payload == RegisterMember(key, "dora", 0, "F1")
        assert isinstance(meter.payload, RegisterMeter)
        assert (meter.payload.owner, meter.payload.export_nameplate_w) == (key, 9_800)
        assert welcome.payload == Transfer(key, 1, 20_000, "welcome")
        for transaction in (member, meter, welcome):
            assert transaction.sender == KEYS["anne"].public_key
            assert transaction.has_valid_signature()

    play(app, scene)


def test_a_wrong_password_grants_nothing(app: EcloudApp, node: RecordedNode) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await asked(pilot, node, "dora")
        await press(pilot, "g")
        await until(pilot, lambda: isinstance(app.screen, GrantDialog), "no confirmation was asked for")
        await press(pilot, "=not it", "enter")
        await until(pilot, lambda: "wrong password" in said(app, "#problem"), "it was not told")
        assert node.submitted == []
        await press(pilot, "escape")
        await until(pilot, lambda: isinstance(app.screen, NetworkScreen), "it did not close")

    play(app, scene)


def test_denied_with_a_reason_that_the_newcomer_is_told(app: EcloudApp, node: RecordedNode) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await asked(pilot, node, "dora")
        await press(pilot, "d")
        await until(pilot, lambda: isinstance(app.screen, DenyDialog), "no confirmation was asked for")
        await press(pilot, "=who are you?", "tab", f"={PASSWORD}", "enter")
        await until(pilot, lambda: isinstance(app.screen, NetworkScreen), "it did not close")
        await until_shown(pilot, "denied: who are you?")
        assert node.neighbourhood.denials["dora"].signed.approver == KEYS["anne"].public_key
        await press(pilot, "g")
        await told(pilot, "denied already")

    play(app, scene)


def test_what_stands_against_a_wish_is_said_and_cannot_be_granted(app: EcloudApp, node: RecordedNode) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await asked(pilot, node, "fatma")
        assert "the name 'fatma' is taken" in text_of(app)
        await press(pilot, "g")
        await told(pilot, "cannot be granted")
        assert isinstance(app.screen, NetworkScreen)

    play(app, scene, size=(120, 40))


def test_who_is_no_approver_is_told_so(node: RecordedNode, tmp_path: Any) -> None:
    app = attach(node, make_wallets(tmp_path / "bobs", "bob"))

    async def scene(pilot: Pilot[Any]) -> None:
        await asked(pilot, node, "dora")
        await press(pilot, "g")
        await told(pilot, "no wallet of this machine is an approver")

    play(app, scene)


def test_a_request_that_has_ended_goes(app: EcloudApp, node: RecordedNode, keystore: Keystore) -> None:
    async def scene(pilot: Pilot[Any]) -> None:
        await asked(pilot, node, "dora")
        node.neighbourhood.newcomers.clear()
        node.tell(JoinEnded(id="00", name="dora", address="", outcome="granted", reason=""))
        await until(pilot, lambda: "dora" not in text_of(app), "it stayed")
        await press(pilot, "g")
        await told(pilot, "nobody asks to join")

    play(app, scene)
