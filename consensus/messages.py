"""What the members of a committee say to each other about the height that is open.

A gossip message on the consensus topic is ``[tag, payload, salt]``. Nobody passes it on as it is: each node tells its
neighbours what of it is news to them (``node.relay``). The salt, any number, makes what is sent again a new message.

1. A ``Proposal`` stands for itself, as ``Votes`` do: each names its author's key.
2. ``Certificates`` are signatures on one statement by seat. What travels as one may lack a quorum: then it is votes,
   sent together at two thirds of the size.
3. An ``Abridged`` proposal lacks those signatures of its block's parent certificate that the receiver holds already.
4. ``Holdings`` say what the sender holds of a height, so that it is sent the rest.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from consensus.block import MAX_BLOCK_BYTES, MAX_COMMITTEE, Block, Certificate
from ledger.encoding import Bytes32, Bytes64, EncodingError, Unsigned, Wire, convert, decode_plain, encode
from ledger.statements import Statement, StatementKind

MAX_JUSTIFICATION: Final = 64
MAX_VOTES: Final = 512
MAX_CERTIFICATES: Final = 64
MAX_HOLDINGS: Final = 128
MAX_IN_FULL: Final = 4
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


class Abridged(Wire, frozen=True):
    """``left_out`` is a bitmap of seats, like a certificate's signers: those among the signers of the block's parent
    certificate whose signatures are not there.
    """

    proposal: Proposal
    left_out: Annotated[bytes, msgspec.Meta(max_length=MAX_COMMITTEE // 8)]


class Holding(Wire, frozen=True):
    """Whose signatures on a statement the sender holds; of a proposal, that it holds the leader's."""

    statement: Statement
    signers: Annotated[bytes, msgspec.Meta(max_length=MAX_COMMITTEE // 8)]


class Holdings(Wire, frozen=True):
    """What the sender holds of its open height, and of finalize votes for that height's parent.

    It holds nothing else of views from ``from_view`` on. ``in_full`` names abridged proposals it could not complete.
    """

    height: Unsigned
    from_view: Unsigned
    holdings: Annotated[tuple[Holding, ...], msgspec.Meta(max_length=MAX_HOLDINGS)]
    in_full: Annotated[tuple[Statement, ...], msgspec.Meta(max_length=MAX_IN_FULL)]


Message = Proposal | Votes | Certificates
"""What the engine says and hears."""

WireMessage = Message | Abridged | Holdings

_TAGS: Final[dict[int, type[WireMessage]]] = {1: Proposal, 2: Votes, 3: Certificates, 4: Abridged, 5: Holdings}
_TAG_OF: Final = {type_: tag for tag, type_ in _TAGS.items()}


def encode_message(message: WireMessage, salt: int) -> bytes:
    return encode((_TAG_OF[type(message)], message, salt))


def decode_message(data: bytes) -> WireMessage:
    """Errors: EncodingError."""
    plain = decode_plain(data, MAX_MESSAGE_BYTES)
    if not isinstance(plain, list) or len(plain) != 3 or type(plain[0]) is not int or plain[0] not in _TAGS:
        raise EncodingError("not a consensus message: expected [1 | 2 | 3 | 4 | 5, payload, salt]")
    convert(plain[2], Unsigned)
    return convert(plain[1], _TAGS[plain[0]])
