"""One value of every wire type and record of the ledger, as full as it can be: what the golden bytes are of.

``python -m tests.ledger.wire_examples`` writes tests/vectors/ledger_wire.json anew. Do so only when a format is meant
to change: a chain that exists does not change with it.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from ledger.agreements import (
    AgreementCounter,
    Attestation,
    ContractDelivery,
    ContractOffer,
    ContractParty,
    ContractSubscription,
    OfferPrices,
    PoolMembership,
    PoolShare,
    PoolTerms,
    PreferredPrice,
    SharingPool,
)
from ledger.block import Receipt
from ledger.effects import Effect, SettledLine
from ledger.encoding import Wire, encode
from ledger.genesis import Genesis, GenesisFeeder, GenesisMember, chain_id, genesis_seed
from ledger.keys import Domain, SigningKey, address_text
from ledger.market.grid_fee import Tariff
from ledger.parameters import Parameters
from ledger.records import (
    Account,
    Arrears,
    Bill,
    BillingCycle,
    BillLine,
    Candidate,
    Claim,
    CommitteeSnapshot,
    CycleMember,
    DueBill,
    EnergyTotals,
    Feeder,
    FeederFlow,
    FrozenPot,
    Gateway,
    GridReserve,
    ImportHistory,
    LongSilence,
    MarketCounter,
    MarketPeriod,
    MarketTrade,
    Member,
    Meter,
    Name,
    NodeKey,
    OpenOrder,
    Origin,
    Origins,
    OwnOrder,
    PeriodEnd,
    Position,
    Reading,
    RuleTarget,
    SettledPeriod,
    SettlementProgress,
    Silence,
    SnapshotMember,
    Stake,
    Supply,
    Tip,
    VotingRule,
)
from ledger.statements import SignedStatement, Statement
from ledger.transactions import (
    KIND_OF,
    AttestMember,
    CancelOrder,
    CastVotes,
    ChangeContractPrice,
    DelegateNodeKey,
    EndContract,
    JoinPool,
    LeavePool,
    OfferContract,
    OpenPool,
    OrderReference,
    PayBill,
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
    sign_transaction,
)

VECTORS_FILE: Final = Path(__file__).parent.parent / "vectors" / "ledger_wire.json"
EXPLANATION: Final = {
    "format": "Byte strings are lower-case hexadecimal. Every type is a canonical CBOR array of its fields in order.",
    "types": "The encoding of one value of every wire type and state record.",
    "keys": "Ed25519 seed, public key and address.",
    "transactions": "By kind: signed by the first key with nonce 7, fee 1000, valid until height 99 (a reading: all "
    "zero). The signature is over 'ecloud/transaction/1', the chain id and the body; the id is SHA-256 of the body.",
    "genesis": "The chain id and the seed of height 1 that follow from the value under types.Genesis.",
}


def _bytes(*words: object, size: int = 32) -> bytes:
    return (sha256(repr(words).encode()).digest() * 2)[:size]


KEYS: Final = [SigningKey(_bytes("key", number)) for number in range(3)]
CHAIN_ID: Final = _bytes("chain")
_A, _B, _C = (key.public_key for key in KEYS)
_TARGETS: Final = (RuleTarget(candidate=_A, share_bps=7_500), RuleTarget(candidate=_B, share_bps=2_500))
_STATEMENTS: Final = tuple(Statement(kind=1, height=70_000, view=3, block_hash=_bytes("block", n)) for n in (1, 2))
_SIGNED_STATEMENTS: Final = tuple(
    SignedStatement(statement=one, signature=KEYS[1].sign(Domain.VOTE, CHAIN_ID, one.message())) for one in _STATEMENTS
)
_METER: Final = RegisterMeter(
    meter=_C,
    owner=_A,
    kind=2,
    role=1,
    import_nameplate_w=11_000,
    export_nameplate_w=8_000,
    storage_capacity_wh=10_000,
    import_wh=1_234_567,
    export_wh=89,
)
_SNAPSHOT_MEMBER: Final = SnapshotMember(
    account=_A, node_key=_B, pool_mvote=100_000, reputation_milli=15_000, weight=50_000
)
_PHASE: Final = PhaseSample(voltage_mv=230_150, frequency_mhz=49_980, power_factor_milli=973)
_GENESIS_MEMBER: Final = GenesisMember(
    account=_A,
    name="anne",
    roles=1,
    feeder="feeder-1",
    node_key=_B,
    watt_uwatt=1_000_000_000,
    grid_ugrid=5_000_000,
    voting_rule=None,
)
_ORIGIN: Final = Origin(producer=_A, consumer=_B, energy_wh=400, storage_wh=30)
_ORDER: Final = OrderReference(period=1_944_450, number=257)
_SHARES: Final = (PoolShare(account=_A, share_bps=5_000), PoolShare(account=_B, share_bps=3_000))
_PREFERRED: Final = (PreferredPrice(account=_B, price_uwatt_per_kwh=120_000),)
_FEEDER: Final = GenesisFeeder(name="feeder-1", substation="Umspannwerk Süd")

EXAMPLES: Final[tuple[Wire, ...]] = (
    Transfer(recipient=_B, token=1, amount=5_000_000, memo="für Brot"),
    RegisterMember(account=_B, name="bob", roles=5, feeder="feeder-1"),
    _METER,
    DelegateNodeKey(node_key=_B, proof=KEYS[1].sign(Domain.NODE_KEY, CHAIN_ID, _A)),
    SubmitReading(
        period=1_944_444,
        import_wh=1_234_600,
        export_wh=700,
        sampled_at_ms=1_750_000_500_123,
        phases=(_PHASE, _PHASE),
        samples_root=_bytes("samples"),
    ),
    CastVotes(candidate=_B, amount_mvote=65_536),
    WithdrawVotes(candidate=_B, amount_mvote=255),
    SetVotingRule(keep_bps=2_000, targets=_TARGETS),
    Rejoin(),
    ReportEquivocation(node_key=_B, first=_SIGNED_STATEMENTS[0], second=_SIGNED_STATEMENTS[1]),
    PlaceOrder(side=2, periods=(1_944_450, 1_944_546), energy_wh=1_000, limit_uwatt_per_kwh=150_000),
    CancelOrder(orders=(_ORDER, OrderReference(period=1_944_546, number=258))),
    ReplaceQuote(
        period=1_944_450,
        buy_energy_wh=500,
        buy_limit_uwatt_per_kwh=120_000,
        sell_energy_wh=300,
        sell_limit_uwatt_per_kwh=140_000,
    ),
    RecordBills(cycle=675, page=3),
    PayBill(cycle=675),
    AttestMember(account=_B, licences=3),
    OpenPool(name="sunny-side", roles=1, rule=3, price_uwatt_per_kwh=100_000, shares=_SHARES),
    JoinPool(pool=24, roles=2, lowest_uwatt_per_kwh=0, highest_uwatt_per_kwh=100_000),
    LeavePool(pool=24),
    SetPoolRule(pool=24, rule=1, price_uwatt_per_kwh=110_000, shares=_SHARES),
    OfferContract(
        template=1,
        limit_wh=500,
        start_period=1_944_450,
        end_period=1_947_330,
        price_uwatt_per_kwh=150_000,
        preferred=_PREFERRED,
    ),
    SubscribeContract(offer=257, limit_wh=300, limit_uwatt_per_kwh=150_000),
    EndContract(offer=257),
    ChangeContractPrice(offer=257, price_uwatt_per_kwh=None, preferred=_PREFERRED),
    _ORDER,
    _PHASE,
    _STATEMENTS[0],
    _SIGNED_STATEMENTS[0],
    Signed(body=b"\x80", signature=_bytes("signature", size=64)),
    Receipt(transaction_id=_bytes("id"), kind=32, fee_uwatt=0, refusal=None, note="meter_suspended"),
    Effect(
        kind=2,
        transaction=257,
        account=_A,
        other=_B,
        period=1_944_450,
        side=1,
        order=258,
        trade=24,
        energy_wh=300,
        price=150_000,
        rate=24_000,
        balance_uwatt=-52_200,
    ),
    SettledLine(
        cycle=675,
        period=1_944_450,
        title=5,
        kind=1,
        debtor=_A,
        creditor=_C,
        energy_wh=400,
        price=300_000,
        amount_uwatt=120_000,
        fee_uwatt=0,
    ),
    Parameters(),
    Account(nonce=23, watt_uwatt=2**63 - 1, grid_ugrid=24, votes_mvote=256),
    NodeKey(account=_A, nonce=3),
    Member(name="anne", roles=1, feeder="feeder-1", node_key=_B, meters=(_C,), registered_height=12),
    Name(account=_A),
    Feeder(substation="Umspannwerk Süd", capacity_w=400_000),
    Gateway(account=_C),
    Meter(
        owner=_A,
        kind=5,
        role=1,
        import_nameplate_w=11_000,
        export_nameplate_w=8_000,
        storage_capacity_wh=10_000,
        suspended=True,
        last_period=1_944_444,
        import_wh=1_234_600,
        export_wh=700,
        stored_wh=33,
        first_period=1_944_000,
    ),
    Reading(
        transaction_id=_bytes("id"),
        import_wh=1_234_600,
        export_wh=700,
        sampled_at_ms=1_750_000_500_123,
        imported_wh=600,
        exported_wh=40,
        periods=2,
        minted_mvote=5,
    ),
    FrozenPot(release_height=70_006, amount_mvote=40),
    Candidate(
        status=2,
        pool_mvote=99_000,
        shares=100_000,
        reputation_milli=12_500,
        last_mined_height=69_990,
        frozen=(FrozenPot(release_height=70_006, amount_mvote=40),),
        missed_in_row=2,
        missed_total=9,
        produced_total=812,
        epoch_counted=96,
        epoch_signed=90,
        suspended_height=69_990,
    ),
    Stake(shares=100_000),
    _TARGETS[0],
    VotingRule(keep_bps=2_000, targets=_TARGETS),
    _SNAPSHOT_MEMBER,
    CommitteeSnapshot(members=(_SNAPSHOT_MEMBER,)),
    Tip(height=70_000, time_ms=1_750_000_500_123, seed=_bytes("seed"), previous_producer=_A),
    Supply(
        watt_minted_uwatt=10**15,
        watt_burned_uwatt=1,
        grid_ugrid=27_000_000,
        votes_minted_mvote=412_345,
        votes_burned_mvote=99_000,
    ),
    GridReserve(ugrid=7_000_000),
    EnergyTotals(import_wh=10**9, export_wh=10**8, readings=35_040),
    Tariff(
        mechanism=1,
        retail=300_000,
        feed_in=80_000,
        fee_model=1,
        fee_base=40_000,
        same_feeder_discount_bps=4_000,
        same_substation_discount_bps=2_000,
        distance_surcharge_bps=1_000,
        congestion_surcharge_bps=5_000,
        congestion_threshold_bps=8_000,
        fee_of_value_bps=500,
    ),
    SettlementProgress(next_period=1_944_440),
    PeriodEnd(height=70_000),
    ImportHistory(imports_wh=(120, 0, 340)),
    Silence(
        estimate_wh=340,
        sold_wh=500,
        bought_wh=0,
        offered_wh=1_000,
        wanted_wh=20,
        retail=300_000,
        feed_in=80_000,
        offered_at=60_000,
    ),
    LongSilence(
        estimate_wh=10_000, matched_wh=500, highest_retail=310_000, lowest_retail=290_000, lowest_feed_in=70_000
    ),
    SettledPeriod(
        height=70_000,
        metered=4,
        silent=1,
        export_wh=2_150,
        import_wh=2_350,
        contract_wh=500,
        trade_wh=900,
        property_wh=33,
        pool_wh=800,
        fed_in_wh=7,
        excess_wh=300,
        drawn_wh=450,
        shortfall_wh=50,
        certified_wh=1_900,
        minted_mvote=2_120,
    ),
    BillLine(energy_wh=900, amount_uwatt=176_000, fee_uwatt=21_600),
    CycleMember(
        periods=2_880,
        estimated_periods=3,
        import_wh=-150,
        export_wh=250_000,
        received_wh=1_000,
        delivered_wh=251_150,
        escrow_paid_uwatt=40_800,
        escrow_received_uwatt=36_000_000,
        utility_cost_uwatt=-20_045_000,
        sharing_cost_uwatt=-2_147_483_649,
    ),
    Claim(owed_uwatt=15_000, due_uwatt=24_000),
    Bill(
        recorded_height=70_000,
        due_ms=1_751_210_100_123,
        to_pay_uwatt=15_000,
        to_receive_uwatt=24_000,
        paid_height=70_100,
    ),
    BillingCycle(members=200, recorded=128, unpaid=7),
    DueBill(amount_uwatt=15_000),
    Arrears(amount_uwatt=15_000, since_height=150_000),
    _ORIGIN,
    Origins(certificates=(_ORIGIN, _ORIGIN)),
    MarketCounter(next_order=257),
    MarketPeriod(trades=2, energy_wh=900, value_uwatt=176_000, last_price=180_000, escrow_uwatt=291_600, cleared=True),
    OpenOrder(account=_A, limit=220_000, energy_wh=1_000, left_wh=300, locked_uwatt=85_200, height=69_999),
    OwnOrder(side=1, limit=220_000),
    Position(sold_wh=200, bought_wh=700, open_sell_wh=90, open_orders=2),
    FeederFlow(out_wh=700, into_wh=200),
    MarketTrade(
        seller=_A, buyer=_B, energy_wh=700, price=200_000, rate=24_000, sell_order=7, buy_order=9, height=70_000
    ),
    AgreementCounter(next_pool=25, next_offer=258),
    SharingPool(name="sunny-side", founder=_A, from_period=1_944_450, until_period=None),
    _SHARES[0],
    PoolTerms(rule=3, price=100_000, shares=_SHARES),
    PoolMembership(pool=24, roles=2, lowest=0, highest=100_000, until_period=1_944_546),
    ContractOffer(
        seller=_A,
        template=1,
        limit_wh=500,
        from_period=1_944_450,
        end_period=1_947_330,
        until_period=1_944_546,
        stake_ugrid=10_000_000,
    ),
    _PREFERRED[0],
    OfferPrices(price=150_000, preferred=_PREFERRED),
    ContractSubscription(limit_wh=300, agreed_price=120_000, until_period=1_947_330, collateral_uwatt=7_344_000),
    ContractParty(is_seller=True),
    ContractDelivery(energy_wh=1_100, amount_uwatt=132_000, fee_uwatt=26_400),
    Attestation(licences=3),
    _GENESIS_MEMBER,
    _FEEDER,
    Genesis(
        name="test street",
        time_ms=1_750_000_000_000,
        parameters=Parameters(),
        feeders=(_FEEDER,),
        members=(_GENESIS_MEMBER,),
        meters=(_METER,),
        grid_supply_ugrid=12_000_000,
        grid_reserve_ugrid=7_000_000,
    ),
)


def wire_vectors() -> dict[str, Any]:
    """What the ledger encodes now, in the shape of the golden file."""
    transactions = {}
    for payload in (example for example in EXAMPLES if type(example) in KIND_OF):
        terms = {} if isinstance(payload, SubmitReading) else {"nonce": 7, "fee_uwatt": 1_000, "valid_until_height": 99}
        made = sign_transaction(KEYS[0], CHAIN_ID, payload, **terms)  # type: ignore[arg-type]
        transactions[made.kind.word] = {"kind": int(made.kind), "id": made.id.hex(), "raw": made.raw.hex()}
    genesis = next(example for example in EXAMPLES if isinstance(example, Genesis))
    return {
        "explanation": EXPLANATION,
        "chain_id": CHAIN_ID.hex(),
        "keys": [
            {"seed": key.seed.hex(), "public_key": key.public_key.hex(), "address": address_text(key.public_key)}
            for key in KEYS
        ],
        "types": {type(example).__name__: encode(example).hex() for example in EXAMPLES},
        "transactions": transactions,
        "genesis": {"chain_id": chain_id(genesis).hex(), "seed": genesis_seed(chain_id(genesis)).hex()},
    }


if __name__ == "__main__":
    VECTORS_FILE.write_text(json.dumps(wire_vectors(), indent=1) + "\n", encoding="utf-8")
