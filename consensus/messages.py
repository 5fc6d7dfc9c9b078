"""What the members of a committee say to each other about the height that is open.

A gossip message on the consensus topic is ``[tag, payload, salt]``: one ``Proposal``, or ``Votes`` and ``Certificates``
that were waiting together. Gossip passes every message on once; the salt, any number, makes what is sent again a new
message, so that it reaches those who missed it.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from consensus.block import MAX_BLOCK_BYTES, Block, Certificate
from ledger.encoding import Bytes32, Bytes64, EncodingError, Unsigned, Wire, convert, decode_plain, encode
from ledger.statements import Statement, StatementKind

MAX_JUSTIFICATION: Final = 64
MAX_VOTES: Final = 512
MAX_CERTIFICATES: Final = 64
MAX_MESSAGE_BYTES: Final = 900_000

assert MAX_BLOCK_BYTES < MAX_MESSAGE_BYTES


class Vote(Wire, frozen=True):
    """One member's signature on a notarize, nullify or finalize statement."""

    statement: Statement
    node_key: Bytes32
    signature: Bytes64


class Proposal(Wire, frozen=True):
    """The leader's block for (height, view), and the certificates that justify proposing it there.

    The signature covers the statement (PROPOSAL, height, view, block hash), never the justification.
    """

    height: Unsigned
    view: Unsigned
    block: Block
    justification: Annotated[tuple[Certificate, ...], msgspec.Meta(max_length=MAX_JUSTIFICATION)]
    node_key: Bytes32
    signature: Bytes64

    @property
    def statement(self) -> Statement:
        return Statement(StatementKind.PROPOSAL, self.height, self.view, self.block.hash)


class Votes(Wire, frozen=True):
    votes: Annotated[tuple[Vote, ...], msgspec.Meta(min_length=1, max_length=MAX_VOTES)]


class Certificates(Wire, frozen=True):
    certificates: Annotated[tuple[Certificate, ...], msgspec.Meta(min_length=1, max_length=MAX_CERTIFICATES)]


Message = Proposal | Votes | Certificates

_TAGS: Final[dict[int, type[Message]]] = {1: Proposal, 2: Votes, 3: Certificates}
_TAG_OF: Final = {type_: tag for tag, type_ in _TAGS.items()}


def encode_message(message: Message, salt: int) -> bytes:
    return encode((_TAG_OF[type(message)], message, salt))


def decode_message(data: bytes) -> Message:
    """Errors: EncodingError."""
    plain = decode_plain(data, MAX_MESSAGE_BYTES)
    if not isinstance(plain, list) or len(plain) != 3 or type(plain[0]) is not int or plain[0] not in _TAGS:
        raise EncodingError("not a consensus message: expected [1 | 2 | 3, payload, salt]")
    convert(plain[2], Unsigned)
    return convert(plain[1], _TAGS[plain[0]])
