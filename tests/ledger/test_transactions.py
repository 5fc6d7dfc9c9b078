"""The envelope's bytes: what is decoded, and the refusal for everything that is not a transaction."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.agreements import PoolShare, PreferredPrice
from ledger.encoding import encode
from ledger.keys import digest
from ledger.records import RuleTarget
from ledger.refusal import RETRY_MAY_HELP, Refusal, TransactionRefused
from ledger.statements import SignedStatement, Statement, StatementKind
from ledger.transactions import (
    MAX_TRANSACTION_BYTES,
    PAYLOADS,
    VERSION,
    AttestMember,
    CancelOrder,
    CastVotes,
    ChangeContractPrice,
    DelegateNodeKey,
    EndContract,
    JoinPool,
    Kind,
    LeavePool,
    OfferContract,
    OpenPool,
    OrderReference,
    PayBill,
    Payload,
    PhaseSample,
    PlaceOrder,
    RecordBills,
    RegisterMember,
    RegisterMeter,
    Rejoin,
    ReplaceQuote,
    ReportEquivocation,
    SetPoolRule,
    SetVotingRule,
    Signed,
    SubmitReading,
    SubscribeContract,
    Transfer,
    WithdrawVotes,
    decode_transaction,
    payload_fields,
    sign_transaction,
)
from tests.ledger.neighbourhood import account_key

KEY = account_key("anne")
CHAIN = bytes(range(32))
SOMEBODY = account_key("bob").public_key
STATEMENT = SignedStatement(
    statement=Statement(kind=int(StatementKind.NOTARIZE), height=3, view=1, block_hash=bytes(32)), signature=bytes(64)
)
SHARES = (PoolShare(account=SOMEBODY, share_bps=3_000),)
PREFERRED = (PreferredPrice(account=SOMEBODY, price_uwatt_per_kwh=120_000),)
EXAMPLES: dict[Kind, Payload] = {
    Kind.TRANSFER: Transfer(recipient=SOMEBODY, token=1, amount=5_000_000, memo="für Brot"),
    Kind.REGISTER_MEMBER: RegisterMember(account=SOMEBODY, name="bob", roles=3, feeder="feeder-1"),
    Kind.REGISTER_METER: RegisterMeter(
        meter=SOMEBODY,
        owner=KEY.public_key,
        kind=2,
        role=1,
        import_nameplate_w=11_000,
        export_nameplate_w=8_000,
        storage_capacity_wh=10_000,
        import_wh=123,
        export_wh=456,
    ),
    Kind.DELEGATE_NODE_KEY: DelegateNodeKey(node_key=SOMEBODY, proof=bytes(64)),
    Kind.SUBMIT_READING: SubmitReading(
        period=1_944_444,
        import_wh=1_000,
        export_wh=2_000,
        sampled_at_ms=1_750_000_500_000,
        phases=(PhaseSample(voltage_mv=230_000, frequency_mhz=50_000, power_factor_milli=980),),
        samples_root=bytes(32),
    ),
    Kind.CAST_VOTES: CastVotes(candidate=SOMEBODY, amount_mvote=1_000),
    Kind.WITHDRAW_VOTES: WithdrawVotes(candidate=SOMEBODY, amount_mvote=1_000),
    Kind.SET_VOTING_RULE: SetVotingRule(keep_bps=2_000, targets=(RuleTarget(candidate=SOMEBODY, share_bps=10_000),)),
    Kind.REJOIN: Rejoin(),
    Kind.REPORT_EQUIVOCATION: ReportEquivocation(node_key=SOMEBODY, first=STATEMENT, second=STATEMENT),
    Kind.PLACE_ORDER: PlaceOrder(side=1, periods=(1_944_450, 1_944_546), energy_wh=500, limit_uwatt_per_kwh=150_000),
    Kind.CANCEL_ORDER: CancelOrder(orders=(OrderReference(period=1_944_450, number=7),)),
    Kind.ATTEST_MEMBER: AttestMember(account=SOMEBODY, licences=1),
    Kind.OPEN_POOL: OpenPool(name="roof", roles=1, rule=2, price_uwatt_per_kwh=100_000, shares=SHARES),
    Kind.JOIN_POOL: JoinPool(pool=7, roles=2, lowest_uwatt_per_kwh=0, highest_uwatt_per_kwh=120_000),
    Kind.LEAVE_POOL: LeavePool(pool=7),
    Kind.SET_POOL_RULE: SetPoolRule(pool=7, rule=1, price_uwatt_per_kwh=90_000, shares=SHARES),
    Kind.OFFER_CONTRACT: OfferContract(
        template=2,
        limit_wh=10_000,
        start_period=1_944_450,
        end_period=1_944_546,
        price_uwatt_per_kwh=None,
        preferred=PREFERRED,
    ),
    Kind.SUBSCRIBE_CONTRACT: SubscribeContract(offer=7, limit_wh=10_000, limit_uwatt_per_kwh=120_000),
    Kind.END_CONTRACT: EndContract(offer=7),
    Kind.CHANGE_CONTRACT_PRICE: ChangeContractPrice(offer=7, price_uwatt_per_kwh=130_000, preferred=PREFERRED),
    Kind.REPLACE_QUOTE: ReplaceQuote(
        period=1_944_450,
        buy_energy_wh=500,
        buy_limit_uwatt_per_kwh=120_000,
        sell_energy_wh=300,
        sell_limit_uwatt_per_kwh=140_000,
    ),
    Kind.RECORD_BILLS: RecordBills(cycle=675, page=3),
    Kind.PAY_BILL: PayBill(cycle=675),
}


def refusal_of(raw: bytes) -> Refusal:
    with pytest.raises(TransactionRefused) as caught:
        decode_transaction(raw)
    assert caught.value.detail
    return caught.value.refusal


def with_body(**fields: Any) -> bytes:
    """A transfer's bytes with fields of the body replaced, unsigned."""
    body: dict[str, Any] = {
        "version": VERSION,
        "chain_id": CHAIN,
        "sender": KEY.public_key,
        "nonce": 0,
        "fee": 1_000,
        "valid_until": 9,
        "kind": 1,
        "payload": [SOMEBODY, 1, 5, ""],
    }
    body.update(fields)
    return encode([cbor2.dumps(list(body.values()), canonical=True), bytes(64)])


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_survives_the_way_there_and_back(kind: Kind) -> None:
    made = sign_transaction(KEY, CHAIN, EXAMPLES[kind], nonce=3, fee_uwatt=1_000, valid_until_height=77)

    assert decode_transaction(made.raw) == made
    assert made.kind is kind
    assert made.id == digest(made.body)
    assert made.has_valid_signature()
    assert list(payload_fields(made.payload)) == list(PAYLOADS[kind].__struct_fields__)


@pytest.mark.parametrize("kind", Kind)
def test_any_changed_bit_is_refused_or_breaks_the_signature(kind: Kind) -> None:
    made = sign_transaction(KEY, CHAIN, EXAMPLES[kind])
    for at in range(0, len(made.raw) * 8, 5):
        changed = bytearray(made.raw)
        changed[at // 8] ^= 1 << at % 8
        try:
            decoded = decode_transaction(bytes(changed))
        except TransactionRefused:
            continue
        assert not decoded.has_valid_signature()


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_and_nothing_else_happens(raw: bytes) -> None:
    with pytest.raises(TransactionRefused):
        decode_transaction(raw)


@given(st.sampled_from(list(Kind)), st.integers(0, 10**6), st.integers(0, 255), st.booleans())
def test_a_transaction_with_a_byte_changed_inserted_or_cut_is_refused_or_another(
    kind: Kind, at: int, byte: int, insert: bool
) -> None:
    raw = sign_transaction(KEY, CHAIN, EXAMPLES[kind]).raw
    at %= len(raw)
    changed = raw[:at] + bytes([byte]) + raw[at + (0 if insert else 1) :]
    for variant in (changed, raw[:at]):
        try:
            decoded = decode_transaction(variant)
        except TransactionRefused:
            continue
        assert decoded.raw == variant
        assert variant == raw or not decoded.has_valid_signature()


@given(
    st.sampled_from(list(Kind)),
    st.recursive(
        st.integers() | st.binary() | st.text() | st.none() | st.floats() | st.booleans(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner, max_size=2),
        max_leaves=8,
    ),
)
def test_any_payload_is_refused_or_of_its_kind(kind: Kind, payload: object) -> None:
    try:
        decoded = decode_transaction(with_body(kind=int(kind), payload=payload))
    except TransactionRefused:
        return
    assert type(decoded.payload) is PAYLOADS[kind]


def test_too_many_bytes_are_oversized_before_they_are_decoded() -> None:
    assert refusal_of(b"\xff" * (MAX_TRANSACTION_BYTES + 1)) is Refusal.OVERSIZED


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00",
        encode([b"", bytes(64)]),
        encode([b"\x80", bytes(63)]),
        encode([b"\x80", bytes(64)]),
        encode([with_body(), bytes(64), 0]),
        with_body(nonce=-1),
        with_body(nonce=2**63),
        with_body(sender=bytes(31)),
        with_body(chain_id=bytes(33)),
        with_body(payload=[]),
        with_body(payload=[SOMEBODY, 1, 5, "", 0]),
        with_body(payload=[SOMEBODY, 1, 5, 7]),
        with_body(payload={"recipient": SOMEBODY}),
        with_body(payload=None),
        with_body(fee=1.0),
        with_body(more=1),
    ],
)
def test_what_has_the_wrong_shape_is_malformed(raw: bytes) -> None:
    assert refusal_of(raw) is Refusal.MALFORMED


def test_other_encodings_of_a_transaction_are_not_canonical() -> None:
    made = sign_transaction(KEY, CHAIN, EXAMPLES[Kind.TRANSFER])
    long_form_body = made.body.replace(b"\x1a\x00\x4c\x4b\x40", b"\x1b\x00\x00\x00\x00\x00\x4c\x4b\x40")
    assert long_form_body != made.body

    assert refusal_of(made.raw + b"\x00") is Refusal.NOT_CANONICAL
    assert refusal_of(encode(Signed(body=long_form_body, signature=made.signature))) is Refusal.NOT_CANONICAL


def test_unknown_kinds_and_versions_are_named() -> None:
    assert refusal_of(with_body(kind=9_999)) is Refusal.UNKNOWN_KIND
    assert refusal_of(with_body(version=2)) is Refusal.UNKNOWN_VERSION


def test_the_signature_covers_chain_and_body_and_nobody_elses_key_signs() -> None:
    made = sign_transaction(KEY, CHAIN, EXAMPLES[Kind.REJOIN])
    other = sign_transaction(account_key("bob"), CHAIN, EXAMPLES[Kind.REJOIN])
    forged = decode_transaction(encode(Signed(body=made.body, signature=other.signature)))

    assert not forged.has_valid_signature()
    assert forged.id == made.id


def test_only_refusals_of_the_moment_say_that_retrying_may_help() -> None:
    for refusal in Refusal:
        assert TransactionRefused(refusal, "detail").retry_may_help == (refusal in RETRY_MAY_HELP)
    assert Refusal.BAD_SIGNATURE not in RETRY_MAY_HELP
