"""``ecloud vote``: voting tokens, whom they are cast on, and the rule for new ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.common import EXIT_USAGE, Api, AsJson, DataDirectory, DevnetNode, Where, ask, fail, new_app
from cli.output import party, print_facts, print_json, print_table
from cli.signing import (
    Fee,
    NoWait,
    PasswordFile,
    Signing,
    Timeout,
    WalletDirectory,
    WalletName,
    Yes,
    confirm,
    fee_of,
    find_account,
    own_wallet,
    sign_and_wait,
)

if TYPE_CHECKING:
    from node.client.client import NodeClient
    from node.client.models import Account, CandidateDetail, CandidateList, Votes
    from node.client.models import Candidate as CandidateModel

app = new_app("Voting tokens: whom they are cast on, and the rule for new ones.")

ALL_BPS: Final = 10_000
PERCENT_DECIMALS: Final = 2
NOT_FOUND: Final = 404

Candidate = Annotated[str, typer.Argument(metavar="CANDIDATE", help="The candidate: a member's name, or an address.")]
Amount = Annotated[list[str], typer.Argument(help="How many voting tokens, like 12.5.", metavar="AMOUNT [VOTE]")]


@app.command()
def cast(
    candidate: Candidate,
    amount: Amount,
    fee: Fee = None,
    wallet: WalletName = None,
    wallets: WalletDirectory = None,
    password_file: PasswordFile = None,
    yes: Yes = False,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    json: AsJson = False,
) -> None:
    """Cast voting tokens you keep on a candidate.

    They become your part of the candidate's pool: the larger the pool, the likelier the candidate is drawn to produce
    a block.

    \b
    For instance:  ecloud vote cast bob 50
    """
    signing = Signing(Where(api, data_dir, node), wallet, wallets, password_file, fee, yes, no_wait, timeout, json)
    _move(signing, "cast", candidate, " ".join(amount))


@app.command()
def withdraw(
    candidate: Candidate,
    amount: Amount,
    fee: Fee = None,
    wallet: WalletName = None,
    wallets: WalletDirectory = None,
    password_file: PasswordFile = None,
    yes: Yes = False,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    json: AsJson = False,
) -> None:
    """Take voting tokens back from a candidate's pool.

    At most what your part is worth now (ecloud vote show YOU); what it has in frozen pots stays until they are
    released.

    \b
    For instance:  ecloud vote withdraw bob 10
    """
    signing = Signing(Where(api, data_dir, node), wallet, wallets, password_file, fee, yes, no_wait, timeout, json)
    _move(signing, "withdraw", candidate, " ".join(amount))


@app.command()
def rule(
    keep: Annotated[str, typer.Option("--keep", metavar="PERCENT", help="How much of new voting tokens you keep.")],
    to: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="NAME=PERCENT", help="A candidate's part of the rest; parts sum to 100."),
    ] = None,
    fee: Fee = None,
    wallet: WalletName = None,
    wallets: WalletDirectory = None,
    password_file: PasswordFile = None,
    yes: Yes = False,
    no_wait: NoWait = False,
    timeout: Timeout = 60.0,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    json: AsJson = False,
) -> None:
    """Say what becomes of the voting tokens that your energy mints from now on.

    Keep a part; the rest is cast at once, shared among the candidates named. Without a rule all are cast on yourself.

    \b
    To keep a fifth and share the rest evenly:
      ecloud vote rule --keep 20 --to bob=50 --to carla=50
    """
    from ledger.records import RuleTarget
    from ledger.transactions import SetVotingRule
    from node.client.format import watt

    signing = Signing(Where(api, data_dir, node), wallet, wallets, password_file, fee, yes, no_wait, timeout, json)
    keep_bps = _percent(keep, "--keep")
    shares = _shares(to or [], keep_bps)
    keystore, own = own_wallet(signing.where, wallet, wallets)
    accounts, minimum_uwatt = ask(signing.where, lambda client: _accounts_and_fee(client, list(shares)))
    fee_uwatt = fee_of(signing, minimum_uwatt)
    named = list(zip(accounts, shares.values(), strict=True))
    rows = [("keep", _percent_text(keep_bps))]
    rows += [(f"{_percent_text(bps)} of the rest", party(account.account)) for account, bps in named]
    rows += [("from", f"{own.name}  {own.address}"), ("fee", watt(fee_uwatt))]
    confirm("Set this rule?", rows, signing)
    targets = tuple(RuleTarget(candidate=bytes.fromhex(account.account_key), share_bps=bps) for account, bps in named)
    sign_and_wait(signing, keystore, own, SetVotingRule(keep_bps=keep_bps, targets=targets), fee_uwatt)


@app.command()
def candidates(api: Api = None, data_dir: DataDirectory = None, node: DevnetNode = None, json: AsJson = False) -> None:
    """Show how each candidate stands: its vote, its missed turns, and how many blocks it signs.

    Two missed turns in a row suspend a candidate until it rejoins; who signs fewer than half of an epoch's blocks has
    no vote in the next one; who contradicts itself is expelled (ecloud chain evidence).
    """
    found = ask(Where(api, data_dir, node), lambda client: client.candidates())
    if json:
        print_json(found)
    else:
        _print_standing(found)


@app.command()
def show(
    who: Annotated[
        str | None, typer.Argument(metavar="[WHO]", help="A member's name or an address. [default: all candidates]")
    ] = None,
    api: Api = None,
    data_dir: DataDirectory = None,
    node: DevnetNode = None,
    json: AsJson = False,
) -> None:
    """Show all candidates; or whom somebody has cast voting tokens on, by which rule, and who backs them."""
    where = Where(api, data_dir, node)
    if who is None:
        candidates = ask(where, lambda client: client.candidates())
        if json:
            print_json(candidates)
        else:
            _print_candidates(candidates)
        return
    votes, detail = ask(where, lambda client: _votes_of(client, who))
    if json:
        print_json({"votes": votes, "candidate": detail})
        return
    _print_votes(votes)
    if detail is not None:
        _print_backers(detail)


# ------------------------------------------------------------------------------------------------------- what is done


def _move(signing: Signing, what: str, candidate: str, amount: str) -> None:
    from ledger.transactions import CastVotes, WithdrawVotes
    from node.client.format import AmountError, parse_vote, vote, watt

    try:
        amount_mvote = parse_vote(amount.upper())
    except AmountError as error:
        fail(str(error), EXIT_USAGE)
    keystore, own = own_wallet(signing.where, signing.wallet, signing.wallets)
    (account,), minimum_uwatt = ask(signing.where, lambda client: _accounts_and_fee(client, [candidate]))
    fee_uwatt = fee_of(signing, minimum_uwatt)
    direction = "on" if what == "cast" else "from"
    rows = [
        (what, vote(amount_mvote)),
        (direction, party(account.account)),
        ("wallet", f"{own.name}  {own.address}"),
        ("fee", watt(fee_uwatt)),
    ]
    confirm("Cast them?" if what == "cast" else "Withdraw them?", rows, signing)
    make = CastVotes if what == "cast" else WithdrawVotes
    payload = make(candidate=bytes.fromhex(account.account_key), amount_mvote=amount_mvote)
    sign_and_wait(signing, keystore, own, payload, fee_uwatt)


async def _accounts_and_fee(client: NodeClient, names: list[str]) -> tuple[list[Account], int]:
    accounts = [await find_account(client, name) for name in names]
    return accounts, (await client.parameters()).parameters["minimum_fee_uwatt"]


async def _votes_of(client: NodeClient, who: str) -> tuple[Votes, CandidateDetail | None]:
    from node.client.errors import ApiProblem

    account = await find_account(client, who)
    votes = await client.votes(account.account.address)
    try:
        return votes, await client.candidate(account.account.address)
    except ApiProblem as problem:
        if problem.status != NOT_FOUND:
            raise
        return votes, None


def _percent(text: str, option: str) -> int:
    """Basis points. Ends the command for what is no percentage."""
    from node.client.format import AmountError, parse_decimal

    try:
        bps = parse_decimal(text.removesuffix("%"), PERCENT_DECIMALS, "percent")
    except AmountError as error:
        fail(f"{option}: {error}", EXIT_USAGE)
    if bps > ALL_BPS:
        fail(f"{option}: {text} percent is more than all", EXIT_USAGE)
    return bps


def _percent_text(bps: int) -> str:
    """All of it, unlike the rounded percentage of a table: it is about to be signed, or was."""
    from node.client.format import decimal

    return f"{decimal(bps, PERCENT_DECIMALS)} %"


def _shares(texts: list[str], keep_bps: int) -> dict[str, int]:
    """Candidate → basis points of the rest. Ends the command unless they are what the ledger takes."""
    shares: dict[str, int] = {}
    for text in texts:
        name, equals, part = text.partition("=")
        if not (name and equals and part):
            fail(f"--to {text}: a candidate and its part, for instance --to bob=50", EXIT_USAGE)
        if name in shares:
            fail(f"--to {text}: {name} is named twice", EXIT_USAGE)
        shares[name] = _percent(part, f"--to {text}")
    total, expected = sum(shares.values()), 0 if keep_bps == ALL_BPS else ALL_BPS
    if total != expected:
        if expected == 0:
            fail("with --keep 100 nothing is left to cast: leave out --to", EXIT_USAGE)
        fail(f"the parts named with --to sum to {_percent_text(total)}; they must sum to 100 %", EXIT_USAGE)
    return shares


# ------------------------------------------------------------------------------------------------------ what is shown


def _print_candidates(found: CandidateList) -> None:
    from node.client.format import count, percent, reputation, vote

    print_table(
        ["candidate", "status", ">pool, VOTE", ">share", ">frozen", ">backers", ">reputation", ">produced", ">missed"],
        [
            [
                one.account.label,
                one.status,
                vote(one.pool_mvote, unit=False, aligned=True),
                percent(one.pool_share_bps),
                vote(one.frozen_mvote, unit=False, aligned=True),
                count(one.backer_count),
                reputation(one.reputation_milli),
                count(one.produced_total),
                count(one.missed_total),
            ]
            for one in found.candidates
        ],
        empty="there are no candidates",
    )


def _print_standing(found: CandidateList) -> None:
    from node.client.format import count, out_reason, participation, reputation

    print_table(
        [
            "candidate",
            "status",
            ">weight",
            "why none",
            ">missed in a row",
            ">missed",
            ">signed",
            ">reputation",
            ">last",
        ],
        [
            [
                one.account.label,
                _status_text(one),
                count(one.committee_weight) if one.committee_weight else "–",
                "" if one.out_reason is None else out_reason(one.out_reason),
                count(one.missed_in_row),
                count(one.missed_total),
                participation(one.epoch_signed, one.epoch_counted) + (" low" if one.low_participation else ""),
                reputation(one.reputation_milli),
                count(one.last_mined_height),
            ]
            for one in found.candidates
        ],
        empty="there are no candidates",
    )
    typer.echo()
    in_force = found.weighed_height + found.weights_delay_blocks
    typer.echo(f"weighed again at block {count(found.weighed_height)}, in force from block {count(in_force)} on")


def _status_text(one: CandidateModel) -> str:
    from node.client.format import count

    return one.status if one.suspended_height is None else f"{one.status} since {count(one.suspended_height)}"


def _print_votes(votes: Votes) -> None:
    from node.client.format import count, percent, vote

    rows = [("account", party(votes.account)), ("keeps", vote(votes.kept_mvote)), ("has cast", vote(votes.cast_mvote))]
    if votes.rule is None:
        rows.append(("rule", "none: new voting tokens are cast on oneself, or kept by who is no candidate"))
    else:
        parts = [f"{_percent_text(one.share_bps)} of the rest to {one.candidate.label}" for one in votes.rule.targets]
        rows.append(("rule", "\n".join([f"keeps {_percent_text(votes.rule.keep_bps)}", *parts])))
    print_facts([*rows, ("as of block", count(votes.height))])
    typer.echo()
    print_table(
        ["cast on", "status", ">worth now, VOTE", ">part of the pool"],
        [
            [
                one.candidate.label,
                one.candidate_status,
                vote(one.value_mvote, unit=False, aligned=True),
                percent(one.share_bps),
            ]
            for one in votes.stakes
        ],
        empty="nothing is cast",
    )


def _print_backers(detail: CandidateDetail) -> None:
    from node.client.format import vote

    typer.echo()
    print_table(
        ["backed by", ">worth now, VOTE"],
        [[one.account.label, vote(one.value_mvote, unit=False, aligned=True)] for one in detail.backers],
        empty="nobody backs this candidate",
    )
