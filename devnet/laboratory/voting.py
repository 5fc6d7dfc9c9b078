"""E-Cloud's voting experiment: who produces the blocks, and where the voting tokens end up, under three rules.

All three start alike: every agent is a candidate in every round and holds 100 voting tokens; none are created later.
Amounts are integers of mvote (1/1000 voting token). Each rule has its own ``random.Random``, seeded with the
experiment's seed and the rule's name; nothing else is random, so a seed gives the same bytes everywhere.

**E-Cloud** (``voting ledger ver_2.py``, github.com/VangulickD/ECLOUD, February 2018; the rule is the PSCC 2018
paper's). In round b = 1, 2, …:

1. The last winner mines block b; it neither stakes nor can win this round. At the start that is george (if he does not
   take part: the last agent), who counts as the winner of round 0. Everybody else counts as winner of a round −1.
2. Every other agent stakes k % of its ballot on itself, k drawn uniformly from the integers 1 … 100.
3. W = 0.6 · stake + 0.8 · age + 0.3 · reputation, in tenths here: 6, 8, 3. The stake counts in tokens; the age is
   b − 1 − (round last won); the reputation is the number of rounds won, 1 for george and 0 for the others at first.
4. The winner is the one with the largest W / u, each with its own u uniform on (0, 1]; it receives every stake.

The program rounds stakes to hundredths of a token; here they are floored to thousandths. It draws u by the clock and
from [0, 1), where 0 would divide by zero; here u = (1 … 2⁵³) / 2⁵³. Quotients are compared exactly.

Given one stream of random numbers, this and that program elected the same winner in each of 1,000 rounds.

**Draw**: what this chain does, by its own code. The ledger executes real blocks without transactions on a genesis of
these agents with the default parameters; ``consensus.draw`` draws view 0 of each height, and β is 64 random bytes
instead of a VRF's. Nobody is ever silent. Nobody chooses a stake: every pool antes 1/10,000 per block. Ballots are the
pools plus the pots that are still frozen.

**Condorcet** (Vangulick, Cornélusse, Ernst: *Blockchain: a novel approach for the consensus algorithm using Condorcet
voting procedure*, 2019). The criteria vote: tokens staked has 3 votes, age 6, reputation 1. Of each pair of candidates,
the one ahead in a criterion gets its votes; on equality nobody does. The winner is who beats every other. Where that
names nobody, Schulze's method decides by strongest paths, and then an even random choice. Known of the paper here are
the weights and that it cites Schulze; assumed is that stakes, age, reputation, the pause of the last winner and the
prize are those of E-Cloud's experiment. With 6 votes of 10 the age alone is a majority: once all ages differ the rule
is a rota, the tokens decide nothing, and the stakes merely go round.

Concentration of amounts x₁ ≤ … ≤ x_n with shares s: Gini = Σ(2i − n − 1)·x_i / (n·Σx), 0 for equal and (n − 1)/n for
all with one; HHI = Σs², 1/n … 1; top share = the largest s.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from itertools import groupby, pairwise
from pathlib import Path
from random import Random
from typing import Final

from consensus.draw import draw_for, next_seed
from ledger.block import BlockContext
from ledger.committee import committee_at
from ledger.execute import execute_block
from ledger.genesis import Genesis, GenesisFeeder, GenesisMember, chain_id, genesis_changes
from ledger.keys import digest
from ledger.parameters import Parameters
from ledger.pools import worth_mvote
from ledger.records import CANDIDATES, Role
from ledger.state import DictReader, State

AGENTS: Final = ("anne", "bob", "carla", "george")
FIRST_MINER: Final = "george"
INITIAL_BALLOT_MVOTE: Final = 100_000
MVOTE: Final = 1_000
MAX_BLOCKS: Final = 100_000
MAX_AGENTS: Final = 64

STAKE_TENTHS: Final = 6
AGE_TENTHS: Final = 8
REPUTATION_TENTHS: Final = 3
STAKE_VOTES: Final = 3
AGE_VOTES: Final = 6
REPUTATION_VOTES: Final = 1
_RANDOM_BITS: Final = 53


class Rule(StrEnum):
    ECLOUD = "ecloud"
    DRAW = "draw"
    CONDORCET = "condorcet"

    @property
    def label(self) -> str:
        return {Rule.ECLOUD: "E-Cloud's rule", Rule.DRAW: "Draw of this chain", Rule.CONDORCET: "Condorcet"}[self]


@dataclass(frozen=True, slots=True)
class Round:
    """One block: the index of the agent who won it, and every agent's ballot in mvote after it."""

    winner: int
    ballots_mvote: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Experiment:
    """``runs``: per rule, in the order of ``Rule``, one round for each of the blocks 1 … ``blocks``."""

    blocks: int
    seed: int
    agents: tuple[str, ...]
    runs: dict[Rule, tuple[Round, ...]]


@dataclass(frozen=True, slots=True)
class Summary:
    """What one rule came to. Shares and concentrations are 0 … 1; runs and waits are in blocks.

    ``longest_run``: most blocks in a row won by one agent. ``longest_wait``: most in a row that some agent did not win.
    """

    rule: Rule
    wins: dict[str, int]
    ballots_mvote: dict[str, int]
    wins_gini: float
    ballots_gini: float
    ballots_hhi: float
    ballots_top_share: float
    highest_top_share: float
    mean_ballots_gini: float
    longest_run: int
    longest_wait: int


class ExperimentError(ValueError):
    """The experiment asked for is outside its limits; the message says which."""


def run(blocks: int, seed: int, agents: Sequence[str] = AGENTS) -> Experiment:
    """Runs the three rules. Errors: ExperimentError."""
    if not 1 <= blocks <= MAX_BLOCKS:
        raise ExperimentError(f"blocks must be 1 … {MAX_BLOCKS}, not {blocks}")
    if not 3 <= len(agents) <= MAX_AGENTS:
        raise ExperimentError(f"an election between others than its last winner takes 3 … {MAX_AGENTS} agents")
    if len(set(agents)) != len(agents) or not all(agents):
        raise ExperimentError("agents need different, non-empty names")
    names = tuple(agents)
    elections = {Rule.ECLOUD: ecloud_rounds, Rule.DRAW: draw_rounds, Rule.CONDORCET: condorcet_rounds}
    runs: dict[Rule, tuple[Round, ...]] = {}
    for rule in Rule:
        random = Random(f"{seed}/{rule}")  # noqa: S311  reproducible is what an experiment must be
        runs[rule] = tuple(elections[rule](blocks, random, names))
    return Experiment(blocks, seed, names, runs)


@dataclass(slots=True)
class _Staking:
    """The state of an election by stakes, and what E-Cloud's program does with it around the choice of the winner."""

    ballots: list[int]
    last_won: list[int]
    reputation: list[int]
    miner: int

    @classmethod
    def start(cls, agents: tuple[str, ...]) -> _Staking:
        count = len(agents)
        miner = agents.index(FIRST_MINER) if FIRST_MINER in agents else count - 1
        last_won, reputation = [-1] * count, [0] * count
        last_won[miner], reputation[miner] = 0, 1
        return cls([INITIAL_BALLOT_MVOTE] * count, last_won, reputation, miner)

    def candidates(self) -> list[int]:
        return [agent for agent in range(len(self.ballots)) if agent != self.miner]

    def stakes(self, random: Random) -> dict[int, int]:
        """Rule 2: candidate → mvote staked."""
        return {agent: self.ballots[agent] * random.randint(1, 100) // 100 for agent in self.candidates()}

    def age(self, block: int, agent: int) -> int:
        return block - 1 - self.last_won[agent]

    def settle(self, block: int, winner: int, stakes: dict[int, int]) -> Round:
        """Rule 4: every stake to the winner, who mines the next block."""
        for agent, stake in stakes.items():
            self.ballots[agent] -= stake
        self.ballots[winner] += sum(stakes.values())
        self.last_won[winner] = block
        self.reputation[winner] += 1
        self.miner = winner
        assert sum(self.ballots) == INITIAL_BALLOT_MVOTE * len(self.ballots), "stakes change hands, nothing else"
        return Round(winner, tuple(self.ballots))


def ecloud_rounds(blocks: int, random: Random, agents: tuple[str, ...]) -> Iterator[Round]:
    election = _Staking.start(agents)
    for block in range(1, blocks + 1):
        stakes = election.stakes(random)
        wealth = {
            agent: STAKE_TENTHS * stake
            + AGE_TENTHS * MVOTE * election.age(block, agent)
            + REPUTATION_TENTHS * MVOTE * election.reputation[agent]
            for agent, stake in stakes.items()
        }
        yield election.settle(block, ecloud_winner(wealth, random), stakes)


def ecloud_winner(wealth: dict[int, int], random: Random) -> int:
    """Rules 3 and 4: arg max W/u. Not in proportion to W: of 1, 2 and 3 the last wins 58 % instead of a half."""
    return max(wealth, key=lambda agent: Fraction(wealth[agent], 1 + random.getrandbits(_RANDOM_BITS)))


def condorcet_rounds(blocks: int, random: Random, agents: tuple[str, ...]) -> Iterator[Round]:
    election = _Staking.start(agents)
    for block in range(1, blocks + 1):
        stakes = election.stakes(random)
        ages = {agent: election.age(block, agent) for agent in stakes}
        reputation = {agent: election.reputation[agent] for agent in stakes}
        criteria = ((STAKE_VOTES, stakes), (AGE_VOTES, ages), (REPUTATION_VOTES, reputation))
        yield election.settle(block, condorcet_winner(criteria, random), stakes)


def condorcet_winner(criteria: Sequence[tuple[int, dict[int, int]]], random: Random) -> int:
    """The winner among the candidates of ``criteria``: (votes, candidate → figure, the larger the better).

    Schulze's method (doi:10.1007/s00355-010-0475-4, winning votes), which elects the Condorcet winner if there is one.
    """
    candidates = list(criteria[0][1])
    votes = {
        (one, other): sum(weight for weight, figure in criteria if figure[one] > figure[other])
        for one in candidates
        for other in candidates
    }
    path = {pair: count if count > votes[pair[1], pair[0]] else 0 for pair, count in votes.items()}
    for via in candidates:
        for one in candidates:
            for other in candidates:
                path[one, other] = max(path[one, other], min(path[one, via], path[via, other]))
    unbeaten = [one for one in candidates if all(path[one, other] >= path[other, one] for other in candidates)]
    return unbeaten[0] if len(unbeaten) == 1 else random.choice(unbeaten)


def draw_rounds(blocks: int, random: Random, agents: tuple[str, ...]) -> Iterator[Round]:
    genesis = _genesis(len(agents))
    chain = chain_id(genesis)
    accounts = [member.account for member in genesis.members]
    reader = DictReader({})
    reader.apply(genesis_changes(genesis))
    for height in range(1, blocks + 1):
        draw = draw_for(reader, height)
        producer, beta = draw.leader_account(0), random.randbytes(64)
        signers = frozenset(member.account for member in committee_at(reader, height - 1).members if height > 1)
        context = BlockContext(
            chain_id=chain,
            height=height,
            time_ms=genesis.time_ms + height * genesis.parameters.block_interval_ms,
            producer=producer,
            skipped=(),
            signers=signers,
            committee=signers,
            beacon=beta,
            seed=next_seed(draw.seed, beta),
        )
        reader.apply(execute_block(reader, context, ()).changes)
        yield Round(accounts.index(producer), _worths(State(reader), accounts))


def _genesis(count: int) -> Genesis:
    members = tuple(
        GenesisMember(
            account=digest(b"account", bytes([index])),
            name=f"agent-{index}",
            roles=int(Role.APPROVER) if index == 0 else 0,
            feeder="feeder",
            node_key=digest(b"node", bytes([index])),
            watt_uwatt=0,
            grid_ugrid=0,
            voting_rule=None,
        )
        for index in range(count)
    )
    parameters = Parameters(initial_ballot_mvote=INITIAL_BALLOT_MVOTE)
    return Genesis(
        name="voting experiment",
        time_ms=parameters.period_ms,
        parameters=parameters,
        feeders=(GenesisFeeder("feeder", "substation"),),
        members=members,
        meters=(),
        grid_supply_ugrid=0,
        grid_reserve_ugrid=0,
    )


def _worths(state: State, accounts: Sequence[bytes]) -> tuple[int, ...]:
    candidates = [CANDIDATES.get(state, account) for account in accounts]
    return tuple(worth_mvote(candidate) for candidate in candidates if candidate is not None)


def gini(amounts: Sequence[int]) -> float:
    total, count = sum(amounts), len(amounts)
    if total == 0:
        return 0.0
    ranked = enumerate(sorted(amounts), start=1)
    return sum((2 * rank - count - 1) * amount for rank, amount in ranked) / (count * total)


def hhi(amounts: Sequence[int]) -> float:
    total = sum(amounts)
    return sum(amount * amount for amount in amounts) / (total * total) if total else 0.0


def top_share(amounts: Sequence[int]) -> float:
    total = sum(amounts)
    return max(amounts) / total if total else 0.0


def wins_so_far(rounds: Sequence[Round]) -> list[tuple[int, ...]]:
    """Blocks won by each agent up to and with each round."""
    wins = [0] * len(rounds[0].ballots_mvote)
    counts: list[tuple[int, ...]] = []
    for round_ in rounds:
        wins[round_.winner] += 1
        counts.append(tuple(wins))
    return counts


def longest_run(winners: Sequence[int]) -> int:
    return max(len(list(group)) for _, group in groupby(winners))


def longest_wait(winners: Sequence[int], count: int) -> int:
    longest = 0
    for agent in range(count):
        won = [-1, *(place for place, winner in enumerate(winners) if winner == agent), len(winners)]
        longest = max(longest, *(later - earlier - 1 for earlier, later in pairwise(won)))
    return longest


def summarise(experiment: Experiment) -> list[Summary]:
    """One row per rule, in the order of ``Rule``."""
    rows: list[Summary] = []
    for rule, rounds in experiment.runs.items():
        winners = [round_.winner for round_ in rounds]
        wins, ballots = wins_so_far(rounds)[-1], rounds[-1].ballots_mvote
        rows.append(
            Summary(
                rule=rule,
                wins=dict(zip(experiment.agents, wins, strict=True)),
                ballots_mvote=dict(zip(experiment.agents, ballots, strict=True)),
                wins_gini=gini(wins),
                ballots_gini=gini(ballots),
                ballots_hhi=hhi(ballots),
                ballots_top_share=top_share(ballots),
                highest_top_share=max(top_share(round_.ballots_mvote) for round_ in rounds),
                mean_ballots_gini=sum(gini(round_.ballots_mvote) for round_ in rounds) / len(rounds),
                longest_run=longest_run(winners),
                longest_wait=longest_wait(winners, len(experiment.agents)),
            )
        )
    return rows


def write_csv(experiment: Experiment, path: Path) -> None:
    """One line per rule and block. Ballots in voting tokens with three decimals, concentrations with six."""
    agents = experiment.agents
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["rule", "block", "winner"]
            + [f"ballot_{agent}" for agent in agents]
            + [f"wins_{agent}" for agent in agents]
            + ["ballots_gini", "ballots_hhi", "ballots_top_share"]
        )
        for rule, rounds in experiment.runs.items():
            for block, (round_, wins) in enumerate(zip(rounds, wins_so_far(rounds), strict=True), start=1):
                ballots = round_.ballots_mvote
                measures = (gini(ballots), hhi(ballots), top_share(ballots))
                writer.writerow(
                    [rule.value, block, agents[round_.winner]]
                    + [f"{ballot // MVOTE}.{ballot % MVOTE:03d}" for ballot in ballots]
                    + [str(count) for count in wins]
                    + [f"{measure:.6f}" for measure in measures]
                )
