"""``ecloud chain``: blocks and transactions; a whole chain verified from its files; one account proved and checked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli import verifying
from cli.common import (
    EXIT_USAGE,
    Api,
    AsJson,
    DataDirectory,
    DevnetNode,
    Where,
    ask,
    default_data_directory,
    devnet_home,
    fail,
    new_app,
)
from cli.output import moment, party, print_facts, print_json, print_table

if TYPE_CHECKING:
    from ledger.genesis import Genesis
    from node.client.client import NodeClient
    from node.client.models import Block, StateProof, Transaction, TransactionProof
    from node.views.proofs import Proven, ProvenTransaction

app = new_app("Blocks and transactions; verify a chain, prove and check an account.")

MAX_PROOF_BYTES: Final = 4 * 1024 * 1024
HASH: Final = re.compile(r"[0-9a-fA-F]{64}")


@app.command()
def block(
    which: Annotated[
        str | None, typer.Argument(metavar="[BLOCK]", help="Its height, or its hash. [default: the newest]")
    ] = None,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    json: AsJson = False,
) -> None:
    """Show a block: who produced it, who made it final, its roots, and its transactions."""
    found = ask(Where(api, data_dir, node), lambda client: _block(client, which))
    if json:
        print_json(found)
        return
    print_facts(_block_facts(found))
    typer.echo()
    print_table(
        [">#", "kind", "sender", "result", "id"],
        [
            [str(one.index), _words(one.kind), one.sender.label, one.refusal or "done", one.id]
            for one in found.transactions
        ],
        empty="no transactions",
    )


@app.command()
def transaction(
    transaction_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, 64 hexadecimal digits.")],
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    json: AsJson = False,
) -> None:
    """Show a transaction: what it asks for, whether it is final, and whether it took effect."""
    found = ask(Where(api, data_dir, node), lambda client: client.transaction(transaction_id))
    if json:
        print_json(found)
    else:
        print_facts(_transaction_facts(found))


@app.command()
def committee(
    height: Annotated[
        int | None, typer.Argument(metavar="[HEIGHT]", min=1, help="Of which block. [default: the one being agreed on]")
    ] = None,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    json: AsJson = False,
) -> None:
    """Show who votes on a block, with what weight, and the hash that "ecloud chain check" asks for."""
    found = ask(Where(api, data_dir, node), lambda client: client.committee(height))
    if json:
        print_json(found)
        return
    from node.client.format import count, percent, reputation, vote

    print_facts(
        [
            ("block", count(found.height)),
            ("taken at", f"block {count(found.snapshot_height)}" if found.snapshot_height else "the genesis"),
            ("hash", found.hash),
            ("quorum", f"{count(found.quorum_weight)} of a weight of {count(found.total_weight)}"),
        ]
    )
    typer.echo()
    print_table(
        ["member", ">weight", ">part", ">pool, VOTE", ">reputation", "node key"],
        [
            [
                one.account.label,
                count(one.weight),
                percent(one.weight * 10_000 // found.total_weight),
                vote(one.pool_mvote, unit=False, aligned=True),
                reputation(one.reputation_milli),
                one.node_key,
            ]
            for one in found.members
        ],
        empty="nobody",
    )


@app.command("evidence")
def convictions(api: Api = None, data_dir: DataDirectory = None, node: DevnetNode = None, json: AsJson = False) -> None:
    """Show who was convicted of contradicting itself: what it signed twice, who reported it, what was burned."""
    found = ask(Where(api, data_dir, node), lambda client: client.evidence())
    if json:
        print_json(found)
        return
    from node.client.format import contradiction, count, vote

    print_table(
        [">block", "convicted", "signed twice", "reported by", ">burned, VOTE", "report"],
        [
            [
                count(one.height),
                one.account.label,
                contradiction(one.first.kind, one.second.kind, one.signed_height, one.signed_view),
                one.reporter.label,
                "–" if one.burned_mvote is None else vote(one.burned_mvote, unit=False, aligned=True),
                one.transaction_id,
            ]
            for one in found.convictions
        ],
        empty="nobody was convicted",
    )
    if not found.complete:
        typer.echo("older ones may be missing: this node does not keep, or does not search, that far back", err=True)


@app.command()
def verify(data_dir: DataDirectory = None, node: DevnetNode = None, json: AsJson = False) -> None:
    """Recompute a whole chain from its genesis and compare it with what is stored.

    Reads the data directory only, also beside the node that runs on it, and trusts nothing but the genesis: every
    draw, beacon, certificate, signature, root, receipt and index; at the newest block the whole state, its tree and all
    sums. Names the first block that is wrong (exit status 1).
    """
    directory = devnet_home(node) if node is not None else data_dir or default_data_directory()
    try:
        verified = verifying.verify(directory)
    except verifying.Fault as fault:
        if json:
            print_json({"ok": False, "height": fault.height, "fault": fault.detail})
        fail(fault.detail)
    except verifying.Unverifiable as error:
        fail(str(error))
    if json:
        print_json(
            {
                "ok": True,
                "height": verified.height,
                "tip": verified.tip.hex(),
                "state_root": verified.state_root.hex(),
                "transactions": verified.transactions,
                "signatures": verified.signatures,
                "state_records": verified.state_records,
            }
        )
        return
    from node.client.format import count

    print_facts(
        [
            ("verified", f"{count(verified.height)} blocks, from the genesis on: everything is as it must be"),
            ("draws", f"{count(verified.height)}, with their beacons"),
            ("certificates", f"{count(verified.height)}, with {count(verified.signatures)} signatures"),
            ("transactions", f"{count(verified.transactions)}, executed anew"),
            ("state", f"{count(verified.state_records)} records, their tree, and all sums"),
            ("tip", verified.tip.hex()),
            ("state root", verified.state_root.hex()),
        ]
    )


@app.command()
def prove(
    who: Annotated[str | None, typer.Argument(metavar="[ACCOUNT]", help="A member's name, or an address.")] = None,
    transaction_id: Annotated[
        str | None, typer.Option("--transaction", metavar="ID", help="Prove this transaction and its receipt instead.")
    ] = None,
    since: Annotated[
        int | None,
        typer.Option(
            "--since", metavar="HEIGHT", min=1, help="Lead there from this block's committee; 1: the genesis."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to. [default: standard output]")
    ] = None,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
) -> None:
    """Write a file that proves what an account holds at the newest block, or that a transaction is final.

    Whoever gets it can check it with "ecloud chain check", without a node and without trusting this one. With --since
    the file also shows how the committee of that block handed over to the one that made it final, so that whoever
    trusts an older committee, or the genesis, can check it too.
    """
    if (who is None) == (transaction_id is None):
        fail("say what to prove: an ACCOUNT, or --transaction ID", EXIT_USAGE)
    proof: StateProof | TransactionProof
    if transaction_id is not None:
        wanted = transaction_id
        proof = ask(Where(api, data_dir, node), lambda client: client.prove_transaction(wanted, since))
    else:
        assert who is not None
        account = who
        proof = ask(Where(api, data_dir, node), lambda client: _prove(client, account, since))
    if output is None:
        print_json(proof)
        return
    import msgspec

    try:
        output.write_bytes(msgspec.json.format(msgspec.json.encode(proof)) + b"\n")
    except OSError as error:
        fail(f"--output: {error}", EXIT_USAGE)
    print_facts(
        [
            ("proved", f"transaction {transaction_id}" if transaction_id else getattr(proof, "record", "")),
            ("at block", f"{proof.height}  {proof.block_hash}"),
            ("written to", str(output)),
            ("check with", f"ecloud chain check {output} --genesis FILE, or --committee HASH"),
        ]
    )


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What ecloud chain prove wrote.")],
    committee_hash: Annotated[
        str | None, typer.Option("--committee", metavar="HASH", help="The hash of the committee you trust.")
    ] = None,
    genesis: Annotated[
        Path | None,
        typer.Option("--genesis", metavar="FILE", help="The genesis you trust; later blocks need prove --since 1."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Check a proof: needs the file, something you trust, and no node.

    What you trust is the committee that made the proof's block final, or the one at which the file begins. Its hash is
    what "ecloud chain committee HEIGHT" shows on any node you trust. The genesis stands for the committee of its
    members.
    """
    if (committee_hash is None) == (genesis is None):
        fail("say what you trust: either --committee HASH or --genesis FILE", EXIT_USAGE)
    proof = _read_proof(file)
    if genesis is not None:
        committee_hash = _genesis_committee(genesis, proof)
    assert committee_hash is not None
    if not HASH.fullmatch(committee_hash):
        fail("--committee: a hash has 64 hexadecimal digits; see: ecloud chain committee", EXIT_USAGE)
    from node.client.models import StateProof
    from node.views.proofs import ProofWrong, check_account_proof, check_transaction_proof

    try:
        if isinstance(proof, StateProof):
            _print_proven(check_account_proof(proof, committee_hash), as_json=json)
        else:
            _print_transaction(check_transaction_proof(proof, committee_hash), as_json=json)
    except ProofWrong as error:
        if json:
            print_json({"ok": False, "fault": str(error)})
        fail(f"{file}: {error}{_where_from(proof, str(error))}")


# --------------------------------------------------------------------------------------------------- blocks, accounts


async def _block(client: NodeClient, which: str | None) -> Block:
    if which is None:
        height = (await client.status()).height
        if height == 0:
            fail("the chain has no block yet but its genesis")
        return await client.block(height)
    return await client.block(which)


async def _prove(client: NodeClient, who: str, since: int | None) -> StateProof:
    from cli.signing import find_account

    account = await find_account(client, who)
    return await client.prove_account(account.account.address, since)


def _block_facts(found: Block) -> list[tuple[str, str]]:
    from node.client.format import count, duration, part_bps, percent, size

    summary = found.summary
    skipped = f", after the turns of {', '.join(one.label for one in summary.skipped)}" if summary.skipped else ""
    signed = percent(part_bps(found.signed_weight, found.total_weight))
    return [
        ("block", count(summary.height)),
        ("hash", summary.hash),
        ("time", moment(summary.time_ms)),
        ("producer", party(summary.producer)),
        ("view", f"{summary.view}{skipped}"),
        ("final", f"in view {found.finalized_view}, {duration(summary.finality_ms)} after its proposal"),
        ("signed by", f"{', '.join(one.label for one in found.signers)}: {signed} of the weight"),
        ("size", size(summary.size_bytes)),
        ("parent", found.parent_hash),
        ("state root", found.state_root),
        ("transactions root", found.transactions_root),
        ("receipts root", found.receipts_root),
        ("next committee", found.committee_hash),
    ]


def _transaction_facts(found: Transaction) -> list[tuple[str, str]]:
    from cli.fields import payload_facts
    from node.client.format import count, size, watt

    rows = [("transaction", found.id), ("kind", _words(found.kind))]
    if found.height is None:
        rows.append(("state", "waits for a block"))
    else:
        rows.append(("state", f"final in block {count(found.height)}, {moment(found.time_ms)}"))
        rows.append(("result", "took effect" if found.refusal is None else f"refused: {found.refusal}"))
    if found.note:
        rows.append(("note", found.note))
    rows += [("sender", party(found.sender)), *payload_facts(found.payload)]
    if found.signed_by != "meter":  # a reading has neither
        rows += [
            ("fee", watt(found.fee_uwatt)),
            ("nonce", count(found.nonce)),
            ("valid until", f"block {count(found.valid_until_height)}"),
        ]
    return [*rows, ("signed by", f"{_words(found.signed_by)} {found.sender_key}"), ("size", size(found.size_bytes))]


def _words(word: str) -> str:
    from node.client.format import words

    return words(word)


# --------------------------------------------------------------------------------------------------------------- check


def _read_proof(file: Path) -> StateProof | TransactionProof:
    import msgspec

    from node.client.models import StateProof, TransactionProof

    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_PROOF_BYTES + 1)
        if len(content) > MAX_PROOF_BYTES:
            fail(f"{file} is larger than any proof")
        found = msgspec.json.decode(content)
        if isinstance(found, dict) and "transaction" in found:
            return msgspec.convert(found, TransactionProof)
        return msgspec.convert(found, StateProof)
    except OSError as error:
        fail(f"{file}: {error.strerror}", EXIT_USAGE)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        fail(f"{file} is no proof, as ecloud chain prove writes it: {error}")


def _genesis_committee(file: Path, proof: StateProof | TransactionProof) -> str:
    """The hash of the committee at height 0; ends the command where the genesis does not say who made the block final.

    A genesis vouches for its committee only as long as that one votes: who was in it may since have left, and could
    sign anything in its name.
    """
    from consensus.committee import Committee
    from ledger.committee import committee_at, snapshot_height
    from ledger.genesis import chain_id, genesis_changes
    from ledger.state import DictReader

    genesis = _read_genesis(file)
    if proof.chain_id != chain_id(genesis).hex():
        fail(f"the proof is of another chain, {proof.chain_id}; this genesis is that of {chain_id(genesis).hex()}")
    if snapshot_height(proof.height, genesis.parameters) != 0 and proof.since is None:
        last = genesis.parameters.epoch_blocks + genesis.parameters.committee_delay_blocks - 1
        fail(
            f"the genesis says who votes up to block {last}; the proof is of block {proof.height}: give --committee "
            f"the hash that `ecloud chain committee {proof.height}` shows on a node you trust, or have it made with "
            "--since 1"
        )
    reader = DictReader({})
    reader.apply(genesis_changes(genesis))
    return Committee(committee_at(reader, 1)).hash.hex()


def _read_genesis(file: Path) -> Genesis:
    from ledger.encoding import EncodingError, decode
    from ledger.genesis import Genesis
    from node.chain import MAX_GENESIS_BYTES

    try:
        with file.open("rb") as opened:
            return decode(opened.read(MAX_GENESIS_BYTES + 1), Genesis, MAX_GENESIS_BYTES)
    except OSError as error:
        fail(f"--genesis {file}: {error.strerror}", EXIT_USAGE)
    except EncodingError as error:
        fail(f"--genesis {file} is no genesis: {error}", EXIT_USAGE)


def _where_from(proof: StateProof | TransactionProof, fault: str) -> str:
    if "is not the one you trust" not in fault:
        return ""
    height = proof.height
    return f"; the proof is of block {height}: compare with `ecloud chain committee {height}` on a node you trust"


def _print_transaction(proven: ProvenTransaction, *, as_json: bool) -> None:
    from ledger.keys import address_text
    from node.client.format import count

    transaction, receipt = proven.transaction, proven.receipt
    if as_json:
        print_json(
            {
                "ok": True,
                "id": transaction.id.hex(),
                "kind": transaction.kind.word,
                "sender_key": transaction.sender.hex(),
                "refusal": receipt.refusal,
                "height": proven.height,
                "block_hash": proven.block_hash.hex(),
                "time_ms": proven.time_ms,
            }
        )
        return
    print_facts(
        [
            ("sound", "the committee you trust made this final"),
            ("transaction", transaction.id.hex()),
            ("kind", _words(transaction.kind.word)),
            ("signed by", f"{transaction.sender.hex()}  {address_text(transaction.sender)}"),
            ("result", "took effect" if receipt.refusal is None else f"refused: {receipt.refusal}"),
            ("at block", f"{count(proven.height)}, {moment(proven.time_ms)}"),
            ("block hash", proven.block_hash.hex()),
        ]
    )


def _print_proven(proven: Proven, *, as_json: bool) -> None:
    from ledger.keys import address_text
    from node.client.format import count, grid, vote, watt

    record = proven.record
    if as_json:
        print_json(
            {
                "ok": True,
                "account": address_text(proven.account),
                "height": proven.height,
                "block_hash": proven.block_hash.hex(),
                "time_ms": proven.time_ms,
                "exists": record is not None,
                "watt_uwatt": 0 if record is None else record.watt_uwatt,
                "grid_ugrid": 0 if record is None else record.grid_ugrid,
                "votes_mvote": 0 if record is None else record.votes_mvote,
                "nonce": 0 if record is None else record.nonce,
            }
        )
        return
    rows = [
        ("sound", "the committee you trust made this final"),
        ("account", address_text(proven.account)),
        ("at block", f"{count(proven.height)}, {moment(proven.time_ms)}"),
        ("block hash", proven.block_hash.hex()),
    ]
    if record is None:
        rows.append(("holds", "nothing: there is no such account"))
    else:
        rows += [
            ("WATT", watt(record.watt_uwatt, unit=False)),
            ("GRID", grid(record.grid_ugrid, unit=False)),
            ("VOTE", f"{vote(record.votes_mvote, unit=False)} kept"),
            ("nonce", count(record.nonce)),
        ]
    print_facts(rows)
