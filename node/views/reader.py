"""One snapshot of the chain, read as blocks and records, with every account's name at hand.

1. Whatever a question names that is not there raises ``NotFound``, whose text says what to do.
2. A ``Reader`` lives as long as the snapshot it was made on, in one thread.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from consensus.block import MAX_BLOCK_BYTES, MAX_CERTIFICATE_BYTES, Block, Certificate
from consensus.committee import Committee
from ledger.block import Receipt
from ledger.committee import find_committee
from ledger.effects import Effect, SettledLine
from ledger.encoding import decode
from ledger.execution import get_parameters
from ledger.keys import AddressError, address_text, parse_address
from ledger.parameters import Parameters
from ledger.records import ACCOUNTS, MEMBERS, METERS, NAMES, NODE_KEYS, CommitteeSnapshot, Member
from ledger.state import State
from ledger.transactions import MAX_NAME_CHARACTERS, NODE_KEY_KINDS, Kind, Transaction
from node.client.models import Party
from node.draw_facts import DrawFacts, collect_draw_facts
from node.effects import Effects, decode_effects
from storage.interface import ChainView

T = TypeVar("T")


class NotFound(LookupError):
    """What was asked for is not there. The text is a sentence that says what to do."""


class Kept(Protocol):
    """What the node remembers besides what it stores; called from worker threads."""

    def finality_ms(self, height: int) -> int | None: ...


class Reader:
    """See the module's rules."""

    def __init__(self, chain: ChainView, kept: Kept) -> None:
        tip = chain.tip()
        if tip is None:
            raise NotFound("this node has no block yet; it waits for its first peer")
        self.chain = chain
        self.kept = kept
        self.tip = tip
        self.height = tip.height
        self.state = State(chain)
        self._parties: dict[bytes, Party] = {}
        self._effects_at: dict[int, Effects] = {}

    @property
    def parameters(self) -> Parameters:
        return get_parameters(self.state)

    # -- who

    def party(self, account: bytes) -> Party:
        found = self._parties.get(account)
        if found is None:
            member = MEMBERS.get(self.state, account)
            found = Party(address=address_text(account), name=None if member is None else member.name)
            self._parties[account] = found
        return found

    def member(self, account: bytes) -> Member | None:
        return MEMBERS.get(self.state, account)

    def resolve(self, who: str) -> bytes:
        """The account that an address, a member's name or a key in hex stands for. Errors: NotFound."""
        name = NAMES.get(self.state, who.encode()) if 0 < len(who) <= MAX_NAME_CHARACTERS else None
        if name is not None:
            return name.account
        key = hex_key(who)
        if key is not None:
            return key
        try:
            return parse_address(who)
        except AddressError as error:
            if who.startswith("ec") and len(who) > MAX_NAME_CHARACTERS:
                raise NotFound(f"{who!r} is no address: {error}") from error
            raise NotFound(f"no member is called {who!r}; GET /v1/members lists them all") from error

    def exists(self, account: bytes) -> bool:
        return ACCOUNTS.get(self.state, account) is not None or self.member(account) is not None

    def acting_account(self, transaction: Transaction) -> tuple[bytes, str]:
        """The account a transaction acts for, and with which of its keys it was signed: account, node_key, meter."""
        if transaction.kind is Kind.SUBMIT_READING:
            meter = METERS.get(self.state, transaction.sender)
            return (transaction.sender if meter is None else meter.owner), "meter"
        if transaction.kind in NODE_KEY_KINDS:
            node_key = NODE_KEYS.get(self.state, transaction.sender)
            if node_key is not None:
                return node_key.account, "node_key"
        return transaction.sender, "account"

    # -- blocks

    def block(self, height: int) -> Block:
        """Errors: NotFound above the tip and for the genesis; storage's Pruned and Damaged."""
        return decode(self._stored(height, self.chain.block(height)), Block, MAX_BLOCK_BYTES)

    def block_bytes(self, height: int) -> bytes:
        return self._stored(height, self.chain.block(height))

    def certificate_bytes(self, height: int) -> bytes:
        return self._stored(height, self.chain.certificate(height))

    def certificate(self, height: int) -> Certificate:
        return decode(self.certificate_bytes(height), Certificate, MAX_CERTIFICATE_BYTES)

    def receipts(self, height: int) -> tuple[Receipt, ...]:
        return self._effects(height).receipts

    def account_effects(self, height: int) -> tuple[Effect, ...]:
        return self._effects(height).accounts

    def settled_lines(self, height: int) -> tuple[SettledLine, ...]:
        return self._effects(height).lines

    def draw_facts(self, height: int) -> DrawFacts:
        """What the draw of a height up to the next was made from. Errors: as ``block``."""
        return collect_draw_facts(self.chain) if height == self.height + 1 else self._effects(height).draw

    def _effects(self, height: int) -> Effects:
        if height not in self._effects_at:
            self._effects_at[height] = decode_effects(self._stored(height, self.chain.receipts(height)))
        return self._effects_at[height]

    def _stored(self, height: int, data: bytes | None) -> bytes:
        if height == 0:
            raise NotFound("height 0 is the genesis, which is no block: GET /v1/genesis")
        if data is None:
            raise NotFound(f"no block at height {height} yet; the newest is {self.height}")
        return data

    # -- committees

    def committee_snapshot(self, height: int) -> CommitteeSnapshot:
        """The committee of a height up to the next. Errors: NotFound, and Pruned if the snapshot is not kept."""
        if not 1 <= height <= self.height + 1:
            raise NotFound(f"no committee is known for height {height}; ask for 1 to {self.height + 1}")
        found = find_committee(self.state, height)
        if found is None:
            found = self.draw_facts(self.draw_facts(height).committee_height).committee
        assert found is not None, "the facts of a snapshot's first height hold the snapshot"
        return found

    def committee(self, height: int) -> Committee:
        return Committee(self.committee_snapshot(height))


def hex_key(text: str) -> bytes | None:
    """32 bytes from 64 hexadecimal digits, else None."""
    if len(text) != 64:
        return None
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None


def word(number: int, words: type[T]) -> str:
    """An enumeration's member as the API writes it; the bare number where a newer chain knows more than this node."""
    try:
        return str(words(number).name).lower()  # type: ignore[call-arg, attr-defined]  # always an IntEnum
    except ValueError:
        return str(number)
