"""Every reason for which a transaction is refused, one word each, the same in the API, the command line, the terminal
and the tests.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Refusal(StrEnum):
    # the bytes
    MALFORMED = "malformed"
    OVERSIZED = "oversized"
    NOT_CANONICAL = "not_canonical"
    UNKNOWN_KIND = "unknown_kind"
    UNKNOWN_VERSION = "unknown_version"
    WRONG_CHAIN = "wrong_chain"
    BAD_SIGNATURE = "bad_signature"
    # the envelope
    NONCE_USED = "nonce_used"
    NONCE_TOO_HIGH = "nonce_too_high"
    EXPIRED = "expired"
    VALID_TOO_LONG = "valid_too_long"
    FEE_TOO_LOW = "fee_too_low"
    CANNOT_PAY_FEE = "cannot_pay_fee"
    KEY_NOT_ALLOWED = "key_not_allowed"
    DUPLICATE = "duplicate"
    # amounts
    AMOUNT_ZERO = "amount_zero"
    AMOUNT_TOO_SMALL = "amount_too_small"
    AMOUNT_OVERFLOW = "amount_overflow"
    INSUFFICIENT_WATT = "insufficient_watt"
    INSUFFICIENT_GRID = "insufficient_grid"
    INSUFFICIENT_VOTES = "insufficient_votes"
    SAME_ACCOUNT = "same_account"
    # who
    NOT_A_MEMBER = "not_a_member"
    NOT_APPROVER = "not_approver"
    NAME_TAKEN = "name_taken"
    BAD_NAME = "bad_name"
    ALREADY_MEMBER = "already_member"
    TOO_MANY_MEMBERS = "too_many_members"
    UNKNOWN_FEEDER = "unknown_feeder"
    KEY_IN_USE = "key_in_use"
    BAD_KEY_PROOF = "bad_key_proof"
    ONE_GATEWAY = "one_gateway"
    # meters and readings
    UNKNOWN_METER = "unknown_meter"
    TOO_MANY_METERS = "too_many_meters"
    CONNECTION_METER_EXISTS = "connection_meter_exists"
    METER_SUSPENDED = "meter_suspended"
    REGISTERS_BACKWARDS = "registers_backwards"
    ABOVE_NAMEPLATE = "above_nameplate"
    PERIOD_NOT_INCREASING = "period_not_increasing"
    PERIOD_NOT_ENDED = "period_not_ended"
    OUTSIDE_WINDOW = "outside_window"
    SAMPLED_OUTSIDE_TOLERANCE = "sampled_outside_tolerance"
    SAMPLED_AFTER_BLOCK = "sampled_after_block"
    # the market
    NO_GATEWAY = "no_gateway"
    GATEWAY_DOES_NOT_TRADE = "gateway_does_not_trade"
    NO_CONNECTION_METER = "no_connection_meter"
    OFF_LOT = "off_lot"
    OFF_TICK = "off_tick"
    PRICE_OUT_OF_RANGE = "price_out_of_range"
    BOOK_CLOSED = "book_closed"
    BOOK_NOT_OPEN = "book_not_open"
    BEYOND_NAMEPLATE = "beyond_nameplate"
    TOO_MANY_ORDERS = "too_many_orders"
    TOO_MANY_TRADES = "too_many_trades"
    TOO_MUCH_WORK = "too_much_work"
    SELF_TRADE = "self_trade"
    UNKNOWN_ORDER = "unknown_order"
    # sharing pools and contracts
    UNKNOWN_POOL = "unknown_pool"
    ALREADY_IN_POOL = "already_in_pool"
    NOT_IN_POOL = "not_in_pool"
    NOT_FOUNDER = "not_founder"
    BAD_SHARES = "bad_shares"
    UNKNOWN_OFFER = "unknown_offer"
    NOT_OFFERED = "not_offered"
    OUTSIDE_TEMPLATE = "outside_template"
    LICENCE_MISSING = "licence_missing"
    TOO_MANY_CONTRACTS = "too_many_contracts"
    TOO_MANY_PARTICIPANTS = "too_many_participants"
    ALREADY_SUBSCRIBED = "already_subscribed"
    NOT_A_PARTY = "not_a_party"
    PRICE_ABOVE_LIMIT = "price_above_limit"
    PRICE_CHANGE_TOO_LARGE = "price_change_too_large"
    # bills
    CYCLE_OPEN = "cycle_open"
    UNKNOWN_CYCLE = "unknown_cycle"
    UNKNOWN_PAGE = "unknown_page"
    BILLS_RECORDED = "bills_recorded"
    BILL_NOT_RECORDED = "bill_not_recorded"
    BILL_PAID = "bill_paid"
    # votes and turns
    NOT_A_CANDIDATE = "not_a_candidate"
    CANDIDATE_EXPELLED = "candidate_expelled"
    BAD_VOTING_RULE = "bad_voting_rule"
    NOT_SUSPENDED = "not_suspended"
    NO_EQUIVOCATION = "no_equivocation"
    # the node, not the rules
    MEMPOOL_FULL = "mempool_full"
    SENDER_QUEUE_FULL = "sender_queue_full"
    FEE_NOT_HIGHER = "fee_not_higher"
    DISK_FULL = "disk_full"


RETRY_MAY_HELP: Final = frozenset(
    {
        Refusal.NONCE_TOO_HIGH,
        Refusal.MEMPOOL_FULL,
        Refusal.SENDER_QUEUE_FULL,
        Refusal.DISK_FULL,
        Refusal.PERIOD_NOT_ENDED,
        Refusal.SAMPLED_AFTER_BLOCK,
        Refusal.BOOK_NOT_OPEN,
        Refusal.TOO_MUCH_WORK,
        Refusal.CYCLE_OPEN,
        Refusal.BILL_NOT_RECORDED,
    }
)
"""Refusals of the moment: the same bytes may be accepted later. All others need a different transaction or a different
state.
"""


class TransactionRefused(Exception):
    """A transaction is refused. ``detail`` says, in a sentence with the figures, what would have been right."""

    def __init__(self, refusal: Refusal, detail: str) -> None:
        super().__init__(f"{refusal.value}: {detail}")
        self.refusal = refusal
        self.detail = detail

    @property
    def retry_may_help(self) -> bool:
        return self.refusal in RETRY_MAY_HELP
