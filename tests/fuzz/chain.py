"""Targets of the chain itself: what nodes and wallets hand each other, on a real chain with real keys."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from consensus.block import MAX_BLOCK_BYTES, NO_HASH, Block, Certificate
from consensus.certificates import signers, verify_certificate
from consensus.chain_rules import InvalidBlock as BrokenRule
from consensus.chain_rules import verify_final
from consensus.engine import Engine, FinalBlockInvalid, Instant
from consensus.messages import (
    Abridged,
    Certificates,
    Holding,
    Holdings,
    Proposal,
    Vote,
    Votes,
    decode_message,
    encode_message,
)
from consensus.vrf import VrfError
from consensus.vrf import verify as verify_beacon
from ledger.block import InvalidBlock
from ledger.encoding import EncodingError, Wire, convert, decode, decode_plain, encode
from ledger.execute import admit, check_form, select_transactions
from ledger.keys import Domain, digest
from ledger.merkle import merkle_root
from ledger.refusal import TransactionRefused
from ledger.statements import SignedStatement, Statement, StatementKind
from ledger.transactions import (
    MAX_TRANSACTION_BYTES,
    VERSION,
    CastVotes,
    Kind,
    PayBill,
    RecordBills,
    RegisterMember,
    RegisterMeter,
    Rejoin,
    ReportEquivocation,
    SetVotingRule,
    Signed,
    SubmitReading,
    Token,
    Transaction,
    Transfer,
    WithdrawVotes,
    decode_transaction,
)
from node.announcements import Announcements
from node.chain import NodeChain
from node.gossip import SignatureCache, TransactionGossip, decode_batch
from node.judge import Judge
from node.log import get
from node.protocol import BLOCKS, BODY, CERTIFICATES, Announcement, StoredBlock, TransactionBatch
from node.relay import Relay
from node.serving import Serving
from p2p.network import Handler, Offence, RequestRefused, Verdict
from storage.memory import MemoryChain
from storage.state_tree import Proof, verify
from tests.fuzz.mutation import any_bytes, any_cbor
from tests.fuzz.target import ACCEPTED, Feed, Target, virtually
from tests.ledger import wire_examples as ledger_examples
from tests.node import wire_examples as node_examples
from tests.support.chain import FEE_UWATT, Chain

VECTORS: Final = Path(__file__).parents[1] / "vectors"
MAX_BYTES: Final = 1024 * 1024
HEIGHT: Final = 4


def _vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


def _hex(values: Any) -> list[bytes]:
    return [bytes.fromhex(value) for value in values]


def _grown() -> Chain:
    """A chain of HEIGHT blocks with a transfer and a reading in it."""
    chain = Chain()
    pay = Transfer(recipient=chain.home("bob").id, token=Token.WATT, amount=5, memo="für die Leiter")
    period_ms = chain.open.parameters.period_ms
    chain.produce([chain.sign("anne", pay)])
    for _ in range(HEIGHT - 2):
        chain.produce(time_ms=chain.open.earliest_ms + period_ms)
    chain.produce([chain.read("george", 20, 4)])
    return chain


def _node(chain: Chain) -> NodeChain:
    """A node that has the chain's blocks."""
    node = NodeChain(MemoryChain(), chain.genesis, None, chain.verifier, SignatureCache())
    for height in range(1, chain.height + 1):
        committed = chain.committed(height)
        stored = StoredBlock(block=encode(committed.block), certificate=encode(committed.certificate))
        found = node.execute_stored(stored, chain.verifier)
        assert found is not None
        node.commit(*found)
    return node


# -- encodings


def _plain() -> tuple[Sequence[bytes], Feed]:
    types = _vectors("ledger_wire.json")["types"]
    golden = [*_hex(types.values()), encode((0, -1, b"", "für", None, True, ((),)))]

    def feed(data: bytes) -> str:
        try:
            value = decode_plain(data, MAX_BYTES)
        except EncodingError as error:
            return type(error).__name__
        assert encode(value) == data
        return ACCEPTED

    return golden, feed


def _wire() -> tuple[Sequence[bytes], Feed]:
    examples: tuple[Wire, ...] = (*ledger_examples.EXAMPLES, *node_examples.EXAMPLES)
    types = {type(example) for example in examples}

    def feed(data: bytes) -> str:
        try:
            plain = decode_plain(data, MAX_BYTES)
        except EncodingError as error:
            return type(error).__name__
        ended = "EncodingError"
        for type_ in types:
            try:
                value = convert(plain, type_)
            except EncodingError:
                continue
            assert encode(value) == data, type_.__name__
            assert hash(value) == hash(decode(data, type_, MAX_BYTES))
            ended = ACCEPTED
        return ended

    return [encode(example) for example in examples], feed


# -- transactions


def _transactions() -> tuple[Sequence[bytes], Feed]:
    golden = _hex(vector["raw"] for vector in _vectors("ledger_wire.json")["transactions"].values())

    def feed(data: bytes) -> str:
        try:
            transaction = decode_transaction(data)
        except TransactionRefused as refused:
            return refused.refusal.value
        assert encode(Signed(body=transaction.body, signature=transaction.signature)) == data == transaction.raw
        assert digest(transaction.body) == transaction.id
        assert isinstance(transaction.has_valid_signature(), bool)
        return ACCEPTED

    return golden, feed


def _ledger() -> tuple[Sequence[bytes], Feed]:
    """Fields of a transaction, signed by someone the chain knows: what only the ledger itself can refuse."""
    chain = _grown()
    anne, bob, george = (chain.home(name) for name in ("anne", "bob", "george"))
    keys = [key for home in (anne, bob, george) for key in (home.account, home.node, home.meter)]
    twice = [Statement(StatementKind.NOTARIZE, 2, 0, digest(word)) for word in (b"one", b"two")]
    first, second = (SignedStatement(one, bob.node.sign(Domain.VOTE, chain.chain_id, one.message())) for one in twice)
    reading = chain.read("george", 900, 70).payload
    assert isinstance(reading, SubmitReading)
    newcomer = digest(b"newcomer")
    payloads: list[tuple[int, Any]] = [
        (0, Transfer(recipient=bob.id, token=Token.WATT, amount=5, memo="x")),
        (0, RegisterMember(account=newcomer, name="dora", roles=0, feeder="mill lane")),
        (0, RegisterMeter(newcomer, bob.id, 0, 1, 17_000, 0, 0, 5, 6)),
        (0, CastVotes(candidate=bob.id, amount_mvote=5)),
        (3, WithdrawVotes(candidate=bob.id, amount_mvote=5)),
        (3, SetVotingRule(keep_bps=10_000, targets=())),
        (4, Rejoin()),
        (7, ReportEquivocation(bob.node.public_key, first, second)),
        (8, reading),
        (6, chain.delegate("george").payload),
        (3, RecordBills(cycle=0, page=1)),
        (3, PayBill(cycle=0)),
    ]
    kinds = {type(payload).__name__: kind for kind in Kind for _, payload in payloads if _is(kind, payload)}
    golden = [encode((who, 0, FEE_UWATT, 50, int(kinds[type(payload).__name__]), payload)) for who, payload in payloads]
    golden += [encode((0, 1, FEE_UWATT, 50, int(Kind.TRANSFER), payloads[0][1]))]
    height = chain.open
    context = height.context(0, height.earliest_ms, bytes(64), chain.certificates[-1])

    def feed(data: bytes) -> str:
        try:
            who, nonce, fee_uwatt, until, kind, payload = decode_plain(data, MAX_BYTES)
            key = keys[who % len(keys)]
            body = encode((VERSION, chain.chain_id, key.public_key, nonce, fee_uwatt, until, kind, payload))
        except (EncodingError, ValueError, TypeError):
            return "no fields"
        raw = encode(Signed(body=body, signature=key.sign(Domain.TRANSACTION, chain.chain_id, body)))
        try:
            transaction = decode_transaction(raw)
            check_form(transaction, chain.chain_id)
            admit(chain.state, chain.chain_id, transaction, height=height.height, time_ms=height.earliest_ms)
        except TransactionRefused as refused:
            return refused.refusal.value
        taken, result = select_transactions(chain.state, context, [transaction], MAX_BYTES, 10)  # checks all sums
        return f"taken, {result.receipts[0].refusal or 'took effect'}" if taken else "left out"

    return golden, feed


def _is(kind: Kind, payload: object) -> bool:
    return kind.name.replace("_", "").lower() == type(payload).__name__.lower()


def _batches() -> tuple[Sequence[bytes], Feed]:
    chain = _grown()
    pay = Transfer(recipient=bytes(32), token=Token.WATT, amount=5, memo="")
    raws = [chain.sign("anne", pay, ahead=ahead).raw for ahead in range(3)]
    network = _Recorder()
    known = {home.id for home in chain.homes.values()}
    gossip = TransactionGossip(
        network,  # type: ignore[arg-type]
        "transactions",
        chain.chain_id,
        SignatureCache(),
        lambda _: False,
        known.__contains__,
        1,
    )

    def feed(data: bytes) -> str:
        gossip._unread.clear()
        gossip._unread_bytes = 0
        verdict = gossip.validate("peer", data)
        batch = decode_batch(data, chain.chain_id)
        assert (verdict is Verdict.REJECT) or batch is not None
        return verdict.value

    return [encode(TransactionBatch(tuple(raws[:count]), 7)) for count in (1, 2, 3)], feed


# -- consensus


def _messages() -> tuple[Sequence[bytes], Feed]:
    """Decoded, judged, and, as in the driver, handed to the engine unless rejected."""
    chain = _grown()
    node = _node(chain)
    context = node.height_context()
    relay = Relay(Judge(chain.verifier, node.body_is_bound), chain.verifier)
    relay.open(context)
    list(relay.due(["a neighbour"], 0))
    block = chain.build([chain.sign("anne", Rejoin())], time_ms=chain.open.earliest_ms).block
    leader = chain.leader().node
    notarized = chain.certify(block, kind=StatementKind.NOTARIZE)
    votes = []
    for kind in (StatementKind.NOTARIZE, StatementKind.NULLIFY, StatementKind.FINALIZE):
        for name in ("anne", "bob", "carla"):
            statement = Statement(kind, context.height, 0, None if kind is StatementKind.NULLIFY else block.hash)
            key = chain.home(name).node
            signature = key.sign(statement.domain(), chain.chain_id, statement.message())
            votes.append(Vote(statement, key.public_key, signature))
    proposed = Statement(StatementKind.PROPOSAL, context.height, 0, block.hash)
    signature = leader.sign(proposed.domain(), chain.chain_id, proposed.message())
    golden = [
        encode_message(Proposal(context.height, 0, block, (), leader.public_key, signature), 1),
        encode_message(Proposal(context.height, 0, block, (notarized,), leader.public_key, signature), 1),
        encode_message(Votes(tuple(votes)), 2),
        encode_message(Votes(tuple(votes[:1])), 3),
        encode_message(Certificates((notarized,)), 4),
        encode_message(Certificates((chain.certify(block),)), 5),
        encode_message(Certificates((chain.certify(block, signers=("anne",)),)), 6),
        encode_message(Abridged(Proposal(context.height, 0, block, (), leader.public_key, signature), b""), 7),
        encode_message(Holdings(context.height, 0, (Holding(votes[0].statement, b"\x05"),), (proposed,)), 8),
    ]

    def feed(data: bytes) -> str:
        try:
            message = decode_message(data)
        except EncodingError as error:
            return type(error).__name__
        salt = decode_plain(data, MAX_BYTES)[2]
        assert encode_message(message, salt) == data
        heard = relay.hear("a neighbour", message, 0, 0)
        list(relay.due(["a neighbour", "another"], 0))
        if heard.messages:
            engine = Engine(None, chain.verifier, node.body_is_bound)
            now = Instant(wall_ms=chain.open.earliest_ms, monotonic_ms=1_000)
            engine.open_height(context, now)
            for part in heard.messages:
                engine.on_message(part, leader.public_key, now)
                engine.on_message(part, None, now)
        return heard.verdict.value

    return golden, feed


def _certificates() -> tuple[Sequence[bytes], Feed]:
    chain = _grown()
    committee = chain.open.committee
    block = chain.build().block
    golden = [encode(chain.certify(block, kind=kind)) for kind in (StatementKind.NOTARIZE, StatementKind.FINALIZE)]
    golden += [encode(chain.certify(block, signers=("anne",))), encode(chain.certificates[-1])]
    genuine = [decode(data, Certificate, MAX_BYTES) for data in golden]

    def feed(data: bytes) -> str:
        try:
            certificate = decode(data, Certificate, MAX_BYTES)
        except EncodingError as error:
            return type(error).__name__
        assert encode(certificate) == data
        signers(certificate, committee)
        final = verify_final(block.header, certificate, committee, chain.verifier)
        good = verify_certificate(certificate, committee, chain.verifier)
        if good:
            statements = [(one.kind, one.height, one.view, one.block_hash) for one in genuine]
            made = (certificate.kind, certificate.height, certificate.view, certificate.block_hash)
            assert made in statements, "nobody signed that"
        return "final" if final else "good" if good else "not good"

    return golden, feed


def _blocks() -> tuple[Sequence[bytes], Feed]:
    """A block as it came, and once more with the roots in its header mended, so that what is behind them is reached."""
    chain = _grown()
    node = _node(chain)
    pay = Transfer(recipient=chain.home("bob").id, token=Token.WATT, amount=5, memo="")
    contents: list[list[Transaction]] = [
        [],
        [chain.sign("anne", pay), chain.sign("anne", pay, ahead=1), chain.read("bob", 9, 0)],
    ]
    golden = [encode(chain.build(content).block) for content in contents]

    def feed(data: bytes) -> str:
        try:
            block = decode(data, Block, MAX_BLOCK_BYTES)
        except EncodingError as error:
            return type(error).__name__
        assert encode(block) == data
        ended = ACCEPTED
        for one in (block, _mended(block)):
            bound = node.body_is_bound(one)
            try:
                node.execute(one)
                assert bound
            except BrokenRule as error:
                ended = error.fault.name.lower()
        return ended

    return golden, feed


def _mended(block: Block) -> Block:
    ids = []
    for raw in block.transactions:
        try:
            ids.append(digest(decode(raw, Signed, MAX_TRANSACTION_BYTES).body))
        except EncodingError:
            return block
    certificate = block.parent_certificate
    header = msgspec.structs.replace(
        block.header,
        transactions_root=merkle_root(ids),
        parent_certificate_hash=NO_HASH if certificate is None else certificate.hash,
    )
    return msgspec.structs.replace(block, header=header)


def _stored_blocks() -> tuple[Sequence[bytes], Feed]:
    """What a peer serves to a node that is one block behind."""
    chain = _grown()
    node = _node(chain)
    executed = chain.produce([chain.read("bob", 5, 0)])
    committed = chain.committed(chain.height)
    golden = [encode((encode(committed.block), encode(committed.certificate)))]

    def feed(data: bytes) -> str:
        try:
            stored = decode(data, StoredBlock, MAX_BYTES)
            found = node.execute_stored(stored, chain.verifier)
        except (EncodingError, InvalidBlock) as error:
            return type(error).__name__
        except FinalBlockInvalid as error:
            raise AssertionError("a peer must not be able to make a node give up") from error
        if found is None:
            return "another height"
        assert found[0].hash == executed.hash
        return ACCEPTED

    return golden, feed


def _announcements() -> tuple[Sequence[bytes], Feed]:
    chain = _grown()
    tip = chain.blocks[-1].block
    golden = [encode(Announcement(tip.header, chain.certificates[-1]))]
    heights: list[int] = []

    def committee_at(height: int) -> Any:
        return chain.open.parent_committee if height == chain.height else None

    announcements = Announcements(_Recorder(), "blocks", committee_at, chain.verifier, heights.append)  # type: ignore[arg-type]
    return golden, lambda data: announcements.validate("peer", data).value


def _beacons() -> tuple[Sequence[bytes], Feed]:
    """A key, a proof and what it is of, one behind the other."""
    vectors = _vectors("ecvrf_rfc9381.json")
    golden = [
        bytes.fromhex(one["public_key"]) + bytes.fromhex(one["proof"]) + bytes.fromhex(one["alpha"])
        for one in vectors["vectors"]
    ]

    def feed(data: bytes) -> str:
        try:
            beta = verify_beacon(data[:32], data[112:], data[32:112])
        except VrfError:
            return "VrfError"
        assert data in golden, "a proof was forged"
        assert len(beta) == 64
        return ACCEPTED

    return golden, feed


# -- state proofs and what is asked over streams


def _tree_proofs() -> tuple[Sequence[bytes], Feed]:
    """[key, value or null, [sibling, …], null or [hash, hash]] against a root."""
    from storage.state_tree import prove, tree_of

    records = {digest(bytes([number])): bytes([number]) * 9 for number in range(40)}
    tree = tree_of(records)
    root, absent = tree.root, digest(b"absent")
    golden = []
    for key in [*list(records)[:5], absent]:
        proof = prove(tree.nodes.get, key)
        golden.append(encode((key, records.get(key), proof.siblings, proof.leaf)))

    def feed(data: bytes) -> str:
        try:
            key, value, siblings, leaf = decode_plain(data, MAX_BYTES)
        except (EncodingError, ValueError, TypeError):
            return "no fields"
        if not isinstance(key, bytes) or not (value is None or isinstance(value, bytes)):
            return "no fields"
        made = Proof(
            tuple(siblings) if isinstance(siblings, list) else siblings, tuple(leaf) if isinstance(leaf, list) else leaf
        )
        if not verify(root, key, value, made):
            return "refused"
        assert records.get(key) == value, "a proof was forged"
        return ACCEPTED

    return golden, feed


class _Recorder:
    """Where a node's services register what they answer, and complain about peers."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}
        self.complaints = 0

    def serve(self, protocol: str, handler: Handler) -> None:
        self.handlers[protocol] = handler

    def subscribe(self, _topic: str, _validator: object) -> None:
        """Nothing comes."""

    def penalise(self, _peer: str, _offence: Offence, _detail: str) -> None:
        self.complaints += 1


class _Shelf:
    """What a node with a chain has to serve."""

    def __init__(self, node: NodeChain, body: Block, certificates: tuple[Certificate, ...]) -> None:
        self.stored_block = node.stored_block
        self._body = body
        self._certificates = certificates

    def body(self, block_hash: bytes) -> bytes | None:
        return encode(self._body) if block_hash == self._body.hash else None

    def held_certificates(self, height: int) -> tuple[Certificate, ...]:
        return self._certificates if height == self._body.header.height else ()


def _streams() -> tuple[Sequence[bytes], Feed]:
    chain = _grown()
    node = _node(chain)
    block = chain.build().block
    shelf = _Shelf(node, block, (chain.certify(block),))
    golden = [encode((1, 64)), encode((HEIGHT, 1)), block.hash, encode(chain.height + 1), encode((2**63 - 1, 64))]

    def feed(data: bytes) -> str:
        ended: list[str] = []

        async def main() -> None:
            network = _Recorder()
            Serving(network, shelf, get("fuzz"))  # type: ignore[arg-type]
            for protocol in (BLOCKS, BODY, CERTIFICATES):
                try:
                    assert len(await network.handlers[protocol]("peer", data)) < MAX_BYTES
                    ended.append(ACCEPTED)
                except RequestRefused:
                    ended.append("RequestRefused")

        virtually(main)
        return ACCEPTED if ACCEPTED in ended else ended[-1]

    return golden, feed


TARGETS: Final = (
    Target("cbor", any_cbor, _plain),
    Target("wire-types", any_cbor, _wire),
    Target("transactions", any_cbor, _transactions),
    Target("ledger", any_cbor, _ledger),
    Target("batches", any_cbor, _batches),
    Target("consensus-messages", any_cbor, _messages),
    Target("certificates", any_cbor, _certificates),
    Target("blocks", any_cbor, _blocks),
    Target("stored-blocks", any_cbor, _stored_blocks),
    Target("announcements", any_cbor, _announcements),
    Target("beacon-proofs", any_bytes, _beacons),
    Target("state-proofs", any_cbor, _tree_proofs),
    Target("stream-requests", any_bytes, _streams),
)
