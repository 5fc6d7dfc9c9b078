"""Examples of every answer, for the OpenAPI document; being instances of the models, they cannot be out of date."""

from __future__ import annotations

from typing import Final

from node.client.models import (
    Accepted,
    Account,
    Agreements,
    Arrear,
    ArrearsPage,
    Backer,
    BanRequest,
    Bill,
    BillClaim,
    BillFee,
    BillingCycle,
    BillingCyclePage,
    BillLine,
    BillPage,
    BillSummary,
    Block,
    BlockPage,
    BlockSummary,
    Book,
    BookLevel,
    Candidate,
    CandidateDetail,
    CandidateList,
    Certificate,
    CertificateSigner,
    Committee,
    CommitteeMember,
    ConnectRequest,
    Contract,
    ContractPage,
    ContractTemplate,
    ContradictingStatement,
    Conviction,
    Delivery,
    DeliveryPage,
    Done,
    Draw,
    DrawEntry,
    EngineStatus,
    EvidenceList,
    FeederHeadroom,
    FeederInfo,
    FeederList,
    Finality,
    FrozenPot,
    Genesis,
    Health,
    JoinMeter,
    JoinRequest,
    JoinRequestList,
    LineExplanation,
    LinePart,
    Market,
    MarketPeriod,
    Member,
    MemberList,
    MemberPeriod,
    MemberPeriodPage,
    MempoolStatus,
    Meter,
    MeterList,
    Order,
    OrderPage,
    ParameterList,
    PardonRequest,
    Party,
    Peer,
    PeerList,
    PendingPage,
    PoolInfo,
    PoolList,
    PoolMember,
    PoolShareInfo,
    Position,
    PositionList,
    PreferredPriceInfo,
    PriceHistory,
    PricePoint,
    ProvenMember,
    Reading,
    ReadingList,
    RegisterProof,
    RuleTargetInfo,
    SettledPage,
    SettledPeriod,
    SkippedTurn,
    StakeInfo,
    StateProof,
    Status,
    SubmitRequest,
    SubscriptionInfo,
    SyncStatus,
    Tariff,
    TariffList,
    TemplateList,
    TimeOfUse,
    Trade,
    TradePage,
    Transaction,
    TransactionPage,
    TransactionProof,
    TransactionSummary,
    Votes,
    VotingRuleInfo,
    iso_time,
)

_TIME_MS: Final = 1_767_225_600_000
_CHAIN: Final = "c4" * 32
_HASH: Final = "7d" * 32
_ID: Final = "1f" * 32
_KEY: Final = "5e" * 32
_METER_KEY: Final = "a9" * 32
_PROOF: Final = "0b" * 80
_SIGNATURE: Final = "3c" * 64
_PEER: Final = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"
_MULTIADDR: Final = f"/ip4/192.168.1.20/tcp/4001/p2p/{_PEER}"
ANNE: Final = Party(address="ec6E1Sd8qqDkMzFvQPjCjCZsyKcKm4jqJxQ3mT7bF9vM2x", name="anne")
GEORGE: Final = Party(address="ec7QFp2GcNbDsQmR8kK9eKcHn3pWvT5rY1xZ4aLdUjC6tB", name="george")

DONE: Final = Done(detail="connected to " + _PEER)
_RAW: Final = (
    "8258808801582031ad779e47cf4728391673264b006a8d5ff0a463c584252f3dd19bd172547a135820f405218da02db928b0"
    "7e8cc981eec59c815ee67d2a6525b290690f4c0e01bb1b071903e8186301845820a8f31e26666ecfdd7141d6271d09956743"
    "170d5e90a50e8ff6353adb15de5689011a004c4b406966c3bc722042726f745840aa321221506c94498d4ccbd5b1020beebd"
    "edebb2860a0a7dcb9349220925a2c4c7c6ad5e9da0f1bed56c240d539f82af1de9fecc89f9f47865b51eac0ecb9404"
)
SUBMIT: Final = SubmitRequest(raw=_RAW)
CONNECT: Final = ConnectRequest(address=_MULTIADDR)
PARDON: Final = PardonRequest(peer=_PEER)
BAN: Final = BanRequest(peer=_PEER, duration_s=3_600, reason="sends what is not valid")
ACCEPTED: Final = Accepted(id=_ID)
HEALTH: Final = Health(healthy=True, reason="height 1200, 3 peers")

STATUS: Final = Status(
    name="anne",
    version="0.1.0",
    network="Lindenhof",
    chain_id=_CHAIN,
    node_key=_KEY,
    account=ANNE,
    peer_id=_PEER,
    started_at_ms=_TIME_MS - 18_000_000,
    started_at=iso_time(_TIME_MS - 18_000_000),
    now_ms=_TIME_MS + 4_000,
    height=1_200,
    tip_hash=_HASH,
    tip_time_ms=_TIME_MS,
    tip_time=iso_time(_TIME_MS),
    state_root="2a" * 32,
    engine=EngineStatus(height=1_201, view=0, leader=GEORGE, leader_is_this_node=False, votes=True),
    sync=SyncStatus(syncing=False, target_height=1_200, blocks_per_second=0),
    finality=Finality(blocks=100, p50_ms=360, p95_ms=460),
    mempool=MempoolStatus(transactions=2, size_bytes=512),
    peer_count=3,
    disk_full=False,
    clock_offset_ms=12,
    clock_warning=False,
    warnings=[],
)

PEERS: Final = PeerList(
    peers=[
        Peer(
            peer=_PEER,
            address=_MULTIADDR,
            inbound=False,
            latency_us=1_840,
            score=100,
            bytes_received=1_048_576,
            bytes_sent=917_504,
            topics=["/ecloud/c4c4c4c4c4c4c4c4/consensus/1"],
            mesh=["/ecloud/c4c4c4c4c4c4c4c4/consensus/1"],
            account=GEORGE,
        )
    ],
    listening=["/ip4/192.168.1.10/tcp/4001/p2p/" + _PEER],
    announced=["/ip4/203.0.113.7/tcp/4001/p2p/" + _PEER],
)

GENESIS: Final = Genesis(
    chain_id=_CHAIN,
    network="Lindenhof",
    time_ms=_TIME_MS - 18_000_000,
    time=iso_time(_TIME_MS - 18_000_000),
    members=[ANNE, GEORGE],
    feeders=[FeederInfo(feeder="linden", substation="north")],
    parameters={"block_interval_ms": 15_000, "period_ms": 900_000},
    document="88694c696e64656e686f66…",
)
PARAMETERS: Final = ParameterList(
    height=1_200, parameters={"block_interval_ms": 15_000}, bounds={"block_interval_ms": (100, 600_000)}
)
COMMITTEE: Final = Committee(
    height=1_201,
    snapshot_height=1_152,
    hash="9b" * 32,
    members=[
        CommitteeMember(
            index=0, account=ANNE, node_key=_KEY, pool_mvote=100_000, reputation_milli=9_375, weight=100_000
        )
    ],
    total_weight=400_000,
    quorum_weight=266_667,
)
SUMMARY: Final = BlockSummary(
    height=1_200,
    hash=_HASH,
    view=1,
    time_ms=_TIME_MS,
    time=iso_time(_TIME_MS),
    producer=GEORGE,
    transaction_count=5,
    refused_count=0,
    reading_count=4,
    size_bytes=2_310,
    skipped=[ANNE],
    finality_ms=371,
)
DRAW: Final = Draw(
    height=1_200,
    view=1,
    is_next=False,
    seed="6f" * 32,
    u="8a3d70a3d70a3d70a3d70a3d70a3d70a",
    u_fraction="0.540000000000",
    total_lottery_weight=1_700_000_002,
    ticket=918_000_001,
    winner=GEORGE,
    entries=[
        DrawEntry(
            account=ANNE,
            pool_mvote=100_000,
            age_blocks=3,
            reputation_milli=9_375,
            status="active",
            eligible=False,
            reason="led_earlier_view",
            lottery_weight=0,
            chance_bps=0,
            from_ticket=0,
            to_ticket=0,
        )
    ],
    skipped=[SkippedTurn(view=0, leader=ANNE)],
    producer=GEORGE,
    produced_view=1,
    beacon_proof=_PROOF,
    beacon="e7" * 64,
)
BLOCKS: Final = BlockPage(blocks=[SUMMARY], next_before=1_200)
BLOCK: Final = Block(
    summary=SUMMARY,
    chain_id=_CHAIN,
    parent_hash="4d" * 32,
    beacon_proof=_PROOF,
    transactions_root="11" * 32,
    receipts_root="22" * 32,
    state_root="2a" * 32,
    parent_certificate_hash="33" * 32,
    committee_hash="9b" * 32,
    finalized_view=1,
    signers=[ANNE, GEORGE],
    signed_weight=300_000,
    total_weight=400_000,
    transactions=[TransactionSummary(index=0, id=_ID, kind="transfer", sender=ANNE, refusal=None)],
)
CERTIFICATE: Final = Certificate(
    height=1_200,
    view=1,
    kind="finalize",
    block_hash=_HASH,
    signers=[CertificateSigner(index=0, account=ANNE, node_key=_KEY, weight=100_000, signature=_SIGNATURE)],
    signed_weight=300_000,
    total_weight=400_000,
    quorum_weight=266_667,
    header="8d01…",
    raw="8603…",
)
TRANSACTION: Final = Transaction(
    id=_ID,
    kind="transfer",
    state="final",
    sender=ANNE,
    signed_by="account",
    sender_key="aa" * 32,
    nonce=7,
    fee_uwatt=1_000,
    valid_until_height=2_190,
    payload={
        "recipient": {"address": GEORGE.address, "name": GEORGE.name},
        "token": "watt",
        "amount": 2_500_000,
        "memo": "eggs",
    },
    size_bytes=237,
    raw="8258ad…",
    height=1_200,
    index=0,
    block_hash=_HASH,
    time_ms=_TIME_MS,
    time=iso_time(_TIME_MS),
    refusal=None,
    note="",
)
TRANSACTIONS: Final = TransactionPage(transactions=[TRANSACTION], next_before="1200:0")
PENDING: Final = PendingPage(transactions=[], total=0)
EVIDENCE: Final = EvidenceList(
    height=1_200,
    convictions=[
        Conviction(
            height=1_131,
            time_ms=_TIME_MS,
            time=iso_time(_TIME_MS),
            transaction_id=_ID,
            account=GEORGE,
            node_key=_KEY,
            reporter=ANNE,
            signed_height=1_129,
            signed_view=0,
            first=ContradictingStatement(kind="notarize", block_hash=_HASH, signature=_SIGNATURE),
            second=ContradictingStatement(kind="notarize", block_hash="2b" * 32, signature="91" * 64),
            burned_mvote=102_400,
        )
    ],
    complete=True,
)
CANDIDATE: Final = Candidate(
    account=ANNE,
    status="active",
    pool_mvote=100_000,
    pool_share_bps=2_500,
    shares=100_000,
    backer_count=1,
    reputation_milli=9_375,
    last_mined_height=1_197,
    frozen=[FrozenPot(release_height=1_203, amount_mvote=40)],
    frozen_mvote=40,
    missed_in_row=1,
    missed_total=1,
    produced_total=298,
    epoch_counted=48,
    epoch_signed=47,
    suspended_height=None,
    committee_weight=100_000,
    out_reason=None,
    participation_bps=9_791,
    low_participation=False,
)
CANDIDATES: Final = CandidateList(height=1_200, weighed_height=1_248, weights_delay_blocks=6, candidates=[CANDIDATE])
CANDIDATE_DETAIL: Final = CandidateDetail(
    height=1_200, candidate=CANDIDATE, backers=[Backer(account=ANNE, shares=100_000, value_mvote=100_000)]
)
MEMBER: Final = Member(
    account=ANNE,
    account_key="aa" * 32,
    roles=["approver"],
    feeder="linden",
    substation="north",
    node_key=_KEY,
    meters=[_METER_KEY],
    registered_height=0,
)
MEMBERS: Final = MemberList(height=1_200, members=[MEMBER])
ACCOUNT: Final = Account(
    height=1_200,
    account=ANNE,
    account_key="aa" * 32,
    exists=True,
    watt_uwatt=97_499_000,
    grid_ugrid=1_000_000_000,
    votes_mvote=2_400,
    votes_cast_mvote=100_000,
    nonce=8,
    next_nonce=8,
    pending_count=0,
    member=MEMBER,
    candidate=CANDIDATE,
)
VOTES: Final = Votes(
    height=1_200,
    account=GEORGE,
    kept_mvote=2_400,
    cast_mvote=50_000,
    stakes=[StakeInfo(candidate=ANNE, candidate_status="active", shares=50_000, value_mvote=50_000, share_bps=5_000)],
    rule=VotingRuleInfo(keep_bps=2_000, targets=[RuleTargetInfo(candidate=ANNE, share_bps=10_000)]),
)
METER: Final = Meter(
    meter=_METER_KEY,
    owner=ANNE,
    kind="solar",
    role="connection",
    import_nameplate_w=11_000,
    export_nameplate_w=8_000,
    storage_capacity_wh=0,
    stored_wh=0,
    suspended=False,
    last_period=1_963_583,
    last_period_end_ms=_TIME_MS - 14_400_000,
    last_period_end=iso_time(_TIME_MS - 14_400_000),
    import_wh=1_204_310,
    export_wh=880_020,
)
METERS: Final = MeterList(height=1_200, meters=[METER])
READINGS: Final = ReadingList(
    height=1_200,
    readings=[
        Reading(
            transaction_id=_ID,
            meter=_METER_KEY,
            owner=ANNE,
            period=1_963_583,
            period_start_ms=_TIME_MS - 15_300_000,
            period_start=iso_time(_TIME_MS - 15_300_000),
            import_wh=1_204_310,
            export_wh=880_020,
            imported_wh=40,
            exported_wh=310,
            sampled_at_ms=_TIME_MS - 14_400_000,
            sampled_at=iso_time(_TIME_MS - 14_400_000),
            minted_mvote=310,
        )
    ],
)
JOIN_REQUESTS: Final = JoinRequestList(
    height=1_200,
    requests=[
        JoinRequest(
            id=_ID,
            state="waiting",
            name="dora",
            address="ec3KsTvv8nxqd7XmuZxXvpUJkvSf9XoDkvhyrFnN3gduT3rPpvaP8",
            account_key="dd" * 32,
            node_key=_KEY,
            peer=_PEER,
            feeder="linden",
            substation="north",
            meters=[
                JoinMeter(
                    meter=_METER_KEY,
                    kind="solar",
                    role="connection",
                    import_nameplate_w=17_250,
                    export_nameplate_w=9_800,
                    storage_capacity_wh=0,
                    import_wh=0,
                    export_wh=0,
                )
            ],
            inviter=ANNE,
            invite=_HASH,
            made_ms=_TIME_MS,
            made=iso_time(_TIME_MS),
            expires_ms=_TIME_MS + 604_800_000,
            expires=iso_time(_TIME_MS + 604_800_000),
            obstacle=None,
            denied_by=None,
            reason=None,
        )
    ],
)
PROOF: Final = StateProof(
    format="ecloud-proof/1",
    chain_id=_CHAIN,
    height=1_200,
    block_hash=_HASH,
    record="account " + ANNE.address,
    key="01" + "aa" * 32,
    value="8407…",
    siblings=["44" * 32],
    leaf=("55" * 32, "66" * 32),
    header="8d01…",
    certificate="8603…",
    committee_snapshot_height=1_152,
    committee=[
        ProvenMember(account_key="aa" * 32, node_key=_KEY, weight=100_000, pool_mvote=100_000, reputation_milli=9_375)
    ],
)
TRANSACTION_PROOF: Final = TransactionProof(
    format="ecloud-proof/1",
    chain_id=_CHAIN,
    height=1_200,
    block_hash=_HASH,
    transaction="8258…",
    receipt="8558…",
    position=0,
    count=2,
    transaction_path=["44" * 32],
    receipt_path=["55" * 32],
    header="8d01…",
    certificate="8603…",
    committee_snapshot_height=1_152,
    committee=[
        ProvenMember(account_key="aa" * 32, node_key=_KEY, weight=100_000, pool_mvote=100_000, reputation_milli=9_375)
    ],
)

_PERIOD: Final = _TIME_MS // 900_000 + 2
_START_MS: Final = _PERIOD * 900_000
TARIFF: Final = Tariff(
    first_period=0,
    mechanism="continuous",
    retail_uwatt_per_kwh=300_000,
    feed_in_uwatt_per_kwh=80_000,
    fee_model="distance",
    fee_base_uwatt_per_kwh=40_000,
    same_feeder_discount_bps=4_000,
    same_substation_discount_bps=2_000,
    distance_surcharge_bps=1_000,
    congestion_surcharge_bps=5_000,
    congestion_threshold_bps=8_000,
    fee_of_value_bps=500,
)
TARIFFS: Final = TariffList(height=1_200, tariffs=[TARIFF])
MARKET_PERIOD: Final = MarketPeriod(
    period=_PERIOD,
    start_ms=_START_MS,
    start=iso_time(_START_MS),
    closes_ms=_START_MS - 300_000,
    closes=iso_time(_START_MS - 300_000),
    is_open=True,
    best_bid_uwatt_per_kwh=180_000,
    best_ask_uwatt_per_kwh=200_000,
    last_price_uwatt_per_kwh=190_000,
    trades=1,
    energy_wh=700,
    value_uwatt=133_000,
    cleared=False,
    settled=False,
)
MARKET: Final = Market(
    height=1_200,
    now_ms=_TIME_MS,
    now=iso_time(_TIME_MS),
    mechanism="continuous",
    tariff=TARIFF,
    gateway=ANNE,
    period_ms=900_000,
    gate_closure_ms=300_000,
    utc_offset_minutes=60,
    lot_wh=10,
    tick_uwatt_per_kwh=100,
    max_open_orders=32,
    first_open_period=_PERIOD - 1,
    last_open_period=_PERIOD + 670,
    next_settled_period=_PERIOD - 11,
    from_period=_PERIOD,
    next_from=_PERIOD + 1,
    periods=[MARKET_PERIOD],
)
ORDER: Final = Order(
    period=_PERIOD,
    number=17,
    side="sell",
    account=GEORGE,
    limit_uwatt_per_kwh=200_000,
    energy_wh=1_000,
    left_wh=300,
    locked_uwatt=30_000,
    height=1_190,
)
ORDERS: Final = OrderPage(height=1_200, account=GEORGE, orders=[ORDER], next_after=None)
BOOK: Final = Book(
    height=1_200,
    summary=MARKET_PERIOD,
    tariff=TARIFF,
    bids=[BookLevel(price_uwatt_per_kwh=180_000, energy_wh=500, orders=1)],
    asks=[BookLevel(price_uwatt_per_kwh=200_000, energy_wh=300, orders=1)],
    bid_levels=1,
    ask_levels=1,
    bid_wh=500,
    ask_wh=300,
    bid_orders=[
        Order(
            period=_PERIOD,
            number=18,
            side="buy",
            account=ANNE,
            limit_uwatt_per_kwh=180_000,
            energy_wh=500,
            left_wh=500,
            locked_uwatt=122_000,
            height=1_191,
        )
    ],
    ask_orders=[ORDER],
)
TRADES: Final = TradePage(
    height=1_200,
    period=_PERIOD,
    trades=[
        Trade(
            period=_PERIOD,
            number=1,
            seller=GEORGE,
            buyer=ANNE,
            energy_wh=700,
            price_uwatt_per_kwh=190_000,
            rate_uwatt_per_kwh=24_000,
            value_uwatt=133_000,
            fee_uwatt=16_800,
            sell_order=17,
            buy_order=16,
            height=1_192,
        )
    ],
    next_before=None,
)
FEEDER_LIST: Final = FeederList(
    height=1_200,
    period=_PERIOD,
    feeders=[
        FeederHeadroom(
            feeder="mill lane",
            substation="north",
            limit_wh=100_000,
            threshold_wh=80_000,
            out_wh=700,
            into_wh=0,
            left_out_wh=99_300,
            left_into_wh=100_000,
            congested=False,
        )
    ],
)
POSITIONS: Final = PositionList(
    height=1_200,
    account=GEORGE,
    positions=[
        Position(
            period=_PERIOD,
            start_ms=_START_MS,
            start=iso_time(_START_MS),
            is_open=True,
            sold_wh=700,
            bought_wh=0,
            net_wh=700,
            open_sell_wh=300,
            open_orders=1,
            sellable_wh=1_500,
        )
    ],
)
SETTLED_PERIOD: Final = SettledPeriod(
    period=_PERIOD - 12,
    start_ms=_START_MS - 12 * 900_000,
    start=iso_time(_START_MS - 12 * 900_000),
    height=1_150,
    metered=4,
    silent=0,
    export_wh=2_150,
    import_wh=2_350,
    contract_wh=500,
    trade_wh=900,
    property_wh=0,
    pool_wh=800,
    fed_in_wh=0,
    excess_wh=300,
    drawn_wh=450,
    shortfall_wh=50,
    certified_wh=1_850,
    minted_mvote=2_150,
    self_sufficiency_bps=7_872,
    self_consumption_bps=8_604,
    energy_check_wh=0,
)
SETTLED: Final = SettledPage(height=1_200, next_settled_period=_PERIOD - 11, settled=[SETTLED_PERIOD], next_before=None)
PRICES: Final = PriceHistory(
    height=1_200,
    points=[
        PricePoint(
            period=_PERIOD,
            start_ms=_START_MS,
            start=iso_time(_START_MS),
            last_uwatt_per_kwh=190_000,
            mean_uwatt_per_kwh=190_000,
            energy_wh=700,
            value_uwatt=133_000,
            trades=1,
            retail_uwatt_per_kwh=300_000,
            feed_in_uwatt_per_kwh=80_000,
        )
    ],
)

POOL: Final = PoolInfo(
    pool=1,
    name="sunny-side",
    founder=GEORGE,
    rule="both",
    price_uwatt_per_kwh=100_000,
    shares=[PoolShareInfo(member=ANNE, share_bps=5_000)],
    members=[
        PoolMember(
            member=GEORGE,
            roles=["producer"],
            share_bps=0,
            lowest_uwatt_per_kwh=0,
            highest_uwatt_per_kwh=100_000_000,
            willing=True,
            from_period=1_963_590,
            until_period=None,
        ),
        PoolMember(
            member=ANNE,
            roles=["consumer"],
            share_bps=5_000,
            lowest_uwatt_per_kwh=0,
            highest_uwatt_per_kwh=120_000,
            willing=True,
            from_period=1_963_592,
            until_period=None,
        ),
    ],
    from_period=1_963_590,
    until_period=None,
)
POOLS: Final = PoolList(height=1_200, next_open_period=1_963_601, pools=[POOL])
_RESIDENTIAL: Final = ContractTemplate(
    template="residential",
    number=1,
    smallest_wh=100,
    largest_wh=50_000,
    lowest_uwatt_per_kwh=50_000,
    highest_uwatt_per_kwh=500_000,
    price_change_bps=2_000,
    first_hour=6,
    last_hour=22,
    weekdays=[0, 1, 2, 3, 4, 5, 6],
    max_participants=100,
    stake_ugrid=10_000_000,
    licences=[],
    deliveries_by="hour",
    late_bps=500,
    early_bps=200,
    collateral_bps=1_000,
    arbitration="oracle",
    escalation_hours=24,
    fee_base_uwatt_per_kwh=20_000,
    fee_distance_uwatt_per_kwh=1_000,
    fee_congestion_bps=5_000,
    congestion_threshold_bps=8_000,
    time_of_use=[
        TimeOfUse(from_hour=6, price_bps=10_000),
        TimeOfUse(from_hour=12, price_bps=12_000),
        TimeOfUse(from_hour=18, price_bps=15_000),
        TimeOfUse(from_hour=22, price_bps=8_000),
    ],
    shedding=["non_essential", "heating_and_cooling", "essential"],
)
TEMPLATES: Final = TemplateList(templates=[_RESIDENTIAL])
CONTRACT: Final = Contract(
    offer=7,
    seller=GEORGE,
    template="residential",
    limit_wh=1_500,
    price_uwatt_per_kwh=150_000,
    preferred=[PreferredPriceInfo(member=ANNE, price_uwatt_per_kwh=140_000)],
    from_period=1_963_600,
    end_period=1_966_480,
    until_period=1_966_480,
    stake_ugrid=10_000_000,
    subscriptions=[
        SubscriptionInfo(
            buyer=ANNE,
            limit_wh=500,
            price_uwatt_per_kwh=140_000,
            agreed_uwatt_per_kwh=140_000,
            from_period=1_963_600,
            until_period=1_966_480,
            collateral_uwatt=14_280_000,
            early_uwatt=2_856_000,
            late_uwatt=7_140_000,
        )
    ],
)
CONTRACTS: Final = ContractPage(height=1_200, next_open_period=1_963_601, contracts=[CONTRACT], next_before=None)
DELIVERIES: Final = DeliveryPage(
    height=1_200,
    offer=7,
    deliveries=[
        Delivery(
            period=1_963_600,
            start_ms=1_767_240_000_000,
            start=iso_time(1_767_240_000_000),
            buyer=ANNE,
            energy_wh=1_250,
            amount_uwatt=175_000,
            fee_uwatt=30_000,
        )
    ],
    next_before=None,
)
AGREEMENTS: Final = Agreements(
    height=1_200,
    account=ANNE,
    next_open_period=1_963_601,
    licences=[],
    pools=[POOL],
    selling=[],
    buying=[CONTRACT],
)

_CYCLE: Final = 681
_FIRST_PERIOD: Final = 681 * 2_880
_CYCLE_START_MS: Final = _FIRST_PERIOD * 900_000
_CYCLE_END_MS: Final = _CYCLE_START_MS + 2_880 * 900_000
_DUE_MS: Final = _CYCLE_END_MS + 15 * 86_400_000
BILL_SUMMARY: Final = BillSummary(
    cycle=_CYCLE,
    member=ANNE,
    state="due",
    is_gateway=False,
    page=0,
    first_period=_FIRST_PERIOD,
    last_period=_FIRST_PERIOD + 2_879,
    start_ms=_CYCLE_START_MS,
    start=iso_time(_CYCLE_START_MS),
    end_ms=_CYCLE_END_MS,
    end=iso_time(_CYCLE_END_MS),
    settled_periods=2_880,
    estimated_periods=2,
    import_wh=310_000,
    export_wh=0,
    cost_uwatt=73_720_000,
    from_escrow_uwatt=43_320_000,
    to_pay_uwatt=30_400_000,
    to_receive_uwatt=0,
    utility_cost_uwatt=93_000_000,
    sharing_cost_uwatt=79_800_000,
    saving_uwatt=19_280_000,
    recorded_height=198_240,
    due_ms=_DUE_MS,
    due=iso_time(_DUE_MS),
    paid_height=None,
)
BILLS: Final = BillPage(height=198_300, member=ANNE, bills=[BILL_SUMMARY], next_before=None)
BILL_LINE: Final = BillLine(
    id="53c0fd6a94be3f70",
    title="trade",
    kind="metered",
    debtor=ANNE,
    creditor=GEORGE,
    energy_wh=190_000,
    price_uwatt_per_kwh=204_000,
    amount_uwatt=38_760_000,
    fee_uwatt=4_560_000,
    cost_uwatt=43_320_000,
    from_escrow=True,
)
BILL: Final = Bill(
    height=198_300,
    summary=BILL_SUMMARY,
    lines=[BILL_LINE],
    fees=[BillFee(debtor=ANNE, fee_uwatt=4_560_000)],
    claims=[
        BillClaim(
            counterparty=GEORGE,
            owed_uwatt=30_400_000,
            due_uwatt=0,
            to_pay_uwatt=30_400_000,
            to_receive_uwatt=0,
            settled=False,
        )
    ],
    lines_forgotten=False,
)
REGISTER_PROOF: Final = RegisterProof(
    owner=ANNE,
    meter=_METER_KEY,
    transaction_id=_ID,
    height=150_120,
    sampled_at_ms=_CYCLE_START_MS + 900_000,
    sampled_at=iso_time(_CYCLE_START_MS + 900_000),
    import_before_wh=1_200_000,
    import_wh=1_200_200,
    export_before_wh=0,
    export_wh=0,
)
EXPLANATION: Final = LineExplanation(
    height=198_300,
    cycle=_CYCLE,
    member=ANNE,
    line=BILL_LINE,
    parts=[
        LinePart(
            period=_FIRST_PERIOD,
            start_ms=_CYCLE_START_MS,
            start=iso_time(_CYCLE_START_MS),
            height=150_300,
            energy_wh=200,
            amount_uwatt=40_800,
            fee_uwatt=4_800,
            trades=[],
            readings=[REGISTER_PROOF],
        )
    ],
    next_after=_FIRST_PERIOD + 95,
    not_kept=None,
)
MEMBER_PERIODS: Final = MemberPeriodPage(
    height=198_300,
    cycle=_CYCLE,
    member=ANNE,
    periods=[
        MemberPeriod(
            period=_FIRST_PERIOD,
            start_ms=_CYCLE_START_MS,
            start=iso_time(_CYCLE_START_MS),
            height=150_300,
            estimated=False,
            local_bought_wh=0,
            local_sold_wh=0,
            market_bought_wh=200,
            market_sold_wh=0,
            drawn_wh=0,
            shortfall_wh=0,
            fed_in_wh=0,
            excess_wh=0,
            cost_uwatt=45_600,
            reading=REGISTER_PROOF,
        )
    ],
    next_after=_FIRST_PERIOD + 95,
    not_kept=None,
)
BILLING_CYCLES: Final = BillingCyclePage(
    height=198_300,
    cycle_periods=2_880,
    cycles=[
        BillingCycle(
            cycle=_CYCLE,
            first_period=_FIRST_PERIOD,
            last_period=_FIRST_PERIOD + 2_879,
            start_ms=_CYCLE_START_MS,
            start=iso_time(_CYCLE_START_MS),
            end_ms=_CYCLE_END_MS,
            end=iso_time(_CYCLE_END_MS),
            closed=True,
            members=70,
            pages=2,
            pages_left=[1],
            recorded=64,
            unpaid=31,
        )
    ],
    next_before=None,
)
ARREARS: Final = ArrearsPage(
    height=198_300,
    arrears=[Arrear(member=ANNE, cycle=_CYCLE - 1, amount_uwatt=12_500_000, since_height=110_400)],
    next_after=None,
)
