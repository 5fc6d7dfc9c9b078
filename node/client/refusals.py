"""What to do about a refusal, in a sentence for people: the detail has the figures, this has the way out."""

from __future__ import annotations

from typing import Final

from ledger.refusal import Refusal

ADVICE: Final[dict[str, str]] = {
    Refusal.NO_GATEWAY: "an approver registers the utility as the gateway first",
    Refusal.GATEWAY_DOES_NOT_TRADE: "sign with a member's wallet",
    Refusal.NO_CONNECTION_METER: "an approver registers the home's connection meter first",
    Refusal.OFF_LOT: "say the energy in steps of 0.01 kWh",
    Refusal.OFF_TICK: "say the price in steps of 0.0001 WATT per kWh",
    Refusal.PRICE_OUT_OF_RANGE: "choose a price between the two",
    Refusal.BOOK_CLOSED: "choose a later period: ecloud order periods",
    Refusal.BOOK_NOT_OPEN: "order again once it is open",
    Refusal.BEYOND_NAMEPLATE: "offer less, or cancel another sale of that period: ecloud order list",
    Refusal.TOO_MANY_ORDERS: "cancel one of that period first: ecloud order list",
    Refusal.TOO_MANY_TRADES: "choose another period: ecloud order periods",
    Refusal.SELF_TRADE: "cancel the order that it crosses: ecloud order list",
    Refusal.UNKNOWN_ORDER: "it is filled, cancelled or closed already: ecloud order list",
    Refusal.CYCLE_OPEN: "what it comes to so far: ecloud bill prepare",
    Refusal.BILLS_RECORDED: "see it: ecloud bill show",
    Refusal.BILL_NOT_RECORDED: "anybody records it once its cycle is closed: ecloud bill record",
    Refusal.BILL_PAID: "see it: ecloud bill show",
    Refusal.UNKNOWN_POOL: "see those there are: ecloud energy pool list",
    Refusal.ALREADY_IN_POOL: "leave that one first: ecloud energy pool leave",
    Refusal.UNKNOWN_OFFER: "see those that stand: ecloud contract list",
    Refusal.OUTSIDE_TEMPLATE: "see what the templates allow: ecloud contract templates",
    Refusal.LICENCE_MISSING: "an approver attests it: ecloud contract attest",
    Refusal.TOO_MANY_CONTRACTS: "end one first: ecloud contract list --mine",
}


def advice(refusal: str | None) -> str | None:
    """What to do; None where the refusal says it itself."""
    return None if refusal is None else ADVICE.get(refusal)
