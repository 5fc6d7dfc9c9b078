"""What a rule works on while one block is executed, and what a rule is.

1. Every transaction kind has one ``Rule``: ``check`` refuses what can never be valid, from the transaction alone;
   ``apply`` carries it out on the state, or refuses it.
2. A rule refuses by raising ``TransactionRefused``; whoever calls ``apply`` undoes what it wrote.
3. A rule names every account it concerns (``concern``), so that each account's history is complete.
4. A rule that can do much for one fee counts what it does (``count_work``): one unit for each order placed or taken
   out and for each it meets on the way, and for each 16 books that an offer of a contract looks into. A transaction
   that needs more than ``MAX_TRANSACTION_WORK`` is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from ledger.effects import Effect, SettledLine
from ledger.parameters import Parameters
from ledger.records import PARAMETERS, TIP, Tip
from ledger.refusal import Refusal, TransactionRefused
from ledger.state import State
from ledger.transactions import Transaction

P = TypeVar("P")

MAX_TRANSACTION_WORK: Final = 4_096
"""A unit takes some 0.1 to 0.2 ms."""


@dataclass(slots=True)
class Execution:
    """One block's working set. ``height`` and ``time_ms`` are the block's.

    ``concerned`` and ``note`` belong to the transaction at hand: the accounts it touches, in order, and what to say in
    its receipt; ``index`` is its place in the block, None before the first. ``effects`` and ``lines``, what was
    settled, are the whole block's, and so is ``work``, which may not pass ``work_limit`` in the transaction at hand.
    """

    state: State
    parameters: Parameters
    chain_id: bytes
    height: int
    time_ms: int
    concerned: dict[bytes, None] = field(default_factory=dict)
    note: str = ""
    index: int | None = None
    effects: list[Effect] = field(default_factory=list)
    lines: list[SettledLine] = field(default_factory=list)
    work: int = 0
    work_limit: int = MAX_TRANSACTION_WORK

    def concern(self, account: bytes) -> None:
        self.concerned[account] = None

    def begin_work(self) -> None:
        """A transaction begins."""
        self.work_limit = self.work + MAX_TRANSACTION_WORK

    def count_work(self) -> None:
        """One unit more. Errors: TransactionRefused TOO_MUCH_WORK."""
        if self.work == self.work_limit:
            raise TransactionRefused(
                Refusal.TOO_MUCH_WORK,
                f"it places, takes out and meets more than {MAX_TRANSACTION_WORK} orders; cut it in parts",
            )
        self.work += 1


@dataclass(frozen=True, slots=True)
class Rule(Generic[P]):
    """What one kind of transaction means. ``apply`` gets the account that acts, not the key that signed."""

    check: Callable[[Transaction, P], None]
    apply: Callable[[Execution, bytes, P], None]


def get_parameters(state: State) -> Parameters:
    """The chain's parameters; every state since genesis holds them."""
    parameters = PARAMETERS.get(state)
    assert parameters is not None, "this is not the state of a chain: it has no parameters"
    return parameters


def get_tip(state: State) -> Tip:
    """Where the chain stands; every state since genesis holds it."""
    tip = TIP.get(state)
    assert tip is not None, "this is not the state of a chain: it has no tip"
    return tip
