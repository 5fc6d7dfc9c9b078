"""The bills of the recorded neighbourhood: the ledger's own cycles and the node's own views of them, on a state in
memory. Carla is the utility; george sells his sun to anne and bob. The first cycle is paid, the second due, the third
open; in each anne's meter says nothing of one period.
"""

from __future__ import annotations

from msgspec.structs import replace

from ledger.block import BlockContext
from ledger.effects import SettledLine
from ledger.execute import PrescribedOrder, execute_block
from ledger.genesis import chain_id, genesis_changes
from ledger.market.matching import Side
from ledger.records import ACCOUNTS
from ledger.settlement.lines import next_period
from ledger.state import DictReader, State
from ledger.transactions import (
    PayBill,
    Payload,
    PlaceOrder,
    RecordBills,
    SubmitReading,
    Transaction,
    sign_transaction,
)
from node.client import models
from node.views import bill_lines, bills
from node.views.reader import Reader
from storage.interface import HistoryItem, TransactionPlace
from tests.tui import neighbourhood as street
from tests.tui.market import PARAMETERS, PERIOD_MS, StateView, make_genesis

CYCLE_PERIODS = 8
CYCLES = 3
SILENT_PLACE = 5


class RecordedBills:
    def __init__(self) -> None:
        parameters = replace(
            PARAMETERS, billing_cycle_periods=CYCLE_PERIODS, reading_deadline_ms=1_000, settlement_blocks=1
        )
        start_ms = street.START_MS // (PERIOD_MS * CYCLE_PERIODS) * PERIOD_MS * CYCLE_PERIODS
        genesis = replace(make_genesis(), parameters=parameters, time_ms=start_ms - PERIOD_MS + 1)
        self.reader = DictReader({})
        self.chain_id = chain_id(genesis)
        self.reader.apply(genesis_changes(genesis))
        self.first = start_ms // PERIOD_MS
        self.time_ms = genesis.time_ms
        self.height = 0
        self.lines: dict[int, tuple[SettledLine, ...]] = {}
        self.places: dict[bytes, TransactionPlace] = {}
        self.registers = dict.fromkeys(street.NAMES, (0, 0))

    def lived(self) -> RecordedBills:
        self._trade(self.first)
        self._pass(self.first - 1)
        for period in range(self.first, self.first + CYCLES * CYCLE_PERIODS - 3):
            self._trade(period + 1)
            self._pass(period)
            if (period + 1 - self.first) % CYCLE_PERIODS == 0:
                cycle = period // CYCLE_PERIODS
                self._block(self._signed("bob", RecordBills(cycle, 0)))
                if period < self.first + CYCLE_PERIODS:
                    self.pay("anne", cycle)
        return self

    def answer(self, path: list[str], query: dict[str, str], height: int) -> models.Model | None:
        reader = _Reader(self, height)
        match path:
            case [who]:
                return bills.bill_page(reader, reader.resolve(who), None, int(query["limit"]))
            case [who, "current"]:
                return bills.current_bill(reader, reader.resolve(who))
            case [who, cycle]:
                return bills.bill_view(reader, int(cycle), reader.resolve(who))
            case [who, cycle, "lines", line]:
                return bill_lines.explain(reader, int(cycle), reader.resolve(who), line, None)
        return None

    def pay(self, name: str, cycle: int) -> None:
        self._block(self._signed(name, PayBill(cycle)))

    def _trade(self, period: int) -> None:
        """In the quarter of an hour before, so that the book is open."""
        sun = 20 * street.noise("sun", period - self.first, below=30)
        limit = 150_000 + 10_000 * ((period - self.first) // 4)
        for name, side, energy_wh in (
            ("george", Side.SELL, 600 + sun),
            ("anne", Side.BUY, 300),
            ("bob", Side.BUY, 200),
        ):
            self._block(self._signed(name, PlaceOrder(side, (period,), energy_wh, limit)))

    def _pass(self, period: int) -> None:
        """Meters say what they measured, and the period is settled."""
        self.time_ms = max(self.time_ms, (period + 1) * PERIOD_MS)
        readings = []
        for name, imported, exported in (("anne", 380, 40), ("bob", 450, 0), ("george", 60, 1_500)):
            before = self.registers[name]
            grown = street.noise(name, period - self.first, below=200)
            self.registers[name] = (before[0] + imported + grown, before[1] + exported)
            if name == "anne" and (period - self.first) % CYCLE_PERIODS == SILENT_PLACE:
                continue
            payload = SubmitReading(period, *self.registers[name], (period + 1) * PERIOD_MS, (), None)
            readings.append(sign_transaction(street.METER_KEYS[name], self.chain_id, payload))
        self._block(*readings)
        while next_period(State(self.reader)) <= period:
            self._block()

    def _signed(self, name: str, payload: Payload) -> Transaction:
        account = ACCOUNTS.get(State(self.reader), street.KEYS[name].public_key)
        assert account is not None
        return sign_transaction(
            street.KEYS[name],
            self.chain_id,
            payload,
            nonce=account.nonce,
            fee_uwatt=1_000,
            valid_until_height=self.height + 10,
        )

    def _block(self, *transactions: Transaction) -> None:
        self.height += 1
        self.time_ms += 2_000
        context = BlockContext(
            chain_id=self.chain_id,
            height=self.height,
            time_ms=self.time_ms,
            producer=street.KEYS["carla"].public_key,
            skipped=(),
            signers=frozenset(),
            committee=frozenset(),
            beacon=bytes(64),
            seed=bytes(32),
        )
        ordered = sorted(transactions, key=PrescribedOrder(context.beacon).key)
        result = execute_block(self.reader, context, ordered)
        assert all(receipt.refusal is None for receipt in result.receipts), result.receipts
        self.reader.apply(result.changes)
        self.lines[self.height] = result.lines
        for position, transaction in enumerate(ordered):
            self.places[transaction.id] = TransactionPlace(self.height, position)

    def finality_ms(self, _height: int) -> int | None:
        return None


class _View(StateView):
    def __init__(self, recorded: RecordedBills, height: int) -> None:
        super().__init__(recorded.reader, height)
        self._recorded = recorded

    def find_transaction(self, transaction_id: bytes) -> TransactionPlace | None:
        return self._recorded.places.get(transaction_id)

    def history(self, _account: bytes, _before: tuple[int, int] | None, _limit: int) -> list[HistoryItem]:
        return []  # every reading is still in the state


class _Reader(Reader):
    def __init__(self, recorded: RecordedBills, height: int) -> None:
        super().__init__(_View(recorded, height), recorded)  # type: ignore[arg-type]  # all that the views read
        self._lines = recorded.lines

    def settled_lines(self, height: int) -> tuple[SettledLine, ...]:
        return self._lines[height]
