"""The market of the recorded neighbourhood: the ledger's own books and the node's own views of them, on a state in
memory. Carla is the utility; george sells his solar noon, anne and bob buy; prices fall towards noon.
"""

from __future__ import annotations

from collections.abc import Iterator

from ledger.block import BlockContext
from ledger.execute import PrescribedOrder, execute_block
from ledger.genesis import Genesis, GenesisFeeder, GenesisMember, chain_id, genesis_changes
from ledger.market.matching import Side
from ledger.parameters import Parameters
from ledger.records import ACCOUNTS, MeterKind, MeterRole, Role
from ledger.state import DictReader, State
from ledger.transactions import Payload, PlaceOrder, RegisterMeter, sign_transaction
from node.client import models
from node.views.market import Market, tariff_list
from node.views.reader import Reader
from storage.interface import Tip
from tests.tui import neighbourhood as street

PERIOD_MS = 900_000
PARAMETERS = Parameters(block_interval_ms=2_000, utc_offset_minutes=120, max_open_orders=64, minimum_fee_uwatt=1_000)
BUY, SELL = Side.BUY, Side.SELL


class StateView:
    """Of ``ChainView`` what the views of the state read."""

    def __init__(self, reader: DictReader, height: int) -> None:
        self._reader = reader
        self._height = height

    def tip(self) -> Tip:
        return Tip(self._height, bytes(32), bytes(32))

    def get(self, key: bytes) -> bytes | None:
        return self._reader.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._reader.scan(prefix)

    def scan_above(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        for found in self._reader.data.irange(key, inclusive=(False, True)):  # type: ignore[attr-defined]  # no types
            yield found, self._reader.data[found]


class RecordedMarket:
    """Blocks as they are asked for; ``height`` is that of the neighbourhood, which has blocks of its own."""

    def __init__(self) -> None:
        self.reader = DictReader({})
        genesis = make_genesis()
        self.chain_id = chain_id(genesis)
        self.reader.apply(genesis_changes(genesis))
        self.blocks = 0
        self.time_ms = genesis.time_ms

    @property
    def first_open(self) -> int:
        return self._market(1).first_open

    def order(self, name: str, side: Side, period: int, energy_wh: int, limit: int) -> None:
        """Placed and filled in a block of its own."""
        self.execute(name, PlaceOrder(side, (period,), energy_wh, limit))

    def execute(self, name: str, payload: Payload) -> None:
        self.blocks += 1
        self.time_ms += 1
        account = ACCOUNTS.get(State(self.reader), street.KEYS[name].public_key)
        assert account is not None
        transaction = sign_transaction(
            street.KEYS[name],
            self.chain_id,
            payload,
            nonce=account.nonce,
            fee_uwatt=1_000,
            valid_until_height=self.blocks + 10,
        )
        context = BlockContext(
            chain_id=self.chain_id,
            height=self.blocks,
            time_ms=self.time_ms,
            producer=street.KEYS["carla"].public_key,
            skipped=(),
            signers=frozenset(),
            committee=frozenset(),
            beacon=bytes(64),
            seed=bytes(32),
        )
        assert PrescribedOrder(context.beacon).key(transaction)
        result = execute_block(self.reader, context, [transaction])
        assert result.receipts[0].refusal is None, result.receipts[0]
        self.reader.apply(result.changes)

    def lived(self) -> RecordedMarket:
        """A morning's and an afternoon's trading, and books that are open on both sides."""
        first = self.first_open
        for place in range(40):
            period = first + place
            noon = abs(place - 20)
            mid = 130_000 + 4_000 * noon
            step = 100 * street.noise("step", place, below=40)
            self.order("george", SELL, period, 300 + 10 * street.noise("sun", place, below=60), mid + step)
            self.order("anne", BUY, period, 100 + 10 * street.noise("anne", place, below=30), mid + 6_000)
            self.order("bob", BUY, period, 50 + 10 * street.noise("bob", place, below=20), mid - 9_000 + step)
            self.order("george", SELL, period, 250, mid + 18_000)
        for place in range(6):
            self.order("anne" if place % 2 else "bob", BUY, first, 30 + 10 * place, 212_000 + 500 * place)
            self.order("george", SELL, first, 40, 208_000 - 700 * place)
        for level in range(1, 9):
            self.order("george", SELL, first, 20 + 10 * street.noise("ask", level, below=25), 225_000 + 4_500 * level)
            self.order("bob", BUY, first, 20 + 10 * street.noise("bid", level, below=30), 205_000 - 5_500 * level)
        self.order("anne", BUY, first, 150, 196_000)
        self.order("anne", BUY, first + 1, 250, 182_000)
        self.order("anne", SELL, first + 3, 400, 262_000)
        return self

    # -- what the API says

    def answer(self, path: list[str], query: dict[str, str], height: int) -> models.Model | None:
        market = self._market(height)
        limit = int(query.get("limit", "96"))
        match path:
            case []:
                return market.overview(None, limit, busy=query.get("busy") == "true")
            case ["prices"]:
                return market.prices(None, limit)
            case ["tariffs"]:
                return tariff_list(market.reader)
            case ["orders", who]:
                return market.own_orders(market.reader.resolve(who), None, limit)
            case ["periods", period, "book"]:
                return market.book(int(period), int(query["depth"]), int(query["orders"]))
            case ["periods", period, "trades"]:
                return market.trades(int(period), None, limit)
        return None

    def finality_ms(self, _height: int) -> int | None:
        return None

    def _market(self, height: int) -> Market:
        view = StateView(self.reader, height)
        return Market(Reader(view, self), street.START_MS)  # type: ignore[arg-type]  # all that the views read


def make_genesis() -> Genesis:
    members = tuple(
        GenesisMember(
            account=street.KEYS[name].public_key,
            name=name,
            roles=int(Role.GATEWAY | Role.APPROVER) if name == "carla" else 0,
            feeder="feeder-1",
            node_key=street.NODE_KEYS[name].public_key,
            watt_uwatt=1_000_000_000,
            grid_ugrid=0,
            voting_rule=None,
        )
        for name in street.NAMES
    )
    meters = tuple(
        RegisterMeter(
            meter=street.METER_KEYS[name].public_key,
            owner=street.KEYS[name].public_key,
            kind=MeterKind.SOLAR,
            role=MeterRole.CONNECTION,
            import_nameplate_w=17_000,
            export_nameplate_w=20_000,
            storage_capacity_wh=0,
            import_wh=0,
            export_wh=0,
        )
        for name in street.NAMES
    )
    return Genesis(
        name="sonnenweg",
        time_ms=street.START_MS - 60_000,
        parameters=PARAMETERS,
        feeders=(GenesisFeeder("feeder-1", "sonnenweg"),),
        members=members,
        meters=meters,
        grid_supply_ugrid=0,
        grid_reserve_ugrid=0,
    )
