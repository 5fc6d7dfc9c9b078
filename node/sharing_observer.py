"""Turns what a final block did to sharing pools and contracts into events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from consensus.chain_rules import ExecutedBlock
from ledger.agreements import CONTRACT_OFFERS, SHARING_POOLS, last_eight
from ledger.market.terms import first_open_period
from ledger.records import height_key
from ledger.state import State
from ledger.transactions import (
    ChangeContractPrice,
    EndContract,
    JoinPool,
    LeavePool,
    OfferContract,
    OpenPool,
    SetPoolRule,
    SubscribeContract,
)
from node.client.events import ContractChanged, NodeEvent, PoolChanged
from node.views.reader import Reader

_POOL_CHANGES = {JoinPool: "joined", SetPoolRule: "rule_set"}
_CONTRACT_CHANGES = {SubscribeContract: "subscribed", ChangeContractPrice: "price_changed", EndContract: "ended"}


class SharingObserver:
    """Remembers names and founders of pools and the sellers of offers: some are gone when they are told of."""

    def __init__(self, state: State) -> None:
        self._pools = {last_eight(key): (pool.name, pool.founder) for key, pool in SHARING_POOLS.scan(state)}
        self._sellers = {last_eight(key): offer.seller for key, offer in CONTRACT_OFFERS.scan(state)}

    def block(self, reader: Reader, executed: ExecutedBlock) -> list[NodeEvent]:
        """The block's events: what was over before its transactions, then what these did, in order."""
        header = executed.block.header
        period = first_open_period(reader.parameters, header.time_ms)
        over = [number for number in self._sellers if CONTRACT_OFFERS.get(reader.state, height_key(number)) is None]
        events: list[NodeEvent] = []
        for number in over:
            seller = reader.party(self._sellers.pop(number))
            events.append(
                ContractChanged(
                    offer=number, change="over", seller=seller, member=seller, from_period=period, height=header.height
                )
            )
        opened, offered = self._new_pools(reader), self._new_offers(reader)
        for transaction, receipt in zip(executed.transactions, executed.result.receipts, strict=True):
            if receipt.refusal is None:
                account = reader.acting_account(transaction)[0]
                payload = transaction.payload
                if isinstance(payload, OpenPool | JoinPool | LeavePool | SetPoolRule):
                    number = next(opened[account]) if isinstance(payload, OpenPool) else payload.pool
                    events.append(self._pool_event(reader, number, payload, account, period, header.height))
                elif isinstance(payload, OfferContract | SubscribeContract | ChangeContractPrice | EndContract):
                    number = next(offered[account]) if isinstance(payload, OfferContract) else payload.offer
                    events.append(
                        ContractChanged(
                            offer=number,
                            change=_CONTRACT_CHANGES.get(type(payload), "offered"),
                            seller=reader.party(self._sellers[number]),
                            member=reader.party(account),
                            from_period=period,
                            height=header.height,
                        )
                    )
        return events

    def _pool_event(
        self,
        reader: Reader,
        number: int,
        payload: OpenPool | JoinPool | LeavePool | SetPoolRule,
        account: bytes,
        period: int,
        height: int,
    ) -> PoolChanged:
        name, founder = self._pools[number]
        if isinstance(payload, LeavePool):
            change = "ended" if account == founder else "left"
        else:
            change = _POOL_CHANGES.get(type(payload), "opened")
        return PoolChanged(
            pool=number, name=name, change=change, member=reader.party(account), from_period=period, height=height
        )

    def _new_pools(self, reader: Reader) -> dict[bytes, Iterator[int]]:
        """By founder, in the order in which they were opened."""
        found: dict[bytes, list[int]] = defaultdict(list)
        for key, pool in SHARING_POOLS.scan(reader.state):
            number = last_eight(key)
            if number not in self._pools:
                self._pools[number] = (pool.name, pool.founder)
                found[pool.founder].append(number)
        return {founder: iter(numbers) for founder, numbers in found.items()}

    def _new_offers(self, reader: Reader) -> dict[bytes, Iterator[int]]:
        """By seller, in the order in which they were offered."""
        found: dict[bytes, list[int]] = defaultdict(list)
        for key, offer in CONTRACT_OFFERS.scan(reader.state):
            number = last_eight(key)
            if number not in self._sellers:
                self._sellers[number] = offer.seller
                found[offer.seller].append(number)
        return {seller: iter(numbers) for seller, numbers in found.items()}
