"""The worked examples of ``docs/protocol.md``, computed by the project's own code.

``python -m tests.docs.protocol_examples`` prints them as they stand in the document.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from consensus import vrf
from consensus.block import NO_HASH, VERSION, Header
from consensus.certificates import build_certificate
from consensus.committee import Committee
from consensus.draw import Draw, DrawMember, beacon_alpha, draw_number, next_seed
from consensus.messages import Vote, Votes, encode_message
from ledger.encoding import encode
from ledger.genesis import genesis_seed
from ledger.keys import Domain, SigningKey, address_text
from ledger.merkle import inclusion_proof, merkle_root
from ledger.parameters import Parameters
from ledger.records import ACCOUNTS, NAMES, TIP, Account, CommitteeSnapshot, Name, SnapshotMember
from ledger.split import split
from ledger.statements import Statement, StatementKind
from ledger.transactions import DelegateNodeKey, SubmitReading, Transaction, Transfer, sign_transaction
from node.protocol import PROTOCOL_VERSION, BlockRange, Status, TransactionBatch, topic
from p2p.libp2p.streams import frame
from p2p.peer_identity import peer_id_from_public_key
from storage.state_tree import prove, tree_of

Values = dict[str, str]

CHAIN: Final = bytes([0xC1]) * 32
SEED: Final = bytes([0x5E]) * 32
ANNE, BOB, CARLA, NODE, METER = (SigningKey(bytes([number]) * 32) for number in (1, 2, 3, 4, 5))
PARAMETERS: Final = Parameters()


def _keys() -> Values:
    return {
        "seed": ANNE.seed.hex(),
        "public_key": ANNE.public_key.hex(),
        "address": address_text(ANNE.public_key),
        "peer_id": peer_id_from_public_key(ANNE.public_key),
    }


def _encoding() -> Values:
    plain = (0, 23, 24, 1_000, -1, b"\x01\x02", "für", True, None, (), (1, (2,)))
    return {repr(value).replace("(2,)", "[2]").replace("(1, [2])", "[1, [2]]"): encode(value).hex() for value in plain}


def _signed(transaction: Transaction, domain: Domain = Domain.TRANSACTION) -> Values:
    return {
        "body": transaction.body.hex(),
        "signed_bytes": (domain.value + CHAIN + transaction.body).hex(),
        "signature": transaction.signature.hex(),
        "raw": transaction.raw.hex(),
        "id": transaction.id.hex(),
    }


def _transfer() -> Values:
    payload = Transfer(recipient=BOB.public_key, token=1, amount=12_500_000, memo="for the ladder")
    return _signed(sign_transaction(ANNE, CHAIN, payload, nonce=7, fee_uwatt=1_000, valid_until_height=120))


def _reading() -> Values:
    payload = SubmitReading(
        period=1_994_776, import_wh=138, export_wh=6_610, sampled_at_ms=1_795_299_300_250, phases=(), samples_root=None
    )
    return _signed(sign_transaction(METER, CHAIN, payload))


def _delegation() -> Values:
    proof = NODE.sign(Domain.NODE_KEY, CHAIN, ANNE.public_key)
    return {
        "signed_bytes": (Domain.NODE_KEY.value + CHAIN + ANNE.public_key).hex(),
        "proof": proof.hex(),
        "payload": encode(DelegateNodeKey(node_key=NODE.public_key, proof=proof)).hex(),
    }


def _merkle() -> Values:
    leaves = (b"a", b"b", b"c")
    return {
        "root_of_nothing": merkle_root(()).hex(),
        "root_of_a": merkle_root(leaves[:1]).hex(),
        "root_of_a_b_c": merkle_root(leaves).hex(),
        "proof_of_c": " ".join(one.hex() for one in inclusion_proof(leaves, 2)),
    }


def _snapshot() -> CommitteeSnapshot:
    keys = sorted((ANNE, BOB, CARLA, NODE), key=lambda key: key.public_key)
    return CommitteeSnapshot(
        tuple(
            SnapshotMember(
                account=key.public_key,
                node_key=SigningKey(bytes([0x10 + key.seed[0]]) * 32).public_key,
                pool_mvote=100_000,
                reputation_milli=1_000 * index,
                weight=50_000,
            )
            for index, key in enumerate(keys)
        )
    )


def _node_keys() -> list[SigningKey]:
    """In seat order."""
    accounts = sorted((ANNE, BOB, CARLA, NODE), key=lambda key: key.public_key)
    return [SigningKey(bytes([0x10 + key.seed[0]]) * 32) for key in accounts]


def _committee() -> Values:
    snapshot = _snapshot()
    return {"encoded": encode(snapshot).hex(), "hash": Committee(snapshot).hash.hex()}


def _statement() -> Statement:
    return Statement(StatementKind.FINALIZE, 5, 0, bytes([0xB5]) * 32)


def _statement_values() -> Values:
    statement, key = _statement(), _node_keys()[0]
    return {
        "encoded": statement.message().hex(),
        "signed_bytes": (Domain.VOTE.value + CHAIN + statement.message()).hex(),
        "signature": key.sign(Domain.VOTE, CHAIN, statement.message()).hex(),
    }


def _certificate() -> Values:
    statement = _statement()
    signatures = {
        seat: key.sign(Domain.VOTE, CHAIN, statement.message()) for seat, key in enumerate(_node_keys()) if seat != 1
    }
    certificate = build_certificate(statement, signatures, Committee(_snapshot()))
    return {"signers": certificate.signers.hex(), "encoded": encode(certificate).hex(), "hash": certificate.hash.hex()}


def _header() -> Values:
    header = Header(
        version=VERSION,
        chain_id=CHAIN,
        height=1,
        view=0,
        time_ms=1_795_299_119_719,
        parent_hash=CHAIN,
        producer=ANNE.public_key,
        beacon_proof=vrf.prove(NODE.seed, beacon_alpha(CHAIN, SEED, 1, 0)),
        transactions_root=merkle_root(()),
        receipts_root=merkle_root(()),
        state_root=bytes(32),
        parent_certificate_hash=NO_HASH,
        committee_hash=Committee(_snapshot()).hash,
    )
    return {"encoded": encode(header).hex(), "hash": header.hash.hex()}


def _beacon() -> Values:
    alpha = beacon_alpha(CHAIN, SEED, 1, 0)
    proof = vrf.prove(NODE.seed, alpha)
    beta = vrf.verify(NODE.public_key, alpha, proof)
    return {
        "genesis_seed": genesis_seed(CHAIN).hex(),
        "seed": SEED.hex(),
        "alpha": alpha.hex(),
        "public_key": NODE.public_key.hex(),
        "proof": proof.hex(),
        "beta": beta.hex(),
        "next_seed": next_seed(SEED, beta).hex(),
    }


def _draw() -> Values:
    mined = (98, 91, 60, 99)
    members = tuple(
        DrawMember(member.account, member.pool_mvote + 1_000 * index, member.reputation_milli, mined[index], True)
        for index, member in enumerate(_snapshot().members)
    )
    turn = Draw(100, SEED, members, members[3].account, PARAMETERS).turn(0)
    return {
        "pools_mvote": " ".join(str(member.pool_mvote) for member in members),
        "reputations_milli": " ".join(str(member.reputation_milli) for member in members),
        "last_mined": " ".join(map(str, mined)),
        "entrants": " ".join(map(str, turn.entrants)),
        "weights": " ".join(map(str, turn.weights)),
        "total": str(turn.total),
        "u": str(draw_number(SEED, 100, 0)),
        "ticket": str(turn.ticket),
        "winner": str(turn.winner),
    }


def _split() -> Values:
    weights = {b"a": 50, b"b": 30, b"c": 20}
    return {"split(999, a:50 b:30 c:20)": " ".join(str(part) for part in split(999, weights).values())}


def _state_tree() -> Values:
    account = Account(nonce=8, watt_uwatt=87_499_000, grid_ugrid=1_000_000_000, votes_mvote=0)
    records = {
        ACCOUNTS.key(ANNE.public_key): encode(account),
        ACCOUNTS.key(BOB.public_key): encode(Account(watt_uwatt=1)),
        NAMES.key(b"anne"): encode(Name(account=ANNE.public_key)),
    }
    update = tree_of(records)
    proof = prove(update.nodes.get, ACCOUNTS.key(ANNE.public_key))
    absent = prove(update.nodes.get, TIP.key())
    assert proof.leaf is not None
    return {
        "key": ACCOUNTS.key(ANNE.public_key).hex(),
        "value": encode(account).hex(),
        "leaf": " ".join(part.hex() for part in proof.leaf),
        "siblings": " ".join(one.hex() for one in proof.siblings),
        "root": update.root.hex(),
        "siblings_of_absent_20": " ".join(one.hex() for one in absent.siblings),
    }


def _messages() -> Values:
    statement, key = _statement(), _node_keys()[0]
    vote = Vote(statement, key.public_key, key.sign(Domain.VOTE, CHAIN, statement.message()))
    return {
        "topic": topic(CHAIN, "consensus"),
        "votes": encode_message(Votes((vote,)), 1).hex(),
        "batch": encode(TransactionBatch((bytes.fromhex("01"), bytes.fromhex("0203")), 9)).hex(),
    }


def _streams() -> Values:
    status = Status(PROTOCOL_VERSION, CHAIN, 5, bytes([0xB5]) * 32, 1_795_299_120_000)
    return {
        "status": encode(status).hex(),
        "status_request": frame(encode(status)).hex(),
        "range": encode(BlockRange(first=1, count=64)).hex(),
        "range_request": frame(encode(BlockRange(first=1, count=64))).hex(),
        "certificates_request": frame(encode(6)).hex(),
        "empty_answer": (b"\x00" + frame(encode(()))).hex(),
        "refused_answer": (b"\x01" + frame(b"no")).hex(),
    }


EXAMPLES: Final[dict[str, Callable[[], Values]]] = {
    "keys": _keys,
    "encoding": _encoding,
    "transfer": _transfer,
    "reading": _reading,
    "delegation": _delegation,
    "merkle": _merkle,
    "statement": _statement_values,
    "committee": _committee,
    "certificate": _certificate,
    "header": _header,
    "beacon": _beacon,
    "draw": _draw,
    "split": _split,
    "state tree": _state_tree,
    "messages": _messages,
    "streams": _streams,
}


if __name__ == "__main__":
    for name, compute in EXAMPLES.items():
        print(f"```example {name}")
        for key, value in compute().items():
            print(f"{key} = {value}")
        print("```\n")
