"""What may be asked of the ledger: the envelope, the kinds and their payloads.

``Signed = [body bytes, signature]``, ``body = [version, chain id, sender, nonce, fee, valid until, kind, payload]``.

1. The id is SHA-256 of the body bytes; the signature, by the sender's key, covers them under ``Domain.TRANSACTION``.
2. The sender is the key that signs: an account's own key, a delegated node key for ``NODE_KEY_KINDS``, or the meter's
   key for a reading. So a signature can be checked without knowing any state.
3. Nonces are strictly sequential per sending key. A reading has none: nonce, fee and valid-until are zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any, Final

import msgspec

from ledger.agreements import PoolShare, PreferredPrice
from ledger.encoding import (
    BasisPoints,
    Bytes32,
    Bytes64,
    EncodingError,
    NotCanonical,
    Unsigned,
    Wire,
    convert_loosely,
    decode,
    decode_loosely,
    encode,
    require_encoding,
)
from ledger.keys import Domain, SigningKey, digest, verify_signature
from ledger.records import RuleTarget
from ledger.refusal import Refusal, TransactionRefused
from ledger.statements import SignedStatement

VERSION: Final = 1
MAX_TRANSACTION_BYTES: Final = 16 * 1024
MAX_MEMO_BYTES: Final = 64
MAX_RULE_TARGETS: Final = 16
MAX_NAME_CHARACTERS: Final = 32
MAX_STRIP_PERIODS: Final = 96
MAX_CANCELLED_ORDERS: Final = 96
MAX_POOL_SHARES: Final = 256
MAX_PREFERRED_PRICES: Final = 100
DECODED_REMEMBERED: Final = 4_096


class Kind(IntEnum):
    """Transaction kinds, by family. Numbers are never reused."""

    TRANSFER = 1
    REGISTER_MEMBER = 16
    REGISTER_METER = 17
    DELEGATE_NODE_KEY = 18
    ATTEST_MEMBER = 19
    SUBMIT_READING = 32
    CAST_VOTES = 48
    WITHDRAW_VOTES = 49
    SET_VOTING_RULE = 50
    REJOIN = 51
    REPORT_EQUIVOCATION = 52
    PLACE_ORDER = 64
    CANCEL_ORDER = 65
    REPLACE_QUOTE = 66
    OPEN_POOL = 80
    JOIN_POOL = 81
    LEAVE_POOL = 82
    SET_POOL_RULE = 83
    OFFER_CONTRACT = 96
    SUBSCRIBE_CONTRACT = 97
    END_CONTRACT = 98
    CHANGE_CONTRACT_PRICE = 99
    RECORD_BILLS = 112
    PAY_BILL = 113

    @property
    def word(self) -> str:
        """The kind as people and programs see it, for instance ``submit_reading``."""
        return self.name.lower()


class Token(IntEnum):
    WATT = 1
    GRID = 2


class Transfer(Wire, frozen=True):
    """Moves ``amount`` (uwatt or ugrid) to an account, which need not be a member's."""

    recipient: Bytes32
    token: Unsigned
    amount: Unsigned
    memo: str


class RegisterMember(Wire, frozen=True):
    """By an approver. Registering an expelled member anew clears the expulsion and gives a fresh initial ballot."""

    account: Bytes32
    name: str
    roles: Unsigned
    feeder: str


class RegisterMeter(Wire, frozen=True):
    """By an approver. ``import_wh`` and ``export_wh`` are the registers at installation; nameplates in W."""

    meter: Bytes32
    owner: Bytes32
    kind: Unsigned
    role: Unsigned
    import_nameplate_w: Unsigned
    export_nameplate_w: Unsigned
    storage_capacity_wh: Unsigned
    import_wh: Unsigned
    export_wh: Unsigned


class DelegateNodeKey(Wire, frozen=True):
    """By the account key. ``proof`` is the node key's signature over the account id under ``Domain.NODE_KEY``."""

    node_key: Bytes32
    proof: Bytes64


class PhaseSample(Wire, frozen=True):
    """Recorded, not settled: millivolts, millihertz, power factor in thousandths."""

    voltage_mv: Unsigned
    frequency_mhz: Unsigned
    power_factor_milli: Unsigned


class SubmitReading(Wire, frozen=True):
    """By the meter's key. Cumulative registers in Wh at the end of ``period``; identity is (meter, period).

    ``samples_root`` is the Merkle root of the raw telegrams, or None.
    """

    period: Unsigned
    import_wh: Unsigned
    export_wh: Unsigned
    sampled_at_ms: Unsigned
    phases: tuple[PhaseSample, ...]
    samples_root: Bytes32 | None


class CastVotes(Wire, frozen=True):
    """Moves kept voting tokens into a candidate's pool, against shares."""

    candidate: Bytes32
    amount_mvote: Unsigned


class WithdrawVotes(Wire, frozen=True):
    """Takes ``amount_mvote`` of the sender's part back out of a candidate's pool."""

    candidate: Bytes32
    amount_mvote: Unsigned


class SetVotingRule(Wire, frozen=True):
    """Of what is minted keep ``keep_bps``; cast the rest by ``targets``. keep 10,000 needs no targets."""

    keep_bps: BasisPoints
    targets: tuple[RuleTarget, ...]


class Rejoin(Wire, frozen=True):
    """Ends the sender's suspension."""


class ReportEquivocation(Wire, frozen=True):
    """Two contradicting statements signed by ``node_key``; by anyone."""

    node_key: Bytes32
    first: SignedStatement
    second: SignedStatement


class PlaceOrder(Wire, frozen=True):
    """Buys (side 1) or sells (side 2) the same energy at the same limit in each of ``periods``, which ascend."""

    side: Unsigned
    periods: tuple[Unsigned, ...]
    energy_wh: Unsigned
    limit_uwatt_per_kwh: Unsigned


class OrderReference(Wire, frozen=True):
    period: Unsigned
    number: Unsigned


class CancelOrder(Wire, frozen=True):
    """Takes the sender's open orders out of their books, all or none."""

    orders: tuple[OrderReference, ...]


class ReplaceQuote(Wire, frozen=True):
    """A purchase and a sale in place of all the sender's open orders of the period. Energy 0 leaves a side out."""

    period: Unsigned
    buy_energy_wh: Unsigned
    buy_limit_uwatt_per_kwh: Unsigned
    sell_energy_wh: Unsigned
    sell_limit_uwatt_per_kwh: Unsigned


class AttestMember(Wire, frozen=True):
    """By an approver: the licences (``agreements.Licence``) that a member holds from now on."""

    account: Bytes32
    licences: Unsigned


class OpenPool(Wire, frozen=True):
    """Opens a pool with the sender as founder and first member. ``roles``: 1 producer, 2 consumer, 3 both; ``rule``: 1
    fixed, 2 proportional, 3 both.
    """

    name: str
    roles: Unsigned
    rule: Unsigned
    price_uwatt_per_kwh: Unsigned
    shares: tuple[PoolShare, ...]


class JoinPool(Wire, frozen=True):
    """Takes part in a pool while its price is between the two."""

    pool: Unsigned
    roles: Unsigned
    lowest_uwatt_per_kwh: Unsigned
    highest_uwatt_per_kwh: Unsigned


class LeavePool(Wire, frozen=True):
    """Leaves the pool; when the founder does, it ends for all."""

    pool: Unsigned


class SetPoolRule(Wire, frozen=True):
    """By the founder: rule, price and shares from the next open period on."""

    pool: Unsigned
    rule: Unsigned
    price_uwatt_per_kwh: Unsigned
    shares: tuple[PoolShare, ...]


class OfferContract(Wire, frozen=True):
    """Energy of the sender's, at most ``limit_wh`` a period in ``start_period`` … ``end_period`` − 1. The price is for
    all but those with a preferred one; None: nobody else gets any.
    """

    template: Unsigned
    limit_wh: Unsigned
    start_period: Unsigned
    end_period: Unsigned
    price_uwatt_per_kwh: Unsigned | None
    preferred: tuple[PreferredPrice, ...]


class SubscribeContract(Wire, frozen=True):
    """Takes at most ``limit_wh`` a period under an offer, whose price now is at most the limit."""

    offer: Unsigned
    limit_wh: Unsigned
    limit_uwatt_per_kwh: Unsigned


class EndContract(Wire, frozen=True):
    """The seller ends its offer, or a buyer its subscription, before its time."""

    offer: Unsigned


class ChangeContractPrice(Wire, frozen=True):
    """By the seller: the offer's prices from the next open period on."""

    offer: Unsigned
    price_uwatt_per_kwh: Unsigned | None
    preferred: tuple[PreferredPrice, ...]


class RecordBills(Wire, frozen=True):
    """Writes the bills of one page, 64 members in order of their ids, of a closed cycle; by anyone."""

    cycle: Unsigned
    page: Unsigned


class PayBill(Wire, frozen=True):
    """Pays all that the sender's recorded bill of a cycle leaves to pay."""

    cycle: Unsigned


Payload = (
    Transfer
    | RegisterMember
    | RegisterMeter
    | DelegateNodeKey
    | SubmitReading
    | CastVotes
    | WithdrawVotes
    | SetVotingRule
    | Rejoin
    | ReportEquivocation
    | PlaceOrder
    | CancelOrder
    | ReplaceQuote
    | AttestMember
    | OpenPool
    | JoinPool
    | LeavePool
    | SetPoolRule
    | OfferContract
    | SubscribeContract
    | EndContract
    | ChangeContractPrice
    | RecordBills
    | PayBill
)

PAYLOADS: Final[dict[Kind, type[Payload]]] = {
    Kind.TRANSFER: Transfer,
    Kind.REGISTER_MEMBER: RegisterMember,
    Kind.REGISTER_METER: RegisterMeter,
    Kind.DELEGATE_NODE_KEY: DelegateNodeKey,
    Kind.SUBMIT_READING: SubmitReading,
    Kind.CAST_VOTES: CastVotes,
    Kind.WITHDRAW_VOTES: WithdrawVotes,
    Kind.SET_VOTING_RULE: SetVotingRule,
    Kind.REJOIN: Rejoin,
    Kind.REPORT_EQUIVOCATION: ReportEquivocation,
    Kind.PLACE_ORDER: PlaceOrder,
    Kind.CANCEL_ORDER: CancelOrder,
    Kind.REPLACE_QUOTE: ReplaceQuote,
    Kind.ATTEST_MEMBER: AttestMember,
    Kind.OPEN_POOL: OpenPool,
    Kind.JOIN_POOL: JoinPool,
    Kind.LEAVE_POOL: LeavePool,
    Kind.SET_POOL_RULE: SetPoolRule,
    Kind.OFFER_CONTRACT: OfferContract,
    Kind.SUBSCRIBE_CONTRACT: SubscribeContract,
    Kind.END_CONTRACT: EndContract,
    Kind.CHANGE_CONTRACT_PRICE: ChangeContractPrice,
    Kind.RECORD_BILLS: RecordBills,
    Kind.PAY_BILL: PayBill,
}
KIND_OF: Final = {payload: kind for kind, payload in PAYLOADS.items()}
NODE_KEY_KINDS: Final = frozenset({Kind.REJOIN, Kind.REPORT_EQUIVOCATION})
"""Kinds a delegated node key may sign for its account, so that a node needs no wallet to look after itself."""

assert set(PAYLOADS) == set(Kind)


class Signed(Wire, frozen=True):
    body: bytes
    signature: Bytes64


@dataclass(frozen=True, slots=True)
class Transaction:
    """A decoded transaction. ``raw`` is what travels and is stored; nothing here says that the signature is good."""

    id: bytes
    raw: bytes
    body: bytes
    signature: bytes
    chain_id: bytes
    sender: bytes
    nonce: int
    fee_uwatt: int
    valid_until_height: int
    kind: Kind
    payload: Payload

    def has_valid_signature(self) -> bool:
        return verify_signature(self.sender, Domain.TRANSACTION, self.chain_id, self.body, self.signature)


def sign_transaction(
    key: SigningKey,
    chain_id: bytes,
    payload: Payload,
    *,
    nonce: int = 0,
    fee_uwatt: int = 0,
    valid_until_height: int = 0,
) -> Transaction:
    """Makes and signs one transaction of the payload's kind."""
    kind = KIND_OF[type(payload)]
    body = encode((VERSION, chain_id, key.public_key, nonce, fee_uwatt, valid_until_height, int(kind), payload))
    signature = key.sign(Domain.TRANSACTION, chain_id, body)
    return Transaction(
        id=digest(body),
        raw=encode(Signed(body=body, signature=signature)),
        body=body,
        signature=signature,
        chain_id=chain_id,
        sender=key.public_key,
        nonce=nonce,
        fee_uwatt=fee_uwatt,
        valid_until_height=valid_until_height,
        kind=kind,
        payload=payload,
    )


class _Envelope(Wire, frozen=True):
    version: Unsigned
    chain_id: Bytes32
    sender: Bytes32
    nonce: Unsigned
    fee_uwatt: Unsigned
    valid_until_height: Unsigned
    kind: Unsigned
    payload: list[Any]


@lru_cache(maxsize=DECODED_REMEMBERED)
def decode_transaction(raw: bytes) -> Transaction:
    """Decodes what travels. Errors: TransactionRefused with the Refusal; the signature is not checked here.

    The last ones are remembered: a node meets the same bytes at its door, in gossip and in the block.
    """
    if len(raw) > MAX_TRANSACTION_BYTES:
        raise TransactionRefused(
            Refusal.OVERSIZED, f"{len(raw)} bytes; a transaction has at most {MAX_TRANSACTION_BYTES}"
        )
    try:
        signed = decode(raw, Signed, MAX_TRANSACTION_BYTES)
        envelope = decode_loosely(signed.body, _Envelope, MAX_TRANSACTION_BYTES)
        kind, payload = _payload(envelope)
        version, chain, sender = envelope.version, envelope.chain_id, envelope.sender
        terms = (envelope.nonce, envelope.fee_uwatt, envelope.valid_until_height)
        require_encoding((version, chain, sender, *terms, envelope.kind, payload), signed.body)
    except NotCanonical as error:
        raise TransactionRefused(Refusal.NOT_CANONICAL, str(error)) from error
    except EncodingError as error:
        raise TransactionRefused(Refusal.MALFORMED, str(error)) from error
    return Transaction(
        id=digest(signed.body),
        raw=raw,
        body=signed.body,
        signature=signed.signature,
        chain_id=envelope.chain_id,
        sender=envelope.sender,
        nonce=envelope.nonce,
        fee_uwatt=envelope.fee_uwatt,
        valid_until_height=envelope.valid_until_height,
        kind=kind,
        payload=payload,
    )


def _payload(envelope: _Envelope) -> tuple[Kind, Payload]:
    """Errors: TransactionRefused UNKNOWN_VERSION, UNKNOWN_KIND; EncodingError."""
    if envelope.version != VERSION:
        raise TransactionRefused(
            Refusal.UNKNOWN_VERSION, f"version {envelope.version}; this node speaks version {VERSION}"
        )
    try:
        kind = Kind(envelope.kind)
    except ValueError as error:
        raise TransactionRefused(Refusal.UNKNOWN_KIND, f"no transaction kind has the number {envelope.kind}") from error
    return kind, convert_loosely(envelope.payload, PAYLOADS[kind])


def payload_fields(payload: Payload) -> dict[str, Any]:
    """The payload's fields by name, for people: see the API's decoded transactions."""
    return msgspec.structs.asdict(payload)
