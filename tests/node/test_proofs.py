"""Proofs that need no node: of an account, of a transaction, from an old committee on; any byte changed is found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from ledger.transactions import Token, Transfer
from node.client.models import StateProof, TransactionProof
from node.views.proofs import (
    ProofWrong,
    check_account_proof,
    check_transaction_proof,
    prove_account,
    prove_transaction,
)
from node.views.reader import NotFound, Reader
from storage.memory import MemoryChain
from tests.support.chain import Chain
from tests.support.disk import copy_chain

HEIGHT = 60
PAID_AT = 45


class Kept:
    def finality_ms(self, height: int) -> int | None:
        return None


@pytest.fixture(scope="module")
def chain() -> Chain:
    made = Chain()
    pay = Transfer(recipient=made.home("bob").id, token=Token.WATT, amount=5, memo="")
    for height in range(1, HEIGHT + 1):
        transactions = [made.sign(name, pay) for name in ("anne", "carla", "george") if height == PAID_AT]
        if height == 30:
            transactions.append(made.change_node_key("george"))
        made.produce(transactions)
    return made


@pytest.fixture(scope="module")
def reader(chain: Chain) -> Reader:
    return Reader(copy_chain(chain, MemoryChain()).store, Kept())


def first_committee(reader: Reader) -> str:
    return reader.committee(1).hash.hex()


def test_who_trusts_the_first_committee_can_check_the_newest_block(chain: Chain, reader: Reader) -> None:
    proof = prove_account(reader, chain.home("bob").id, since=1)
    assert len(proof.path) >= 1
    proven = check_account_proof(proof, first_committee(reader))
    assert proven.record == chain.account("bob")
    assert proven.height == HEIGHT
    # And who trusts the newest needs no path
    assert check_account_proof(proof, reader.committee(HEIGHT).hash.hex()) == proven
    # And a path that begins later does not begin with the first
    with pytest.raises(ProofWrong, match="not the one you trust"):
        check_account_proof(prove_account(reader, chain.home("bob").id, since=20), first_committee(reader))


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_transaction_and_its_receipt_are_proven(chain: Chain, reader: Reader, position: int) -> None:
    transaction = chain.blocks[PAID_AT - 1].transactions[position]
    proof = prove_transaction(reader, transaction.id.hex(), since=1)
    proven = check_transaction_proof(proof, first_committee(reader))
    assert (proven.transaction, proven.height) == (transaction, PAID_AT)
    assert proven.receipt == chain.blocks[PAID_AT - 1].result.receipts[position]


def test_what_is_in_no_block_cannot_be_proven(reader: Reader) -> None:
    for unknown in ("00" * 32, "nonsense"):
        with pytest.raises(NotFound):
            prove_transaction(reader, unknown)


def altered(proof: StateProof | TransactionProof) -> Iterator[dict[str, Any]]:
    """The proof with one hexadecimal digit, number or list changed at a time."""
    fields = msgspec.structs.asdict(proof)
    for name, value in fields.items():
        if name in {"committee_snapshot_height", "count"}:
            continue  # nothing rests on them: the first is for people, and a tree of 3 and of 4 leaves share proofs
        if isinstance(value, str) and name != "record":
            for place in {0, len(value) // 3, len(value) // 2, len(value) - 1}:
                digit = "0" if value[place] != "0" else "1"
                yield {name: value[:place] + digit + value[place + 1 :]}
        elif isinstance(value, int):
            yield {name: value + 1}
        elif isinstance(value, list) and value:
            yield {name: value[:-1]}
            if len(value) > 1:
                yield {name: value[::-1]}
            if isinstance(value[0], str):
                for place in (5, len(value[0]) // 2, len(value[0]) - 1):
                    digit = "0" if value[0][place] != "0" else "1"
                    yield {name: [value[0][:place] + digit + value[0][place + 1 :], *value[1:]]}


def test_whatever_is_changed_is_found(chain: Chain, reader: Reader) -> None:
    trusted = first_committee(reader)
    transaction = chain.blocks[PAID_AT - 1].transactions[1]
    of_account = prove_account(reader, chain.home("bob").id, since=1)
    of_transaction = prove_transaction(reader, transaction.id.hex(), since=1)
    for changes in altered(of_account):
        if "since" in changes:
            continue  # from where on its committee is trusted, as long as the steps lie above
        with pytest.raises(ProofWrong):
            check_account_proof(msgspec.structs.replace(of_account, **changes), trusted)
    for changes in altered(of_transaction):
        if "since" in changes:
            continue
        with pytest.raises(ProofWrong):
            check_transaction_proof(msgspec.structs.replace(of_transaction, **changes), trusted)
