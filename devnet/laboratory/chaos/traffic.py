"""What the households do: transfers, votes, readings; and an approver that gives expelled homes another chance.

1. Every honest home sends from its own account and its own meter only, by its own node, one nonce after the other.
2. Votes move between honest homes, so that weights grow apart; no more than a quarter of its ballot leaves a home, or
   the enemies could come to hold a third of the weight without doing anything for it.
3. A home that was expelled is registered anew some heights later, with a fresh ballot, and enemies that were suspended
   rejoin: there is always an enemy.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

from devnet.laboratory.chaos.founding import FEEDER, Member
from ledger.execution import get_parameters
from ledger.records import ACCOUNTS, CANDIDATES, METERS, NODE_KEYS, CandidateStatus
from ledger.state import State
from ledger.transactions import (
    CastVotes,
    Payload,
    RegisterMember,
    Rejoin,
    SubmitReading,
    Token,
    Transfer,
    WithdrawVotes,
    sign_transaction,
)

if TYPE_CHECKING:
    from devnet.laboratory.chaos.home import Home
    from devnet.laboratory.chaos.world import World

VALID_BLOCKS: Final = 5_000
FORGIVEN_AFTER: Final = 2
LARGEST_TRANSFER_UWATT: Final = 1_000_000


class Traffic:
    """See the module's rules."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._random = Random(f"{world.name}/traffic")  # noqa: S311 - reproducible on purpose
        self._withdrawn: dict[int, int] = {}
        self._expelled_at: dict[int, int] = {}
        self._registers: dict[int, tuple[int, int]] = {}  # home → (exported Wh, period) of its last reading

    def after(self, height: int) -> None:
        """A height has become final: what is sent before the next one does?"""
        random, setting, world = self._random, self.world.setting, self.world
        wanted = setting.traffic
        while random.random() < wanted:
            wanted -= 1
            home = world.homes[random.choice(sorted(world.homes))]
            late_ms = random.randint(0, setting.interval_ms + 2_000)
            world.at(world.now_ms + late_ms, lambda home=home: self._send(home))  # type: ignore[misc]
        for offender, expelled_at in list(self._expelled_at.items()):
            if setting.forgives and height - expelled_at >= FORGIVEN_AFTER:
                self._forgive(offender)
        for number in sorted(world.founding.byzantine):
            self._rejoin(world.founding.members[number])

    def expelled(self, offender: int, height: int) -> None:
        self._expelled_at.setdefault(offender, height)

    def _send(self, home: Home) -> None:
        if not home.up:
            return
        chance = self._random.random()
        if chance < 0.35:
            self._read(home)
        elif chance < 0.6 and self.world.setting.homes > 4:
            self._vote(home)
        else:
            others = [member for member in self.world.founding.members if member is not home.member]
            recipient = self._random.choice(others)
            amount_uwatt = self._random.randint(1, LARGEST_TRANSFER_UWATT)
            self._submit(home, Transfer(recipient=recipient.id, token=Token.WATT, amount=amount_uwatt, memo=""))

    def _submit(self, home: Home, payload: Payload) -> bool:
        state = State(home.disk.chain)
        account = ACCOUNTS.get(state, home.member.id)
        assert account is not None
        transaction = sign_transaction(
            home.member.account,
            home.chain.chain_id,
            payload,
            nonce=home.intake.mempool.next_nonce(home.member.id, account.nonce),
            fee_uwatt=get_parameters(state).minimum_fee_uwatt,
            valid_until_height=home.chain.height + VALID_BLOCKS,
        )
        return home.submit(transaction)

    def _read(self, home: Home) -> None:
        """The meter's reading of the last period that has ended, if it has not been sent."""
        state = State(home.disk.chain)
        parameters = get_parameters(state)
        meter = METERS.get(state, home.member.meter.public_key)
        assert meter is not None
        period = home.wall_ms() // parameters.period_ms - 1
        export_wh, last_period = self._registers.get(home.number, (meter.export_wh, meter.last_period))
        if period <= last_period:
            return
        export_wh += self._random.randint(0, 20)
        transaction = sign_transaction(
            home.member.meter,
            home.chain.chain_id,
            SubmitReading(
                period=period,
                import_wh=meter.import_wh,
                export_wh=export_wh,
                sampled_at_ms=(period + 1) * parameters.period_ms,
                phases=(),
                samples_root=None,
            ),
        )
        if home.submit(transaction):
            self._registers[home.number] = (export_wh, period)

    def _vote(self, home: Home) -> None:
        """Withdraws from its own pool, or casts what it keeps on another honest home."""
        state = State(home.disk.chain)
        ballot_mvote = get_parameters(state).initial_ballot_mvote
        account = ACCOUNTS.get(state, home.member.id)
        withdrawn = self._withdrawn.get(home.number, 0)
        if account is not None and account.votes_mvote:
            others = [number for number in self.world.founding.honest if number != home.number]
            candidate = self.world.founding.members[self._random.choice(others)]
            self._submit(home, CastVotes(candidate=candidate.id, amount_mvote=account.votes_mvote))
        elif 4 * withdrawn < ballot_mvote:
            amount_mvote = self._random.randint(1, ballot_mvote // 4 - withdrawn + 1)
            if self._submit(home, WithdrawVotes(candidate=home.member.id, amount_mvote=amount_mvote)):
                self._withdrawn[home.number] = withdrawn + amount_mvote

    def _forgive(self, offender: int) -> None:
        approver = self.world.homes[self.world.founding.honest[0]]
        if not approver.up:
            return
        member: Member = self.world.founding.members[offender]
        candidate = CANDIDATES.get(State(approver.disk.chain), member.id)
        if candidate is None or candidate.status != CandidateStatus.EXPELLED:
            return
        payload = RegisterMember(account=member.id, name=member.name, roles=0, feeder=FEEDER)
        if self._submit(approver, payload):
            del self._expelled_at[offender]

    def _rejoin(self, member: Member) -> None:
        """An enemy that is suspended wants to be drawn again."""
        home = next((home for home in self.world.homes.values() if home.up), None)
        if home is None:
            return
        state = State(home.disk.chain)
        candidate, key = CANDIDATES.get(state, member.id), NODE_KEYS.get(state, member.node_key)
        if candidate is None or key is None or candidate.status != CandidateStatus.SUSPENDED:
            return
        if home.intake.mempool.pending(member.node_key):
            return
        transaction = sign_transaction(
            member.node,
            home.chain.chain_id,
            Rejoin(),
            nonce=key.nonce,
            fee_uwatt=get_parameters(state).minimum_fee_uwatt,
            valid_until_height=home.chain.height + VALID_BLOCKS,
        )
        home.hear_transaction(transaction)
