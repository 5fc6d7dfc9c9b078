"""Agreement: one instance of Simplex (Chan & Pass 2023, eprint 2023/463) per height, weighted, amended, sans-IO.

A *vote* is a signed statement (kind, height, view, block hash) of kind notarize, nullify or finalize. A *notarization*,
*nullification* or *finalization* is a certificate: votes of one statement by a quorum (more than two thirds of the
weight). A node is in one view at a time, beginning with 0; each view has one leader. Δ is what a message takes at the
most when the network is well.

1. **Opening.** View 0 opens at the parent's time + block interval, or at once if that has passed. Before it opens a
   node tallies and may notarize, but neither proposes nor nullifies in view 0. Only the opening, a block's time and the
   judgement of it read the wall clock; all else is monotonic. A block's time is its leader's clock, at least the
   parent's time + interval. A proposal of a fresh block later than the local clock + tolerance is *held* until it is
   not, never refused.
2. **Proposal.** Taken from the view's leader only, the first in a view. It is either *fresh* (the block was made in
   this view), justified by the nullifications of all earlier views; or *repeating* an older block, justified by a
   notarization of it in a view u and the nullifications of all views between. The certificates that travel with it
   count as received, and only what is held in the end decides. The leader repeats the block of the highest notarized
   view that its nullifications reach; it goes fresh only if there is none, or if bodies are missing and the views they
   were notarized in are nullified too. Voters accept either. When the previous view is notarized and not nullified,
   the leader waits Δ first: that block is most likely about to be finalized.
3. **Notarize** at most once per view, in one's current view, a justified proposal whose block has been executed and
   found valid; having nullified the view does not forbid it. **Nullify** when the view has lasted 3Δ · min(1.25^view,
   4) since it was entered, opened, or the node restarted in it; having notarized does not forbid it.
4. **Finalize.** On a notarization, or a finalization, of a block in any view: vote finalize for it there, unless this
   node has ever voted nullify in that view. Later views do not matter and no body is needed. *Never both nullify and
   finalize in one view*: this sentence replaces locks. (A finalization proves its notarization; voting on it lets a
   slow home be counted as present.)
5. **Views.** A notarization or nullification of view u ≥ mine moves me to u + 1. Every certificate that is new to me is
   passed on. The *path* to my view is defined in ``path``.
6. **Commit.** A finalization commits its block once that has been executed. A body that a certificate names and that
   is missing is asked for at once from the signers, and with every resend.
7. **Resend.** While a height is open, 2Δ after opening and every 2Δ: own votes of this view, own finalize votes of
   earlier ones, every certificate of the path (all that is held if there is a gap, and then others are asked for
   theirs), and the proposal of this view if held. Also right after a restart.
8. **Journal first.** Before any vote or proposal leaves, one transaction holds it, the path, the notarizations that
   finalize votes rest on, and the block's body. At a restart the journal is replayed into the tally, and what had been
   said is said again, never anything else. A node that lost its journal abstains (``Engine.abstain_until``).
9. **Other heights.** The author of a vote or proposal of a height that closed more than 2Δ ago is answered with
   committed blocks, at most once per Δ/2; until then late finalize votes are only collected, and they are collected
   until the next block closes. Of the next height at most 12 messages per member are kept; a message of any later
   height starts catching up. Votes more than 4 views ahead are dropped. Everything of a height is checked against its
   committee; whoever has no voting seat in it follows without voting.

Equivocation (``ledger.statements.contradict``) that a node sees is reported once per offender and height.

**Driving it.** Each input returns a list of actions. All actions of all inputs form one queue, carried out in order:
``Persist`` must be on the disk before the next action is begun; the others need only be begun. Inputs may be given
while actions wait. At a crash, whatever was not carried out is lost, and the engine with it: a new engine is opened at
the height after the stored tip, with the journal of that height. ``Commit`` ends a height: store the block with its
certificate, forget the journal of the height, then ``open_height`` the next, whose blocks are to carry the certificate
that ``Build`` names. A height reached by catching up is opened the same way, without a ``Commit`` of the ones between.
``certificates`` and ``body`` serve peers; closed heights are served from storage.
"""

from consensus.engine.agreement import FinalBlockInvalid, view_timeout_ms
from consensus.engine.engine import Engine
from consensus.engine.events import (
    Action,
    Answer,
    Broadcast,
    Build,
    CatchUp,
    Commit,
    Evidence,
    Execute,
    FetchBody,
    FetchCertificates,
    HeightContext,
    Instant,
    JournalContents,
    Persist,
    Record,
    SetTimer,
    Timer,
    TimerKind,
)

__all__ = [
    "Action",
    "Answer",
    "Broadcast",
    "Build",
    "CatchUp",
    "Commit",
    "Engine",
    "Evidence",
    "Execute",
    "FetchBody",
    "FetchCertificates",
    "FinalBlockInvalid",
    "HeightContext",
    "Instant",
    "JournalContents",
    "Persist",
    "Record",
    "SetTimer",
    "Timer",
    "TimerKind",
    "view_timeout_ms",
]
