"""What a newcomer asks of a neighbourhood, and what an approver who says no answers.

1. A *join request* is ``[body, account signature, node signature]``: account key and node key sign the same body, so
   that both agree to belong together; every meter key in it signs the account id. It carries the invite
   (``node.invite``), so that only who was invited is heard, and ends with it at the latest.
2. A *denial* is an approver's signed no to one account on one invite, with a reason.
3. A *join message* is ``[tag, bytes]``: what the stream ``/ecloud/join/1`` and the API carry. The stream's answer is a
   list of join messages: the denial, where the account that asks has been denied on this invite, else nothing.
4. Everything here is checked without a state. What only the chain can say is ``node.joining_pool``'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Final

import msgspec

from ledger.encoding import Bytes32, Bytes64, EncodingError, Unsigned, Wire, decode, encode
from ledger.keys import Domain, SigningKey, digest, verify_signature
from ledger.records import MeterKind, MeterRole
from ledger.refusal import TransactionRefused
from ledger.registry import check_meter_terms, check_name
from ledger.transactions import MAX_NAME_CHARACTERS, RegisterMeter
from node.invite import MAX_INVITE_BYTES, Invite, InviteError, decode_signed

VERSION: Final = 1
MAX_METERS: Final = 4
MAX_FEEDER_CHARACTERS: Final = 64
MAX_REASON_CHARACTERS: Final = 200
MAX_JOIN_BYTES: Final = 3 * 1024
"""Of a request or a denial, encoded."""
MAX_JOIN_MESSAGE_BYTES: Final = MAX_JOIN_BYTES + 8
REQUEST: Final = 1
DENIAL: Final = 2


class JoinError(ValueError):
    """The request or denial cannot be used; the message says why and what would be right."""


class JoinForged(JoinError):
    """A signature is not what it should be: whoever made this did so on purpose."""


class WishedMeter(Wire, frozen=True):
    """A meter to be registered with its owner: the fields of ``RegisterMeter``, and the meter key's signature over the
    account id under ``Domain.METER_KEY``.
    """

    key: Bytes32
    kind: Unsigned
    import_nameplate_w: Unsigned
    export_nameplate_w: Unsigned
    storage_capacity_wh: Unsigned
    import_wh: Unsigned
    export_wh: Unsigned
    proof: Bytes64


class JoinBody(Wire, frozen=True):
    """``invite`` are the bytes of a ``SignedInvite``. The first meter is the grid connection's."""

    version: Unsigned
    account: Bytes32
    node_key: Bytes32
    name: Annotated[str, msgspec.Meta(max_length=MAX_NAME_CHARACTERS)]
    feeder: Annotated[str, msgspec.Meta(max_length=MAX_FEEDER_CHARACTERS)]
    meters: Annotated[tuple[WishedMeter, ...], msgspec.Meta(max_length=MAX_METERS)]
    made_ms: Unsigned
    expires_ms: Unsigned
    invite: Annotated[bytes, msgspec.Meta(max_length=MAX_INVITE_BYTES)]


class SignedJoin(Wire, frozen=True):
    body: bytes
    account_signature: Bytes64
    node_signature: Bytes64


class SignedDenial(Wire, frozen=True):
    """The signature, by the approver's account key under ``Domain.JOIN_DENIAL``, is over [account, invite, reason];
    ``invite`` is the SHA-256 of its bytes.
    """

    account: Bytes32
    invite: Bytes32
    approver: Bytes32
    reason: Annotated[str, msgspec.Meta(max_length=MAX_REASON_CHARACTERS)]
    signature: Bytes64


class JoinMessage(Wire, frozen=True):
    """``kind``: REQUEST or DENIAL; ``content``: the encoded ``SignedJoin`` or ``SignedDenial``."""

    kind: Unsigned
    content: Annotated[bytes, msgspec.Meta(max_length=MAX_JOIN_BYTES)]


JoinAnswer = Annotated[
    tuple[Annotated[bytes, msgspec.Meta(max_length=MAX_JOIN_MESSAGE_BYTES)], ...], msgspec.Meta(max_length=1)
]


@dataclass(frozen=True)
class JoinRequest:
    """A decoded request, its signatures not yet checked. ``raw`` is the encoded ``SignedJoin``."""

    raw: bytes
    signed: SignedJoin
    body: JoinBody
    invite: Invite

    @cached_property
    def id(self) -> bytes:
        return digest(self.signed.body)

    @cached_property
    def message(self) -> bytes:
        """The encoded ``JoinMessage``."""
        return encode(JoinMessage(kind=REQUEST, content=self.raw))

    def registrations(self) -> tuple[RegisterMeter, ...]:
        """What an approver signs for the meters."""
        return tuple(
            RegisterMeter(
                meter=meter.key,
                owner=self.body.account,
                kind=meter.kind,
                role=int(MeterRole.SUB if place else MeterRole.CONNECTION),
                import_nameplate_w=meter.import_nameplate_w,
                export_nameplate_w=meter.export_nameplate_w,
                storage_capacity_wh=meter.storage_capacity_wh,
                import_wh=meter.import_wh,
                export_wh=meter.export_wh,
            )
            for place, meter in enumerate(self.body.meters)
        )

    def require_signatures(self) -> None:
        """Errors: JoinForged."""
        body, chain_id = self.body, self.invite.body.chain_id
        signers = (
            ("account", body.account, self.signed.account_signature),
            ("node", body.node_key, self.signed.node_signature),
        )
        for what, key, signature in signers:
            if not verify_signature(key, Domain.JOIN_REQUEST, chain_id, self.signed.body, signature):
                raise JoinForged(f"the {what} key has not signed the request")
        for meter in body.meters:
            if not verify_signature(meter.key, Domain.METER_KEY, chain_id, body.account, meter.proof):
                raise JoinForged(f"the meter key {meter.key.hex()} has not signed the account id")


@dataclass(frozen=True)
class Denial:
    """A decoded denial, its signature not yet checked."""

    raw: bytes
    signed: SignedDenial

    @cached_property
    def message(self) -> bytes:
        """The encoded ``JoinMessage``."""
        return encode(JoinMessage(kind=DENIAL, content=self.raw))

    def require_signature(self, chain_id: bytes) -> None:
        """Errors: JoinForged."""
        signed = self.signed
        content = _denial_content(signed.account, signed.invite, signed.reason)
        if not verify_signature(signed.approver, Domain.JOIN_DENIAL, chain_id, content, signed.signature):
            raise JoinForged("the approver has not signed the denial")


def wish_meter(
    key: SigningKey,
    chain_id: bytes,
    account: bytes,
    *,
    kind: MeterKind,
    import_nameplate_w: int,
    export_nameplate_w: int,
    storage_capacity_wh: int = 0,
    import_wh: int = 0,
    export_wh: int = 0,
) -> WishedMeter:
    return WishedMeter(
        key=key.public_key,
        kind=int(kind),
        import_nameplate_w=import_nameplate_w,
        export_nameplate_w=export_nameplate_w,
        storage_capacity_wh=storage_capacity_wh,
        import_wh=import_wh,
        export_wh=export_wh,
        proof=key.sign(Domain.METER_KEY, chain_id, account),
    )


def sign_request(
    account: SigningKey,
    node_key: SigningKey,
    invite: Invite,
    *,
    name: str,
    feeder: str,
    meters: tuple[WishedMeter, ...] = (),
    made_ms: int,
    expires_ms: int,
) -> JoinRequest:
    """A request by the holder of both keys. Errors: JoinError for a wish that nobody could grant."""
    body = JoinBody(
        version=VERSION,
        account=account.public_key,
        node_key=node_key.public_key,
        name=name,
        feeder=feeder,
        meters=meters,
        made_ms=made_ms,
        expires_ms=expires_ms,
        invite=invite.raw,
    )
    encoded, chain_id = encode(body), invite.body.chain_id
    signed = SignedJoin(
        body=encoded,
        account_signature=account.sign(Domain.JOIN_REQUEST, chain_id, encoded),
        node_signature=node_key.sign(Domain.JOIN_REQUEST, chain_id, encoded),
    )
    return decode_request(encode(signed))


def sign_denial(key: SigningKey, chain_id: bytes, account: bytes, invite: bytes, reason: str) -> Denial:
    """By an approver. ``invite``: its id. Errors: JoinError for a reason that is too long."""
    if len(reason) > MAX_REASON_CHARACTERS:
        raise JoinError(f"a reason has at most {MAX_REASON_CHARACTERS} characters, not {len(reason)}")
    signature = key.sign(Domain.JOIN_DENIAL, chain_id, _denial_content(account, invite, reason))
    signed = SignedDenial(account=account, invite=invite, approver=key.public_key, reason=reason, signature=signature)
    return Denial(encode(signed), signed)


def decode_message(data: bytes) -> JoinRequest | Denial:
    """What a ``JoinMessage`` holds. Errors: JoinError."""
    try:
        message = decode(data, JoinMessage, MAX_JOIN_MESSAGE_BYTES)
        if message.kind == REQUEST:
            return decode_request(message.content)
        if message.kind == DENIAL:
            return Denial(message.content, decode(message.content, SignedDenial, MAX_JOIN_BYTES))
    except EncodingError as error:
        raise JoinError(f"not a join message: {error}") from error
    raise JoinError(f"no join message has the tag {message.kind}: {REQUEST} is a request, {DENIAL} a denial")


def decode_request(raw: bytes) -> JoinRequest:
    """Checks all that needs neither a state nor a signature but the invite's. Errors: JoinError."""
    try:
        signed = decode(raw, SignedJoin, MAX_JOIN_BYTES)
        body = decode(signed.body, JoinBody, MAX_JOIN_BYTES)
        invite = decode_signed(body.invite)
    except EncodingError as error:
        raise JoinError(f"not a join request: {error}") from error
    except InviteError as error:
        raise JoinError(str(error)) from error
    if body.version != VERSION:
        raise JoinError(f"the request is of version {body.version}; this node knows version {VERSION}")
    request = JoinRequest(raw, signed, body, invite)
    keys = (body.account, body.node_key, *(meter.key for meter in body.meters))
    if len(set(keys)) < len(keys):
        raise JoinError("account, node and meters have a key each, and no two the same")
    if not body.made_ms < body.expires_ms <= invite.body.expires_ms:
        raise JoinError("a request ends after it was made, and with its invite at the latest")
    try:
        check_name(body.name)
        for registration in request.registrations():
            check_meter_terms(registration)
    except TransactionRefused as refused:
        raise JoinError(refused.detail) from refused
    return request


def _denial_content(account: bytes, invite: bytes, reason: str) -> bytes:
    return encode((account, invite, reason))
