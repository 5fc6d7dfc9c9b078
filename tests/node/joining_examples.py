"""Invites, join requests and denials on the chain of ``tests.support.chain``, and the golden bytes of one of each.

``python -m tests.node.joining_examples`` writes tests/vectors/joining.json anew. Do so only when a format is meant to
change: invites that are in the mail stop working.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from ledger.keys import SigningKey, digest
from ledger.records import MeterKind
from node.invite import Invite, sign_invite
from node.joining import Denial, JoinRequest, WishedMeter, sign_denial, sign_request, wish_meter
from p2p.peer_identity import peer_id_from_public_key
from tests.support.chain import key_for

VECTORS_FILE: Final = Path(__file__).parent.parent / "vectors" / "joining.json"
CHAIN_ID: Final = digest(b"chain")
NOW_MS: Final = 1_750_000_000_000
DAY_MS: Final = 86_400_000


def address_of(name: str) -> str:
    return f"/ip4/192.168.1.20/tcp/4001/p2p/{peer_id_from_public_key(key_for('node', name).public_key)}"


def make_invite(
    chain_id: bytes = CHAIN_ID,
    *,
    by: SigningKey | None = None,
    name: str = "dora",
    expires_ms: int = NOW_MS + 7 * DAY_MS,
    addresses: tuple[str, ...] = (),
    height: int = 70_000,
    block_hash: bytes = digest(b"block"),
) -> Invite:
    """By anne, unless told otherwise."""
    return sign_invite(
        by or key_for("account", "anne"),
        chain_id=chain_id,
        network="Mill Lane",
        name=name,
        addresses=addresses or (address_of("anne"),),
        height=height,
        block_hash=block_hash,
        expires_ms=expires_ms,
    )


def make_meter(invite: Invite, who: str = "dora") -> WishedMeter:
    return wish_meter(
        key_for("meter", who),
        invite.body.chain_id,
        key_for("account", who).public_key,
        kind=MeterKind.SOLAR,
        import_nameplate_w=17_250,
        export_nameplate_w=9_800,
    )


def make_request(
    invite: Invite,
    who: str = "dora",
    *,
    name: str | None = None,
    feeder: str = "mill lane",
    meters: tuple[WishedMeter, ...] | None = None,
    made_ms: int = NOW_MS,
    expires_ms: int | None = None,
) -> JoinRequest:
    """By the keys of ``who``, who wishes that name, with a meter."""
    return sign_request(
        key_for("account", who),
        key_for("node", who),
        invite,
        name=who if name is None else name,
        feeder=feeder,
        meters=(make_meter(invite, who),) if meters is None else meters,
        made_ms=made_ms,
        expires_ms=invite.body.expires_ms if expires_ms is None else expires_ms,
    )


def make_denial(request: JoinRequest, by: str = "anne", reason: str = "who are you?") -> Denial:
    chain_id = request.invite.body.chain_id
    return sign_denial(key_for("account", by), chain_id, request.body.account, request.invite.id, reason)


def vectors() -> dict[str, Any]:
    """What the file holds."""
    invite = make_invite()
    request = make_request(invite)
    return {
        "explanation": {
            "invite": "text: what is handed over; bytes: the SignedInvite in it; body: its first field; id: SHA-256.",
            "request": "message: a JoinMessage with tag 1; id: SHA-256 of the signed body.",
            "denial": "message: a JoinMessage with tag 2.",
            "keys": "Seeds: SHA-256 of 'account of anne' and so on; chain id: SHA-256 of 'chain'.",
        },
        "chain_id": CHAIN_ID.hex(),
        "invite": {"text": invite.text(), "bytes": invite.raw.hex(), "id": invite.id.hex()},
        "request": {"message": request.message.hex(), "id": request.id.hex()},
        "denial": {"message": make_denial(request).message.hex()},
    }


if __name__ == "__main__":
    VECTORS_FILE.write_text(json.dumps(vectors(), indent=1) + "\n", "utf-8")
