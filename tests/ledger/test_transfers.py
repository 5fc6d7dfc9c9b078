"""Transfers of WATT and GRID."""

from __future__ import annotations

import pytest

from ledger.refusal import Refusal
from ledger.transactions import MAX_MEMO_BYTES, Token, Transfer
from tests.ledger.neighbourhood import GRID_UGRID, WATT_UWATT, Neighbourhood, account_key

FEE = 1_000


def transfer(to: str, amount: int, token: int = Token.WATT, memo: str = "") -> Transfer:
    return Transfer(recipient=account_key(to).public_key, token=int(token), amount=amount, memo=memo)


def test_watt_moves_and_the_fee_goes_to_the_producer() -> None:
    street = Neighbourhood()
    assert (
        street.refusal(street.sign("bob", transfer("carla", 250, memo="x" * MAX_MEMO_BYTES)), producer="anne") is None
    )

    assert street.account("bob").watt_uwatt == WATT_UWATT - 250 - FEE
    assert street.account("carla").watt_uwatt == WATT_UWATT + 250
    assert street.account("anne").watt_uwatt == WATT_UWATT + FEE
    assert street.account("bob").nonce == 1


def test_grid_moves() -> None:
    street = Neighbourhood()
    assert street.refusal(street.sign("bob", transfer("carla", GRID_UGRID, Token.GRID))) is None

    assert street.account("bob").grid_ugrid == 0
    assert street.account("carla").grid_ugrid == 2 * GRID_UGRID


def test_the_first_credit_makes_an_account_which_can_then_send() -> None:
    street = Neighbourhood()
    assert street.refusal(street.sign("bob", transfer("stranger", 5_000))) is None
    assert street.refusal(street.sign("stranger", transfer("bob", 4_000))) is None

    assert street.account("stranger").watt_uwatt == 0


def test_all_but_the_fee_can_be_sent_and_no_more() -> None:
    street = Neighbourhood()
    assert street.refusal(street.sign("bob", transfer("carla", WATT_UWATT - FEE + 1))) is Refusal.INSUFFICIENT_WATT
    assert street.account("bob").watt_uwatt == WATT_UWATT - FEE
    assert street.refusal(street.sign("bob", transfer("carla", WATT_UWATT - 2 * FEE))) is None
    assert street.account("bob").watt_uwatt == 0


def test_the_producers_own_fee_returns_to_it_before_it_spends() -> None:
    street = Neighbourhood()
    assert street.refusal(street.sign("anne", transfer("bob", WATT_UWATT)), producer="anne") is None

    assert street.account("anne").watt_uwatt == 0


def test_more_grid_than_there_is_is_refused() -> None:
    street = Neighbourhood()
    assert (
        street.refusal(street.sign("bob", transfer("carla", GRID_UGRID + 1, Token.GRID))) is Refusal.INSUFFICIENT_GRID
    )
    assert street.account("bob").grid_ugrid == GRID_UGRID


@pytest.mark.parametrize(
    ("payload", "refusal"),
    [
        (transfer("carla", 0), Refusal.AMOUNT_ZERO),
        (transfer("bob", 1), Refusal.SAME_ACCOUNT),
        (transfer("carla", 1, token=3), Refusal.MALFORMED),
        (transfer("carla", 1, memo="ü" * 33), Refusal.OVERSIZED),
    ],
)
def test_what_can_never_be_valid_is_refused_and_has_no_place_in_a_block(payload: Transfer, refusal: Refusal) -> None:
    street = Neighbourhood()
    transaction = street.sign("bob", payload)

    assert street.admission(transaction) is refusal
    assert street.is_invalid(transaction)
