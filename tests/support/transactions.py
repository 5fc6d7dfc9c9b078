"""Signed transactions of any nonce and period, whether or not a chain would take them."""

from __future__ import annotations

from ledger.transactions import SubmitReading, Token, Transaction, Transfer, sign_transaction
from tests.support.chain import FEE_UWATT, Chain


def payment(
    chain: Chain,
    name: str,
    nonce: int = 0,
    *,
    amount: int = 5,
    fee_uwatt: int = FEE_UWATT,
    valid_until_height: int = 50,
    chain_id: bytes | None = None,
) -> Transaction:
    """To george, or from him to anne."""
    recipient = chain.home("anne" if name == "george" else "george").id
    return sign_transaction(
        chain.home(name).account,
        chain_id or chain.chain_id,
        Transfer(recipient=recipient, token=Token.WATT, amount=amount, memo=""),
        nonce=nonce,
        fee_uwatt=fee_uwatt,
        valid_until_height=valid_until_height,
    )


def meter_reading(chain: Chain, name: str, period: int, import_wh: int = 0, export_wh: int = 0) -> Transaction:
    payload = SubmitReading(
        period=period,
        import_wh=import_wh,
        export_wh=export_wh,
        sampled_at_ms=(period + 1) * chain.open.parameters.period_ms,
        phases=(),
        samples_root=None,
    )
    return sign_transaction(chain.home(name).meter, chain.chain_id, payload)
