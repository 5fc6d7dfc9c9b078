"""Draws, past and next, with every number that went into them."""

from __future__ import annotations

from typing import Final

from consensus.block import Header
from consensus.draw import MAX_VIEW, Draw, DrawMember, Turn
from consensus.vrf import proof_to_hash
from ledger.records import CandidateStatus
from node.client import models
from node.draw_facts import DrawFacts, build_draw
from node.views.reader import NotFound, Reader, word
from storage.errors import Pruned

ALL_BPS: Final = 10_000
NUMBER_BITS: Final = 128
FRACTION_DIGITS: Final = 12


def draw_view(reader: Reader, height: int, view: int | None, open_view: int) -> models.Draw:
    """The draw of a height up to the next. ``view``: default the block's, or for the next height ``open_view``, the one
    this node is in. Errors: NotFound.
    """
    if not 1 <= height <= reader.height + 1:
        raise NotFound(f"nobody is drawn for height {height} yet; ask for 1 to {reader.height + 1}")
    is_next = height == reader.height + 1
    header = None if is_next else reader.block(height).header
    shown = view if view is not None else open_view if header is None else header.view
    if shown > MAX_VIEW:
        raise NotFound(f"view {shown} never opens; the last is {MAX_VIEW}")
    facts = reader.draw_facts(height)
    draw = build_draw(facts, reader.committee_snapshot(height))
    turn = draw.turn(shown)
    return models.Draw(
        height=height,
        view=shown,
        is_next=is_next,
        seed=draw.seed.hex(),
        u=f"{turn.number:032x}",
        u_fraction=f"0.{(turn.number * 10**FRACTION_DIGITS) >> NUMBER_BITS:0{FRACTION_DIGITS}d}",
        total_lottery_weight=turn.total,
        ticket=turn.ticket,
        winner=reader.party(draw.leader_account(shown)),
        entries=_entries(reader, facts, draw, turn),
        skipped=_skipped(reader, draw, shown if header is None else header.view),
        producer=None if header is None else reader.party(header.producer),
        produced_view=None if header is None else header.view,
        beacon_proof=None if header is None else header.beacon_proof.hex(),
        beacon=None if header is None else proof_to_hash(header.beacon_proof).hex(),
    )


def skipped_turns(reader: Reader, header: Header) -> list[models.SkippedTurn]:
    """The leaders of the views below the block's; empty where this node does not keep its committee any more."""
    if header.view == 0:
        return []
    try:
        committee = reader.committee_snapshot(header.height)
    except Pruned:
        return []
    return _skipped(reader, build_draw(reader.draw_facts(header.height), committee), header.view)


def _skipped(reader: Reader, draw: Draw, below_view: int) -> list[models.SkippedTurn]:
    return [models.SkippedTurn(view=view, leader=reader.party(draw.leader_account(view))) for view in range(below_view)]


def _entries(reader: Reader, facts: DrawFacts, draw: Draw, turn: Turn) -> list[models.DrawEntry]:
    weights = dict(zip(turn.entrants, turn.weights, strict=True))
    entries, running = [], 0
    for index, member in enumerate(draw.members):
        status = facts.standings[index].status
        weight = weights.get(index, 0)
        entries.append(
            models.DrawEntry(
                account=reader.party(member.account),
                pool_mvote=member.pool_mvote,
                age_blocks=min(draw.height - member.last_mined_height, facts.lottery.age_cap_blocks),
                reputation_milli=member.reputation_milli,
                status=word(status, CandidateStatus),
                eligible=index in weights,
                reason=None if index in weights else _reason(draw, turn, member, status),
                lottery_weight=weight,
                chance_bps=weight * ALL_BPS // turn.total,
                from_ticket=running,
                to_ticket=running + weight,
            )
        )
        running += weight
    return entries


def _reason(draw: Draw, turn: Turn, member: DrawMember, status: int) -> str:
    """Why a member does not enter this view; see ``consensus.draw``, rule 2."""
    if turn.round == 1 and not member.active:
        return word(status, CandidateStatus)
    if turn.round == 1 and member.account == draw.previous_producer:
        return "produced_last"
    return "led_earlier_view"
