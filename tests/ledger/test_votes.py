"""Casting, withdrawing, rules and rejoining, and that no order of them makes or wrongs anybody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger.balances import give_votes, mint_votes
from ledger.conservation import check_block
from ledger.encoding import MAX_INTEGER
from ledger.pools import buy_shares, expel, get_shares, sell_shares, withdrawable_mvote, worth_mvote
from ledger.records import CANDIDATES, STAKES, VOTING_RULES, Candidate, CandidateStatus, FrozenPot, RuleTarget, Stake
from ledger.refusal import Refusal
from ledger.state import State
from ledger.transactions import CastVotes, Payload, Rejoin, SetVotingRule, Transfer, WithdrawVotes
from tests.ledger.neighbourhood import PARAMETERS, Neighbourhood, account_key, make_genesis, seeded_key

BALLOT = PARAMETERS.initial_ballot_mvote


def cast(candidate: str, amount: int) -> CastVotes:
    return CastVotes(candidate=account_key(candidate).public_key, amount_mvote=amount)


def withdraw(candidate: str, amount: int) -> WithdrawVotes:
    return WithdrawVotes(candidate=account_key(candidate).public_key, amount_mvote=amount)


def target(candidate: str, share_bps: int) -> RuleTarget:
    return RuleTarget(candidate=account_key(candidate).public_key, share_bps=share_bps)


def endow(street: Neighbourhood, name: str, votes_mvote: int) -> None:
    """Voting tokens as if minted and kept."""
    state = street.state
    mint_votes(state, votes_mvote)
    give_votes(state, account_key(name).public_key, votes_mvote)
    street.reader.apply(state.changes())


def expelled(street: Neighbourhood, name: str) -> None:
    state = street.state
    expel(state, account_key(name).public_key)
    street.reader.apply(state.changes())


class TestCastAndWithdraw:
    def test_votes_cast_on_another_can_be_withdrawn_again(self) -> None:
        street = Neighbourhood(make_genesis(parameters=replace(PARAMETERS, ante_divisor=10**9)))
        endow(street, "bob", 5_000)
        assert street.refusal(street.sign("bob", cast("carla", 4_000))) is None
        assert street.account("bob").votes_mvote == 1_000
        assert street.candidate("carla").pool_mvote == BALLOT + 4_000
        assert street.shares("carla", "bob") == 4_000
        assert street.refusal(street.sign("bob", withdraw("carla", 4_000))) is None

        assert street.account("bob").votes_mvote == 5_000
        assert street.shares("carla", "bob") == 0
        assert STAKES.get(street.state, account_key("carla").public_key, account_key("bob").public_key) is None

    def test_both_appear_in_the_candidates_history(self) -> None:
        street = Neighbourhood()
        endow(street, "bob", 5_000)
        for payload in (cast("carla", 4_000), withdraw("carla", 100)):
            street.block(street.sign("bob", payload))
            assert account_key("carla").public_key in {entry.account for entry in street.last_result.history}

    def test_gains_and_losses_reach_backers_in_proportion(self) -> None:
        street = Neighbourhood()
        endow(street, "bob", BALLOT)
        street.block(street.sign("bob", cast("carla", BALLOT)), producer="anne")
        for _ in range(3):
            street.block(producer="carla")
        for _ in range(3):
            street.block(producer="anne")

        carla = street.candidate("carla")
        assert carla.pool_mvote > 2 * BALLOT
        bob = withdrawable_mvote(carla, street.shares("carla", "bob"))
        own = withdrawable_mvote(carla, street.shares("carla", "carla"))
        assert bob > BALLOT - 20
        assert abs(own - bob) < 30  # bob came one ante later
        assert 0 <= carla.pool_mvote - bob - own <= 1

    def test_a_candidate_may_take_its_own_ballot_out(self) -> None:
        street = Neighbourhood()
        part = street.candidate("bob").pool_mvote - 10
        assert street.refusal(street.sign("bob", withdraw("bob", part))) is None
        assert street.candidate("bob").pool_mvote == 0
        assert street.account("bob").votes_mvote == part

    @pytest.mark.parametrize(
        ("payload", "refusal"),
        [
            (cast("carla", 5_001), Refusal.INSUFFICIENT_VOTES),
            (withdraw("carla", 1), Refusal.INSUFFICIENT_VOTES),
            (withdraw("bob", BALLOT), Refusal.INSUFFICIENT_VOTES),
            (cast("dora", 1), Refusal.NOT_A_CANDIDATE),
            (withdraw("dora", 1), Refusal.NOT_A_CANDIDATE),
            (cast("george", 1), Refusal.CANDIDATE_EXPELLED),
            (withdraw("george", 1), Refusal.CANDIDATE_EXPELLED),
        ],
    )
    def test_what_cannot_be_is_refused(self, payload: Payload, refusal: Refusal) -> None:
        street = Neighbourhood()
        endow(street, "bob", 5_000)
        expelled(street, "george")
        assert street.refusal(street.sign("bob", payload)) is refusal
        assert street.account("bob").votes_mvote == 5_000

    @pytest.mark.parametrize("payload", [cast("carla", 0), withdraw("carla", 0)])
    def test_nothing_is_no_amount(self, payload: Payload) -> None:
        street = Neighbourhood()
        transaction = street.sign("bob", payload)
        assert street.admission(transaction) is Refusal.AMOUNT_ZERO
        assert street.is_invalid(transaction)

    def test_a_suspended_candidate_may_be_backed_and_left(self) -> None:
        street = Neighbourhood()
        endow(street, "bob", 5_000)
        street.set_candidate("carla", status=CandidateStatus.SUSPENDED, suspended_height=1)
        assert street.refusal(street.sign("bob", cast("carla", 500))) is None
        assert street.refusal(street.sign("bob", withdraw("carla", 499))) is None

    def test_what_buys_no_share_is_refused_and_what_is_left_over_stays_with_the_caster(self) -> None:
        # Given carla made one share of hers worth her whole pot: a later backer would lose what does not fill a share
        street = Neighbourhood()
        endow(street, "bob", 5_000)
        state = street.state
        carla = account_key("carla").public_key
        CANDIDATES.put(state, replace(street.candidate("carla"), shares=250), carla)
        STAKES.put(state, Stake(shares=250), carla, carla)
        street.reader.apply(state.changes())

        # When bob casts less than a share is worth, then it is refused
        assert street.refusal(street.sign("bob", cast("carla", 399)), producer="anne") is Refusal.AMOUNT_TOO_SMALL
        # When he casts what is worth four shares and a bit, then the bit is left to him
        before = street.candidate("carla")
        price = -(-worth_mvote(before) * 4 // 250)
        assert street.refusal(street.sign("bob", cast("carla", price + 300)), producer="anne") is None
        assert 0 <= 5_000 - street.account("bob").votes_mvote - price <= 1
        assert street.shares("carla", "bob") == 4

    def test_a_newcomer_pays_for_frozen_pots_so_that_hopping_earns_nothing(self) -> None:
        # Given carla holds a large frozen pot that is released in the next block
        street = Neighbourhood(make_genesis(parameters=replace(PARAMETERS, ante_divisor=10**9)))
        state = street.state
        mint_votes(state, 50_000)
        pot = FrozenPot(release_height=2, amount_mvote=50_000)
        CANDIDATES.put(state, replace(street.candidate("carla"), frozen=(pot,)), account_key("carla").public_key)
        street.reader.apply(state.changes())
        endow(street, "bob", BALLOT)
        # When bob casts before and withdraws all after the release
        street.block(street.sign("bob", cast("carla", BALLOT)))
        street.block()
        part = withdrawable_mvote(street.candidate("carla"), street.shares("carla", "bob"))
        # Then he has what he had, less rounding
        assert street.candidate("carla").frozen == ()
        assert BALLOT - 2 <= part + street.account("bob").votes_mvote <= BALLOT

    def test_void_shares_of_a_worthless_pool_do_not_weigh_on_the_next_cast(self) -> None:
        street = Neighbourhood()
        endow(street, "bob", 5_000)
        state = street.state
        carla = account_key("carla").public_key
        give_votes(state, account_key("anne").public_key, BALLOT)
        CANDIDATES.put(state, replace(street.candidate("carla"), pool_mvote=0), carla)
        street.reader.apply(state.changes())
        assert street.refusal(street.sign("bob", cast("carla", 4_000)), producer="anne") is None

        assert street.shares("carla", "carla") == 0
        assert street.shares("carla", "bob") == 4_000
        assert withdrawable_mvote(street.candidate("carla"), 4_000) == 4_000

    def test_what_the_last_backer_leaves_behind_becomes_the_candidates_own(self) -> None:
        # Given bob is carla's only backer, and she has a frozen pot
        street = Neighbourhood()
        state = street.state
        carla, bob = account_key("carla").public_key, account_key("bob").public_key
        pot = FrozenPot(release_height=9, amount_mvote=70)
        CANDIDATES.put(state, replace(street.candidate("carla"), pool_mvote=300, shares=100, frozen=(pot,)), carla)
        STAKES.delete(state, carla, carla)
        STAKES.put(state, Stake(shares=100), carla, bob)
        # When he withdraws all that is not frozen
        sell_shares(state, carla, bob, 300)
        # Then the pot is carla's, and whoever backs her now pays for it
        assert STAKES.get(state, carla, bob) is None
        assert get_shares(state, carla, carla) == 70
        assert buy_shares(state, carla, bob, 140) == 140
        assert get_shares(state, carla, bob) == 140

    def test_a_pot_won_without_backers_is_the_candidates_own(self) -> None:
        street = Neighbourhood()
        state = street.state
        carla = account_key("carla").public_key
        give_votes(state, carla, BALLOT)
        CANDIDATES.put(state, replace(street.candidate("carla"), pool_mvote=0, shares=0), carla)
        STAKES.delete(state, carla, carla)
        street.reader.apply(state.changes())
        street.block(producer="carla")

        assert street.shares("carla", "carla") == 3 * (BALLOT // PARAMETERS.ante_divisor)


class TestRules:
    def test_a_rule_is_kept_and_replaced(self) -> None:
        street = Neighbourhood()
        for payload in (
            SetVotingRule(keep_bps=2_000, targets=(target("anne", 6_000), target("bob", 4_000))),
            SetVotingRule(keep_bps=10_000, targets=()),
        ):
            assert street.refusal(street.sign("george", payload)) is None
            rule = VOTING_RULES.get(street.state, account_key("george").public_key)
            assert rule is not None
            assert (rule.keep_bps, rule.targets) == (payload.keep_bps, payload.targets)

    @pytest.mark.parametrize(
        "payload",
        [
            SetVotingRule(keep_bps=0, targets=()),
            SetVotingRule(keep_bps=0, targets=(target("anne", 9_999),)),
            SetVotingRule(keep_bps=0, targets=(target("anne", 6_000), target("bob", 6_000))),
            SetVotingRule(keep_bps=0, targets=(target("anne", 5_000), target("anne", 5_000))),
            SetVotingRule(keep_bps=0, targets=(target("anne", 10_000), target("bob", 0))),
            SetVotingRule(keep_bps=10_000, targets=(target("anne", 10_000),)),
            SetVotingRule(
                keep_bps=0,
                targets=tuple(
                    RuleTarget(candidate=seeded_key(number).public_key, share_bps=588 + 4 * (number == 0))
                    for number in range(17)
                ),
            ),
        ],
    )
    def test_a_rule_that_does_not_add_up_has_no_place_in_a_block(self, payload: SetVotingRule) -> None:
        street = Neighbourhood()
        transaction = street.sign("bob", payload)
        assert street.admission(transaction) is Refusal.BAD_VOTING_RULE
        assert street.is_invalid(transaction)

    def test_a_rule_names_candidates_only(self) -> None:
        street = Neighbourhood()
        expelled(street, "george")
        for name, refusal in (("dora", Refusal.NOT_A_CANDIDATE), ("george", Refusal.CANDIDATE_EXPELLED)):
            payload = SetVotingRule(keep_bps=0, targets=(target(name, 10_000),))
            assert street.refusal(street.sign("bob", payload)) is refusal

    def test_only_members_have_one(self) -> None:
        street = Neighbourhood()
        payment = Transfer(recipient=account_key("stranger").public_key, token=1, amount=9_000, memo="")
        street.block(street.sign("anne", payment))
        payload = SetVotingRule(keep_bps=10_000, targets=())
        assert street.refusal(street.sign("stranger", payload)) is Refusal.NOT_A_MEMBER


class TestRejoin:
    def test_a_suspended_candidate_is_active_again(self) -> None:
        street = Neighbourhood()
        street.block(skipped=["bob", "bob"])
        assert street.candidate("bob").status == CandidateStatus.SUSPENDED
        assert street.refusal(street.sign("bob", Rejoin())) is None

        bob = street.candidate("bob")
        assert (bob.status, bob.missed_in_row, bob.suspended_height, bob.missed_total) == (
            CandidateStatus.ACTIVE,
            0,
            0,
            2,
        )

    def test_others_have_nothing_to_rejoin(self) -> None:
        street = Neighbourhood(make_genesis(without_node=["carla"]))
        expelled(street, "george")
        for name, refusal in (
            ("bob", Refusal.NOT_SUSPENDED),
            ("carla", Refusal.NOT_A_CANDIDATE),
            ("george", Refusal.CANDIDATE_EXPELLED),
        ):
            assert street.refusal(street.sign(name, Rejoin())) is refusal


pool_moves = st.lists(
    st.tuples(st.sampled_from(["buy", "sell", "win", "lose", "release"]), st.integers(0, 3), st.integers(1, 10**9)),
    max_size=25,
)


@given(pool_moves)
def test_no_sequence_of_moves_makes_tokens_or_lets_a_backer_gain_from_another(
    moves: list[tuple[str, int, int]],
) -> None:
    street = Neighbourhood()
    state = street.state
    carla = account_key("carla").public_key
    backers = [carla, *(seeded_key("backer", number).public_key for number in range(3))]
    for move, index, amount in moves:
        backer = backers[index]
        before = CANDIDATES.get(state, carla)
        assert before is not None
        if move == "buy":
            mint_votes(state, amount)
            cost = buy_shares(state, carla, backer, amount)
            assert 0 <= cost <= amount
            give_votes(state, backer, amount - cost)
            _assert_not_diluted(state, carla, before)
            if cost:
                _assert_fair_entry(state, carla, backer, before, cost)
        elif move == "sell":
            part = withdrawable_mvote(before, get_shares(state, carla, backer))
            if part:
                taken = 1 + amount % part
                sell_shares(state, carla, backer, taken)
                give_votes(state, backer, taken)
                _assert_not_diluted(state, carla, before)
        elif move == "lose":
            fine = amount % (before.pool_mvote + 1)
            give_votes(state, backers[1], fine)
            CANDIDATES.put(state, replace(before, pool_mvote=before.pool_mvote - fine), carla)
        elif move == "win" and before.shares:
            mint_votes(state, amount)
            pot = FrozenPot(release_height=1, amount_mvote=amount)
            CANDIDATES.put(state, replace(before, frozen=(*before.frozen, pot)), carla)
        elif move == "release":
            released = replace(before, pool_mvote=worth_mvote(before), frozen=())
            CANDIDATES.put(state, released, carla)
        check_block(state)


def _assert_not_diluted(state: State, candidate_id: bytes, before: Candidate) -> None:
    """A share is worth at least what it was worth before."""
    after = CANDIDATES.get(state, candidate_id)
    assert after is not None
    if before.shares and after.shares and worth_mvote(before):
        assert worth_mvote(after) * before.shares >= worth_mvote(before) * after.shares


def _assert_fair_entry(state: State, candidate_id: bytes, backer: bytes, before: Candidate, cost: int) -> None:
    """What was bought is worth what it cost, less one unit of rounding."""
    after = CANDIDATES.get(state, candidate_id)
    held = STAKES.get(state, candidate_id, backer)
    assert after is not None
    assert held is not None
    bought = after.shares - (before.shares if worth_mvote(before) else 0)
    assert worth_mvote(after) * bought // after.shares >= cost - 1
    assert 0 < after.shares <= MAX_INTEGER


def test_shares_stay_countable_when_a_pool_has_decayed_to_almost_nothing() -> None:
    street = Neighbourhood()
    state = street.state
    carla = account_key("carla").public_key
    CANDIDATES.put(state, replace(street.candidate("carla"), pool_mvote=1, shares=10**13), carla)
    STAKES.put(state, Stake(shares=10**13), carla, carla)
    cost = buy_shares(state, carla, account_key("bob").public_key, 10**9)

    after = CANDIDATES.get(state, carla)
    assert after is not None
    assert 0 < cost < 10**9
    assert after.shares == MAX_INTEGER
    assert buy_shares(state, carla, account_key("bob").public_key, 10**9) == 0
