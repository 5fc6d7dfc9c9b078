"""Targets of a newcomer's way in: invites that people hand over, and what their nodes send after them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ledger.encoding import EncodingError, decode, decode_plain, encode
from ledger.keys import Domain
from node.invite import MAX_INVITE_BYTES, Invite, InviteError, SignedInvite, decode_invite, decode_signed
from node.joining import JoinError, JoinRequest, decode_message
from tests.fuzz.mutation import any_cbor, any_text
from tests.fuzz.target import ACCEPTED, Feed, Target
from tests.node.joining_examples import CHAIN_ID, NOW_MS, make_denial, make_invite, make_request
from tests.support.chain import key_for


def _sound(invite: Invite) -> str:
    """An invite that was accepted can be written, shown and used."""
    assert decode_invite(invite.text()) == invite
    assert len(invite.addresses) >= 1
    try:
        invite.require_current(NOW_MS)
    except InviteError:
        return "expired"
    return ACCEPTED


def _texts() -> tuple[Sequence[bytes], Feed]:
    def feed(data: bytes) -> str:
        try:
            invite = decode_invite(data.decode("utf-8", "replace"))
        except InviteError:
            return "InviteError"
        return _sound(invite)

    return [make_invite().text().encode(), make_invite().text().upper().encode()], feed


def _bodies() -> tuple[Sequence[bytes], Feed]:
    """Signed by the member anew, so that what is behind the signature is reached."""
    anne = key_for("account", "anne")
    golden = [decode(make_invite().raw, SignedInvite, MAX_INVITE_BYTES).body]

    def feed(data: bytes) -> str:
        try:
            chain = decode_plain(data, MAX_INVITE_BYTES)[1]
            signature = anne.sign(Domain.INVITE, chain if isinstance(chain, bytes) else CHAIN_ID, data)
        except (EncodingError, LookupError, TypeError):
            signature = bytes(64)
        try:
            invite = decode_signed(encode(SignedInvite(body=data, signature=signature)))
        except InviteError:
            return "InviteError"
        assert encode(invite.body) == data
        return _sound(invite)

    return golden, feed


def _messages() -> tuple[Sequence[bytes], Feed]:
    request = make_request(make_invite())

    def feed(data: bytes) -> str:
        try:
            message = decode_message(data)
            assert message.message == data
            if isinstance(message, JoinRequest):
                message.require_signatures()
            else:
                message.require_signature(CHAIN_ID)
        except JoinError as error:
            return type(error).__name__
        return ACCEPTED

    return [request.message, make_denial(request).message], feed


TARGETS: Final = (
    Target("invites", any_text, _texts),
    Target("invite-bodies", any_cbor, _bodies),
    Target("join-messages", any_cbor, _messages),
)
