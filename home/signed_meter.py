"""A meter with a key of its own: what it signs comes by MQTT, and is checked before it is queued.

1. A message is one reading as the chain takes it, signed. Refused by name and counted is what is no reading, is another
   meter's, is signed wrong, or is of another chain.
2. A reading of a period at or before the last queued one was queued before: it is acknowledged, and that is all. A
   meter sends its readings in order, each until it is acknowledged.
"""

from __future__ import annotations

from collections import Counter

from home.metering import Schedule, TakenReading
from ledger.refusal import TransactionRefused
from ledger.transactions import SubmitReading, decode_transaction


class ReadingError(Exception):
    """A message that is no reading of this home's meter; ``word`` counts its kind."""

    def __init__(self, word: str, sentence: str) -> None:
        super().__init__(sentence)
        self.word = word


class SignedMeter:
    """``public_key``: 32 bytes."""

    def __init__(self, public_key: bytes, schedule: Schedule) -> None:
        self._public_key = public_key
        self._schedule = schedule
        self.refused: Counter[str] = Counter()

    def check(self, message: bytes) -> TakenReading:
        """Errors: ReadingError."""
        try:
            return self._checked(message)
        except ReadingError as error:
            self.refused[error.word] += 1
            raise

    def _checked(self, message: bytes) -> TakenReading:
        try:
            transaction = decode_transaction(message)
        except TransactionRefused as error:
            raise ReadingError("no-reading", f"a message that is no signed reading: {error}") from error
        payload = transaction.payload
        if not isinstance(payload, SubmitReading):
            raise ReadingError("no-reading", f"a signed {type(payload).__name__}, which is no reading")
        if transaction.sender != self._public_key:
            raise ReadingError("other-meter", f"a reading of another meter, {transaction.sender.hex()[:16]}…")
        if transaction.chain_id.hex() != self._schedule.chain_id:
            raise ReadingError("other-chain", f"a reading for another chain, {transaction.chain_id.hex()[:16]}…")
        if not transaction.has_valid_signature():
            raise ReadingError("signature-wrong", f"the reading of period {payload.period} is not signed by the meter")
        return TakenReading(payload.period, payload.import_wh, payload.export_wh, transaction)
