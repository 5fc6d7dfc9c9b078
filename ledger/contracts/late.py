"""Paying late under a contract.

When a member's bill comes into arrears, it pays the late part of each of its subscriptions (``templates.sureties``)
that counted in the bill's cycle, to a seller to whom the bill leaves something owing: out of the collateral, as far as
that reaches. Once for each bill.
"""

from __future__ import annotations

from msgspec.structs import replace

from ledger.agreements import CONTRACT_PARTIES, CONTRACT_SUBSCRIPTIONS, last_eight
from ledger.balances import give_watt
from ledger.contracts.rules import sureties_of
from ledger.contracts.standing import get_offer, subscriptions_of, tell
from ledger.effects import EffectKind
from ledger.execution import Execution
from ledger.records import CLAIMS, height_key


def fine_late(execution: Execution, cycle: int, buyer: bytes) -> None:
    """For the buyer's bill of the cycle, which has just come into arrears."""
    state, parameters = execution.state, execution.parameters
    first = cycle * parameters.billing_cycle_periods
    end = first + parameters.billing_cycle_periods
    for key, party in list(CONTRACT_PARTIES.scan(state, buyer)):
        if party.is_seller:
            continue
        number = last_eight(key)
        offer = get_offer(state, number)
        claim = CLAIMS.get(state, height_key(cycle), buyer, offer.seller)
        if claim is None or claim.owed_uwatt <= claim.due_uwatt:
            continue
        for subscriber, from_period, subscription in list(subscriptions_of(state, number)):
            if subscriber != buyer or from_period >= end or subscription.until_period <= first:
                continue
            late_uwatt = sureties_of(parameters, offer, from_period, subscription).late_uwatt
            taken = min(late_uwatt, subscription.collateral_uwatt)
            left = replace(subscription, collateral_uwatt=subscription.collateral_uwatt - taken)
            CONTRACT_SUBSCRIPTIONS.put(state, left, height_key(number), buyer, height_key(from_period))
            give_watt(state, offer.seller, taken)
            tell(execution, EffectKind.CONTRACT_PENALTY, number, offer.seller, taken, buyer)
            tell(execution, EffectKind.CONTRACT_PENALTY, number, buyer, 0, offer.seller)
