"""A neighbourhood of four homes as its node would tell it: made of the API's own types, with real draws and real
transactions, the same in every run.

Time begins on 1 May 2026; a block every 2 s, a period every 10 s, as in a devnet. Bob misses every sixth turn he wins.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from consensus.draw import Draw, DrawMember, next_seed
from ledger.keys import SigningKey, address_text, parse_address
from ledger.parameters import BOUNDS, Parameters
from ledger.records import CandidateStatus
from ledger.transactions import Kind, SubmitReading, Transaction, Transfer, decode_transaction, sign_transaction
from node.client import events, models
from node.client.models import Party, iso_time
from node.joining import Denial, decode_message

START_MS = 1_777_629_600_000  # 2026-05-01 10:00 UTC
BLOCK_MS = 2_000
PERIOD_MS = 10_000
CHAIN_ID = sha256(b"sonnenweg").digest()
PARAMETERS = Parameters(block_interval_ms=BLOCK_MS, period_ms=PERIOD_MS, utc_offset_minutes=120)

NAMES = ("anne", "bob", "carla", "george")
KEYS = {name: SigningKey(sha256(f"account {name}".encode()).digest()) for name in NAMES}
NODE_KEYS = {name: SigningKey(sha256(f"node {name}".encode()).digest()) for name in NAMES}
METER_KEYS = {name: SigningKey(sha256(f"meter {name}".encode()).digest()) for name in NAMES}
PARTIES = {name: Party(address=address_text(KEYS[name].public_key), name=name) for name in NAMES}
NAME_OF = {KEYS[name].public_key: name for name in NAMES}
POOLS = {"anne": 118_400, "bob": 74_250, "carla": 96_000, "george": 241_730}
STRANGER = SigningKey(sha256(b"a stranger").digest())


def newcomer_key(name: str) -> SigningKey:
    """The account key of somebody who asks to join."""
    return SigningKey(sha256(f"newcomer {name}".encode()).digest())


def noise(*parts: object, below: int) -> int:
    """A number below ``below``, always the same for the same parts."""
    return int.from_bytes(sha256(repr(parts).encode()).digest()[:8], "big") % below


@dataclass
class Home:
    """A candidate's record as the chain keeps it."""

    pool_mvote: int
    reputation_milli: int = 0
    last_mined_height: int = 0
    produced: int = 0
    missed: int = 0
    missed_in_row: int = 0
    suspended_height: int | None = None
    is_expelled: bool = False


@dataclass
class Neighbourhood:
    """The chain up to ``height`` and all the API says of it. ``advance`` adds a block and returns its events."""

    height: int = 0
    homes: dict[str, Home] = field(default_factory=lambda: {name: Home(POOLS[name]) for name in NAMES})
    seeds: list[bytes] = field(default_factory=lambda: [sha256(b"genesis").digest()])
    draws: dict[int, Draw] = field(default_factory=dict)
    blocks: list[models.Block] = field(default_factory=list)
    transactions: dict[str, models.Transaction] = field(default_factory=dict)
    pending: list[Transaction] = field(default_factory=list)
    readings: list[models.Reading] = field(default_factory=list)
    balances: dict[str, int] = field(default_factory=lambda: {PARTIES[name].address: 250_000_000 for name in NAMES})
    nonces: dict[str, int] = field(default_factory=dict)
    registers: dict[str, tuple[int, int]] = field(default_factory=dict)
    newcomers: list[str] = field(default_factory=list)
    denials: dict[str, Denial] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    effects: list[models.AccountEffect] = field(default_factory=list)  # shown on an account's first page
    convictions: list[models.Conviction] = field(default_factory=list)

    # ------------------------------------------------------------------------------------------------ what happens

    def advance(self) -> list[events.NodeEvent]:
        """One more final block."""
        height = self.height + 1
        draw = self._draw(height)
        view = 0
        while draw.leader(view) == list(NAMES_BY_ACCOUNT).index("bob") and self.homes["bob"].produced % 6 == 5:
            self.homes["bob"].produced += 1
            self.homes["bob"].missed += 1
            view += 1
        skipped = [models.SkippedTurn(view=k, leader=self._leader(draw, k)) for k in range(view)]
        producer = self._leader(draw, view)
        transactions = self._reading_transactions(height) + self.pending
        self.pending = []
        self.height = height
        time_ms = START_MS + height * BLOCK_MS
        decoded = [self._execute(raw, height, index) for index, raw in enumerate(transactions)]
        summary = models.BlockSummary(
            height=height,
            hash=self._hash("block", height),
            view=view,
            time_ms=time_ms,
            time=iso_time(time_ms),
            producer=producer,
            transaction_count=len(decoded),
            refused_count=sum(one.refusal is not None for one in decoded),
            reading_count=sum(one.kind == "submit_reading" for one in decoded),
            size_bytes=812 + sum(one.size_bytes for one in decoded),
            skipped=[turn.leader for turn in skipped],
            finality_ms=340 + noise("finality", height, below=180) + 3_050 * view,
        )
        self.blocks.append(self._block(summary, decoded))
        home = self.homes[str(producer.name)]
        home.last_mined_height, home.reputation_milli = height, home.reputation_milli + 1_000
        home.produced += 1
        home.pool_mvote += 51
        self.seeds.append(next_seed(self.seeds[height - 1], sha256(f"beta {height}".encode()).digest() * 2))
        return self._events(summary, skipped, decoded)

    def transfer(self, sender: str, recipient: str, amount_uwatt: int, memo: str = "") -> None:
        """Puts a transfer into the next block."""
        payload = Transfer(parse_address(PARTIES[recipient].address), 1, amount_uwatt, memo)
        nonce = self.nonces.get(PARTIES[sender].address, 0) + sum(
            one.sender == KEYS[sender].public_key for one in self.pending
        )
        self.pending.append(
            sign_transaction(
                KEYS[sender], CHAIN_ID, payload, nonce=nonce, fee_uwatt=1_000, valid_until_height=self.height + 500
            )
        )

    def submit(self, raw: bytes) -> Transaction:
        """Takes a transaction as the node would, without its checks."""
        transaction = decode_transaction(raw)
        self.pending.append(transaction)
        return transaction

    # ------------------------------------------------------------------------------------------- what the API says

    def status(self) -> models.Status:
        tip = self.blocks[-1].summary
        finality = sorted(block.summary.finality_ms or 0 for block in self.blocks[-100:])
        leader = self._leader(self._draw(self.height + 1), 0)
        return models.Status(
            name="anne",
            version="0.1.0",
            network="sonnenweg",
            chain_id=CHAIN_ID.hex(),
            node_key=NODE_KEYS["anne"].public_key.hex(),
            account=PARTIES["anne"],
            peer_id="12D3KooWHHzSeKaY8xuZVzkLbKFfvNgPPeKhFBGrMbNzbm5akpqu",
            started_at_ms=START_MS,
            started_at=iso_time(START_MS),
            now_ms=tip.time_ms + 900,
            height=self.height,
            tip_hash=tip.hash,
            tip_time_ms=tip.time_ms,
            tip_time=tip.time,
            state_root=self._hash("state", self.height),
            engine=models.EngineStatus(
                height=self.height + 1,
                view=0,
                leader=leader,
                leader_is_this_node=leader.name == "anne",
                votes=True,
            ),
            sync=models.SyncStatus(syncing=False, target_height=self.height, blocks_per_second=0),
            finality=models.Finality(
                blocks=len(finality),
                p50_ms=finality[len(finality) // 2],
                p95_ms=finality[len(finality) * 95 // 100],
            ),
            mempool=models.MempoolStatus(transactions=len(self.pending), size_bytes=180 * len(self.pending)),
            peer_count=3,
            disk_full=False,
            clock_offset_ms=4,
            clock_warning=False,
            warnings=list(self.warnings),
        )

    def genesis(self) -> models.Genesis:
        return models.Genesis(
            chain_id=CHAIN_ID.hex(),
            network="sonnenweg",
            time_ms=START_MS,
            time=iso_time(START_MS),
            members=list(PARTIES.values()),
            feeders=[models.FeederInfo(feeder="feeder-1", substation="sonnenweg")],
            parameters=self._parameters(),
            document="",
        )

    def parameters(self) -> models.ParameterList:
        return models.ParameterList(height=self.height, parameters=self._parameters(), bounds=BOUNDS)

    def peers(self) -> models.PeerList:
        peers = [
            models.Peer(
                peer=f"12D3KooW{self._hash('peer', name)[:40]}",
                address=f"/ip4/127.0.0.1/tcp/{40_000 + place}",
                inbound=place % 2 == 0,
                latency_us=780 + 2_210 * place,
                score=100,
                bytes_received=1_250_000 * (place + 1),
                bytes_sent=1_180_000 * (place + 1),
                topics=["consensus", "transactions", "blocks"],
                mesh=["consensus", "transactions", "blocks"],
                account=PARTIES[name],
            )
            for place, name in enumerate(("bob", "carla", "george"))
        ]
        return models.PeerList(peers=peers, listening=["/ip4/127.0.0.1/tcp/4001"])

    def join_requests(self) -> models.JoinRequestList:
        """Those of ``newcomers``, of whom each has a home of her own; fatma wishes a name that is taken."""
        requests = [self._join_request(name) for name in self.newcomers]
        return models.JoinRequestList(height=self.height, requests=requests)

    def deny(self, message: bytes) -> str:
        """Takes an approver's denial, and returns the id of the request."""
        denial = decode_message(message)
        assert isinstance(denial, Denial)
        denial.require_signature(CHAIN_ID)
        name = next(one for one in self.newcomers if newcomer_key(one).public_key == denial.signed.account)
        self.denials[name] = denial
        return self._hash("join", name)

    def _join_request(self, name: str) -> models.JoinRequest:
        key, denial = newcomer_key(name), self.denials.get(name)
        made_ms = START_MS + 30_000
        meter = models.JoinMeter(
            meter=self._hash("meter", name),
            kind="solar",
            role="connection",
            import_nameplate_w=17_250,
            export_nameplate_w=9_800,
            storage_capacity_wh=0,
            import_wh=0,
            export_wh=0,
        )
        return models.JoinRequest(
            id=self._hash("join", name),
            state="waiting" if denial is None else "denied",
            name=name,
            address=address_text(key.public_key),
            account_key=key.public_key.hex(),
            node_key=self._hash("node", name),
            peer=f"12D3KooW{self._hash('peer', name)[:40]}",
            feeder="F1",
            substation="S",
            meters=[meter] if name == "dora" else [],
            inviter=PARTIES["bob"],
            invite=self._hash("invite", name),
            made_ms=made_ms,
            made=iso_time(made_ms),
            expires_ms=made_ms + 604_800_000,
            expires=iso_time(made_ms + 604_800_000),
            obstacle="the name 'fatma' is taken; choose another with --name" if name == "fatma" else None,
            denied_by=None if denial is None else PARTIES["anne"],
            reason=None if denial is None else denial.signed.reason,
        )

    def draw(self, height: int, view: int | None) -> models.Draw:
        is_next = height == self.height + 1
        block = None if is_next else self.blocks[height - 1].summary
        draw = self._draw(height)
        view = (0 if block is None else block.view) if view is None else view
        turn = draw.turn(view)
        weights = dict(zip(turn.entrants, turn.weights, strict=True))
        led = {draw.leader(earlier) for earlier in range(view)}
        entries, running = [], 0
        for k, member in enumerate(draw.members):
            reason = None
            if k not in weights:
                reason = "led_earlier_view" if k in led else "produced_last"
                if not member.active:
                    reason = "suspended"
            weight = weights.get(k, 0)
            entries.append(
                models.DrawEntry(
                    account=PARTIES[NAME_OF[member.account]],
                    pool_mvote=member.pool_mvote,
                    age_blocks=min(height - member.last_mined_height, PARAMETERS.age_cap_blocks),
                    reputation_milli=member.reputation_milli,
                    status="active" if member.active else "suspended",
                    eligible=reason is None,
                    reason=reason,
                    lottery_weight=weight,
                    chance_bps=weight * 10_000 // turn.total,
                    from_ticket=running,
                    to_ticket=running + weight,
                )
            )
            running += weight
        skipped = [models.SkippedTurn(view=k, leader=self._leader(draw, k)) for k in range(view)]
        return models.Draw(
            height=height,
            view=view,
            is_next=is_next,
            seed=draw.seed.hex(),
            u=f"{turn.number:032x}",
            u_fraction=f"0.{turn.number * 10**12 >> 128:012d}",
            total_lottery_weight=turn.total,
            ticket=turn.ticket,
            winner=PARTIES[NAME_OF[draw.members[turn.winner].account]],
            entries=entries,
            skipped=skipped,
            producer=None if block is None else block.producer,
            produced_view=None if block is None else block.view,
            beacon_proof=None if block is None else self._hash("proof", height) * 2,
            beacon=None if block is None else self._hash("beacon", height) * 2,
        )

    def block_page(self, before: int | None, limit: int) -> models.BlockPage:
        top = self.height if before is None else before - 1
        heights = range(top, max(0, top - limit), -1)
        page = [self.blocks[height - 1].summary for height in heights]
        return models.BlockPage(blocks=page, next_before=page[-1].height if page and page[-1].height > 1 else None)

    def candidates(self) -> models.CandidateList:
        return models.CandidateList(
            height=self.height,
            weighed_height=(self.height // 96 + 1) * 96,
            weights_delay_blocks=6,
            candidates=[self._candidate(name) for name in NAMES],
        )

    def evidence(self) -> models.EvidenceList:
        return models.EvidenceList(height=self.height, convictions=self.convictions, complete=True)

    def convict(self, name: str) -> events.Equivocation:
        """The home has contradicted itself two blocks ago, and anne has reported it."""
        time_ms = START_MS + self.height * BLOCK_MS
        first, second = (
            models.ContradictingStatement(
                kind="notarize", block_hash=self._hash(half, self.height), signature="5a" * 64
            )
            for half in ("first", "second")
        )
        self.convictions.insert(
            0,
            models.Conviction(
                height=self.height,
                time_ms=time_ms,
                time=iso_time(time_ms),
                transaction_id=self._hash("report", self.height),
                account=PARTIES[name],
                node_key=NODE_KEYS[name].public_key.hex(),
                reporter=PARTIES["anne"],
                signed_height=self.height - 2,
                signed_view=0,
                first=first,
                second=second,
                burned_mvote=self.homes[name].pool_mvote,
            ),
        )
        self.homes[name].is_expelled = True
        self.homes[name].pool_mvote = 0
        return events.Equivocation(account=PARTIES[name], height=self.height, convicted=True)

    def member(self, name: str) -> models.Member:
        return models.Member(
            account=PARTIES[name],
            account_key=KEYS[name].public_key.hex(),
            roles=["approver"] if name == "anne" else ["gateway"] if name == "george" else [],
            feeder="feeder-1",
            substation="sonnenweg",
            node_key=NODE_KEYS[name].public_key.hex(),
            meters=[METER_KEYS[name].public_key.hex()],
            registered_height=0,
        )

    def account(self, who: str) -> models.Account | None:
        """By name, address or key; None for a name that nobody has."""
        party = PARTIES.get(who) or next((one for one in PARTIES.values() if one.address == who), None)
        name = None if party is None else party.name
        if party is None:
            try:
                parse_address(who)
            except ValueError:
                return None
            party = Party(address=who)
        waiting = sum(address_text(one.sender) == party.address for one in self.pending)
        nonce = self.nonces.get(party.address, 0)
        return models.Account(
            height=self.height,
            account=party,
            account_key=parse_address(party.address).hex(),
            exists=party.address in self.balances,
            watt_uwatt=self.balances.get(party.address, 0),
            grid_ugrid=0 if name is None else 1_000_000_000,
            votes_mvote=0 if name is None else 20_000 + noise(name, below=9_000),
            votes_cast_mvote=0 if name is None else self.homes[name].pool_mvote,
            nonce=nonce,
            next_nonce=nonce + waiting,
            pending_count=waiting,
            member=None if name is None else self.member(name),
            candidate=None if name is None else self._candidate(name),
        )

    def history(self, address: str, before: str | None, limit: int) -> models.TransactionPage:
        found = [one for one in self.transactions.values() if address in self._concerned(one)]
        found.sort(key=lambda one: (one.height or 0, one.index or 0), reverse=True)
        if before is not None:
            height, index = (int(part) for part in before.split(":"))
            found = [one for one in found if (one.height or 0, one.index or 0) < (height, index)]
        more = found[limit : limit + 1]
        page = found[:limit]
        effects = [one for one in self.effects if one.account.address == address and before is None]
        return models.TransactionPage(
            transactions=page,
            next_before=f"{page[-1].height}:{page[-1].index}" if more and page else None,
            effects=effects,
        )

    def meters(self) -> models.MeterList:
        return models.MeterList(height=self.height, meters=[self._meter(name) for name in NAMES])

    def reading_list(self, meter: str, limit: int) -> models.ReadingList:
        found = [reading for reading in reversed(self.readings) if reading.meter == meter]
        return models.ReadingList(height=self.height, readings=found[:limit])

    # ------------------------------------------------------------------------------------------------------ inside

    def _draw(self, height: int) -> Draw:
        if height not in self.draws:
            assert height == self.height + 1
            previous = None if not self.blocks else parse_address(self.blocks[-1].summary.producer.address)
            members = tuple(
                DrawMember(
                    account=KEYS[name].public_key,
                    pool_mvote=self.homes[name].pool_mvote,
                    reputation_milli=self.homes[name].reputation_milli,
                    last_mined_height=self.homes[name].last_mined_height,
                    active=self.homes[name].suspended_height is None,
                )
                for name in NAMES_BY_ACCOUNT
            )
            self.draws[height] = Draw(height, self.seeds[height - 1], members, previous, PARAMETERS)
        return self.draws[height]

    def _leader(self, draw: Draw, view: int) -> Party:
        return PARTIES[NAME_OF[draw.leader_account(view)]]

    def _reading_transactions(self, height: int) -> list[Transaction]:
        if height % (PERIOD_MS // BLOCK_MS) != 1:
            return []
        period = (START_MS + height * BLOCK_MS) // PERIOD_MS - 1
        made = []
        for name in NAMES:
            imported, exported = profile(name, period)
            before = self.registers.get(name, (1_000_000, 400_000))
            now = (before[0] + imported, before[1] + exported)
            self.registers[name] = now
            reading = SubmitReading(period, now[0], now[1], (period + 1) * PERIOD_MS - 200, (), None)
            transaction = sign_transaction(METER_KEYS[name], CHAIN_ID, reading)
            self.readings.append(
                models.Reading(
                    transaction_id=transaction.id.hex(),
                    meter=METER_KEYS[name].public_key.hex(),
                    owner=PARTIES[name],
                    period=period,
                    period_start_ms=period * PERIOD_MS,
                    period_start=iso_time(period * PERIOD_MS),
                    import_wh=now[0],
                    export_wh=now[1],
                    imported_wh=imported,
                    exported_wh=exported,
                    sampled_at_ms=(period + 1) * PERIOD_MS - 200,
                    sampled_at=iso_time((period + 1) * PERIOD_MS - 200),
                    minted_mvote=exported,
                )
            )
            made.append(transaction)
        return made

    def _execute(self, transaction: Transaction, height: int, index: int) -> models.Transaction:
        sender = address_text(transaction.sender)
        refusal = None
        if isinstance(transaction.payload, Transfer):
            amount, recipient = transaction.payload.amount, address_text(transaction.payload.recipient)
            self.nonces[sender] = transaction.nonce + 1
            self.balances[sender] = self.balances.get(sender, 0) - transaction.fee_uwatt
            if self.balances[sender] < amount:
                refusal = "insufficient_watt"
            else:
                self.balances[sender] -= amount
                self.balances[recipient] = self.balances.get(recipient, 0) + amount
        decoded = self._decoded(transaction, height, index, refusal)
        self.transactions[decoded.id] = decoded
        return decoded

    def _decoded(
        self, transaction: Transaction, height: int | None, index: int | None, refusal: str | None
    ) -> models.Transaction:
        payload: dict[str, Any]
        if isinstance(transaction.payload, Transfer):
            sender, signed_by = self._party(transaction.sender), "account"
            payload = {
                "recipient": {"address": address_text(transaction.payload.recipient), "name": None},
                "token": "watt",
                "amount": transaction.payload.amount,
                "memo": transaction.payload.memo,
            }
            payload["recipient"]["name"] = self._party(transaction.payload.recipient).name
        else:
            assert isinstance(transaction.payload, SubmitReading)
            name = next(one for one, key in METER_KEYS.items() if key.public_key == transaction.sender)
            sender, signed_by = PARTIES[name], "meter"
            payload = {
                "period": transaction.payload.period,
                "import_wh": transaction.payload.import_wh,
                "export_wh": transaction.payload.export_wh,
                "sampled_at_ms": transaction.payload.sampled_at_ms,
                "phases": [],
                "samples_root": None,
            }
        time_ms = None if height is None else START_MS + height * BLOCK_MS
        return models.Transaction(
            id=transaction.id.hex(),
            kind=transaction.kind.word,
            state="pending" if height is None else "final",
            sender=sender,
            signed_by=signed_by,
            sender_key=transaction.sender.hex(),
            nonce=transaction.nonce,
            fee_uwatt=transaction.fee_uwatt,
            valid_until_height=transaction.valid_until_height,
            payload=payload,
            size_bytes=len(transaction.raw),
            raw=transaction.raw.hex(),
            height=height,
            index=index,
            block_hash=None if height is None else self._hash("block", height),
            time_ms=time_ms,
            time=None if time_ms is None else iso_time(time_ms),
            refusal=refusal,
            note=None if height is None else "",
        )

    def pending_page(self) -> models.PendingPage:
        waiting = [self._decoded(one, None, None, None) for one in self.pending]
        return models.PendingPage(transactions=waiting, total=len(waiting))

    def pending_transaction(self, transaction_id: str) -> models.Transaction | None:
        found = next((one for one in self.pending if one.id.hex() == transaction_id), None)
        return None if found is None else self._decoded(found, None, None, None)

    def _block(self, summary: models.BlockSummary, decoded: list[models.Transaction]) -> models.Block:
        height = summary.height
        return models.Block(
            summary=summary,
            chain_id=CHAIN_ID.hex(),
            parent_hash=self._hash("block", height - 1),
            beacon_proof=self._hash("proof", height) * 2,
            transactions_root=self._hash("transactions", height),
            receipts_root=self._hash("receipts", height),
            state_root=self._hash("state", height),
            parent_certificate_hash=self._hash("certificate", height - 1),
            committee_hash=self._hash("committee", height // 96),
            finalized_view=summary.view,
            signers=[PARTIES[name] for name in NAMES if summary.view == 0 or name != "bob"],
            signed_weight=4_000 if summary.view == 0 else 3_000,
            total_weight=4_000,
            transactions=[
                models.TransactionSummary(index=place, id=one.id, kind=one.kind, sender=one.sender, refusal=one.refusal)
                for place, one in enumerate(decoded)
            ],
        )

    def _events(
        self, summary: models.BlockSummary, skipped: list[models.SkippedTurn], decoded: list[models.Transaction]
    ) -> list[events.NodeEvent]:
        happened: list[events.NodeEvent] = [
            events.BlockFinal(
                height=summary.height,
                hash=summary.hash,
                producer=summary.producer,
                view=summary.view,
                time_ms=summary.time_ms,
                time=summary.time,
                finality_ms=summary.finality_ms,
                transaction_count=summary.transaction_count,
                reading_count=summary.reading_count,
                skipped=skipped,
            )
        ]
        happened.extend(
            events.TransactionFinal(
                id=one.id,
                kind=one.kind,
                height=summary.height,
                refusal=one.refusal,
                note="",
                accounts=sorted(self._concerned(one)),
            )
            for one in decoded
            if one.kind == Kind.TRANSFER.word
        )
        by_id = {reading.transaction_id: reading for reading in self.readings[-len(NAMES) :]}
        happened.extend(
            events.ReadingAccepted(
                transaction_id=one.id,
                meter=by_id[one.id].meter,
                owner=by_id[one.id].owner,
                period=by_id[one.id].period,
                imported_wh=by_id[one.id].imported_wh or 0,
                exported_wh=by_id[one.id].exported_wh or 0,
                height=summary.height,
            )
            for one in decoded
            if one.id in by_id
        )
        return happened

    def _concerned(self, transaction: models.Transaction) -> set[str]:
        concerned = {transaction.sender.address}
        if "recipient" in transaction.payload:
            concerned.add(transaction.payload["recipient"]["address"])
        return concerned

    def _candidate(self, name: str) -> models.Candidate:
        home = self.homes[name]
        total = sum(other.pool_mvote for other in self.homes.values())
        status = CandidateStatus.ACTIVE if home.suspended_height is None else CandidateStatus.SUSPENDED
        if home.is_expelled:
            status = CandidateStatus.EXPELLED
        return models.Candidate(
            account=PARTIES[name],
            status=status.name.lower(),
            pool_mvote=home.pool_mvote,
            pool_share_bps=home.pool_mvote * 10_000 // total,
            shares=home.pool_mvote,
            backer_count=2,
            reputation_milli=home.reputation_milli,
            last_mined_height=home.last_mined_height,
            frozen=[],
            frozen_mvote=0,
            missed_in_row=home.missed_in_row,
            missed_total=home.missed,
            produced_total=home.produced,
            epoch_signed=self.height % 96,
            epoch_counted=self.height % 96,
            suspended_height=home.suspended_height,
            committee_weight=0 if home.is_expelled else POOLS[name],
            out_reason="expelled" if home.is_expelled else None,
            participation_bps=10_000 if self.height % 96 else None,
            low_participation=False,
        )

    def _meter(self, name: str) -> models.Meter:
        registers = self.registers.get(name, (1_000_000, 400_000))
        return models.Meter(
            meter=METER_KEYS[name].public_key.hex(),
            owner=PARTIES[name],
            kind="mixed" if name in {"anne", "george"} else "load",
            role="connection",
            import_nameplate_w=11_000,
            export_nameplate_w=10_000 if name in {"anne", "george"} else 0,
            storage_capacity_wh=0,
            stored_wh=0,
            suspended=False,
            last_period=None,
            last_period_end_ms=None,
            last_period_end=None,
            import_wh=registers[0],
            export_wh=registers[1],
        )

    def _party(self, key: bytes) -> Party:
        return PARTIES[NAME_OF[key]] if key in NAME_OF else Party(address=address_text(key))

    def _parameters(self) -> dict[str, int]:
        return {name: getattr(PARAMETERS, name) for name in Parameters.__struct_fields__}

    def _hash(self, what: str, height: int | str) -> str:
        return sha256(f"{what} {height}".encode()).hexdigest()


def profile(name: str, period: int) -> tuple[int, int]:
    """(imported, exported) Wh of a quarter of an hour: a sunny day, 96 periods long, that begins at dawn."""
    moment = (period - START_MS // PERIOD_MS + 4) % 96
    load = 90 + noise("load", name, period, below=160)
    if name not in {"anne", "george"}:
        return load, 0
    peak = 900 if name == "anne" else 2_100
    sun = max(0, peak * moment * (52 - moment) // 676)
    sun = sun * (70 + noise("cloud", period, below=30)) // 100
    return max(0, load - sun), max(0, sun - load)


NAMES_BY_ACCOUNT = tuple(sorted(NAMES, key=lambda name: KEYS[name].public_key))


def grown(height: int = 137) -> Neighbourhood:
    """The neighbourhood at ``height``, with transfers on the way there, one of them refused."""
    made = Neighbourhood()
    while made.height < height:
        if made.height % 9 == 4:
            place = made.height // 9
            sender, recipient = NAMES[place % 4], NAMES[(place + 1 + place % 3) % 4]
            if sender != recipient:
                made.transfer(sender, recipient, 1_250_000 + noise("amount", place, below=40) * 125_000, "eggs")
        if made.height == 103:
            made.transfer("anne", "george", 900_000_000, "roof")
        made.advance()
    return made
