"""Whether the house's breaker is open, and which loads are to be shed, from facts alone.

1. The breaker is open while the member is overdue: it owes what should have been paid before, on a bill or for its part
   of a system that neighbours own. It closes only at zero debt. (docs/protocol.md, Bills; Property.)
2. Loads are shed in the order of the contract's template, first to last. While the feeder is congested, from its
   threshold on, the first is shed, and evenly more of them up to its limit; the last class, what is essential, is never
   shed for congestion. An open breaker sheds all.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Facts:
    """``overdue_uwatt``: debts past their day. ``used_wh`` of the feeder's ``limit_wh`` in the period that runs, and
    the ``threshold_wh`` from which it is congested; a limit of 0 is none. ``order``: the template's, first to last.
    """

    overdue_uwatt: int
    used_wh: int
    threshold_wh: int
    limit_wh: int
    order: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """``reason`` is one line for people."""

    is_open: bool
    shed: tuple[str, ...]
    reason: str


def decide(facts: Facts) -> Decision:
    """See the module's rules."""
    assert min(facts.overdue_uwatt, facts.used_wh, facts.threshold_wh, facts.limit_wh) >= 0
    assert facts.threshold_wh <= facts.limit_wh
    if facts.overdue_uwatt:
        owed = _watt(facts.overdue_uwatt)
        return Decision(True, facts.order, f"{owed} WATT are overdue; it closes when they are paid")
    spared = max(0, len(facts.order) - 1)
    if not spared or not facts.limit_wh or facts.used_wh < facts.threshold_wh:
        return Decision(False, (), "nothing is overdue, the feeder has room")
    span = facts.limit_wh - facts.threshold_wh
    steps = (facts.used_wh - facts.threshold_wh) * spared // span if span else spared
    shed = facts.order[: min(spared, 1 + steps)]
    used = facts.used_wh * 100 // facts.limit_wh
    return Decision(False, shed, f"the feeder is congested: {used} % of its limit is traded")


def _watt(amount_uwatt: int) -> str:
    whole, rest = divmod(amount_uwatt, 1_000_000)
    return f"{whole}.{rest:06d}"
