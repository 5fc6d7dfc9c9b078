"""Members, meters and node keys: who may, what must be new, and what a first node key brings."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from ledger.committee import committee_at
from ledger.keys import Domain, SigningKey
from ledger.pools import expel
from ledger.records import CANDIDATES, MEMBERS, NAMES, NODE_KEYS, CandidateStatus, MeterKind, MeterRole, Role
from ledger.refusal import Refusal
from ledger.registry import MAX_NAMEPLATE_W, MAX_REGISTER_WH, MAX_STORAGE_WH
from ledger.transactions import DelegateNodeKey, RegisterMember, RegisterMeter, Rejoin, Transfer
from tests.ledger.neighbourhood import (
    FIRST_PERIOD,
    PARAMETERS,
    Neighbourhood,
    account_key,
    make_genesis,
    meter_key,
    node_key,
    seeded_key,
)
from tests.ledger.neighbourhood import (
    NAMES as HOMES,
)


def member(home: str = "dora", /, **fields: Any) -> RegisterMember:
    payload = RegisterMember(account=account_key(home).public_key, name=home, roles=0, feeder="feeder-1")
    return replace(payload, **fields)


def meter(owner: str = "dora", /, **fields: Any) -> RegisterMeter:
    payload = RegisterMeter(
        meter=meter_key(owner).public_key,
        owner=account_key(owner).public_key,
        kind=MeterKind.SOLAR,
        role=MeterRole.CONNECTION,
        import_nameplate_w=11_000,
        export_nameplate_w=8_000,
        storage_capacity_wh=0,
        import_wh=7,
        export_wh=8,
    )
    return replace(payload, **fields)


def delegation(street: Neighbourhood, owner: str, key: SigningKey) -> DelegateNodeKey:
    account = account_key(owner).public_key
    return DelegateNodeKey(node_key=key.public_key, proof=key.sign(Domain.NODE_KEY, street.chain_id, account))


def endow(street: Neighbourhood, name: str, amount: int = 100_000) -> None:
    payload = Transfer(recipient=account_key(name).public_key, token=1, amount=amount, memo="")
    assert street.refusal(street.sign("anne", payload)) is None


class TestMembers:
    def test_an_approver_registers_a_member_whose_history_shows_it(self) -> None:
        street = Neighbourhood()
        assert street.refusal(street.sign("anne", member(roles=int(Role.APPROVER | Role.GATEWAY)))) is None

        dora = street.member("dora")
        assert (dora.name, dora.roles, dora.feeder, dora.node_key, dora.registered_height) == (
            "dora",
            int(Role.APPROVER | Role.GATEWAY),
            "feeder-1",
            None,
            1,
        )
        assert {entry.account for entry in street.last_result.history} == {
            account_key("anne").public_key,
            account_key("dora").public_key,
        }

    def test_a_member_registered_as_approver_can_register_the_next(self) -> None:
        street = Neighbourhood()
        street.block(street.sign("anne", member(roles=int(Role.APPROVER))))
        endow(street, "dora")
        assert street.refusal(street.sign("dora", member("emil"))) is None

    @pytest.mark.parametrize(
        ("payload", "refusal"),
        [
            (member(feeder="feeder-2"), Refusal.UNKNOWN_FEEDER),
            (member(name="bob"), Refusal.NAME_TAKEN),
            (member(account=account_key("bob").public_key), Refusal.ALREADY_MEMBER),
            (member(account=account_key("bob").public_key, name="bob"), Refusal.ALREADY_MEMBER),
            (member(account=meter_key("bob").public_key), Refusal.KEY_IN_USE),
            (member(account=node_key("bob").public_key), Refusal.KEY_IN_USE),
        ],
    )
    def test_what_the_state_does_not_allow_is_refused(self, payload: RegisterMember, refusal: Refusal) -> None:
        street = Neighbourhood()
        transaction = street.sign("anne", payload)

        assert street.admission(transaction) is refusal
        assert street.refusal(transaction) is refusal

    def test_nobody_but_an_approver_registers(self) -> None:
        street = Neighbourhood()
        endow(street, "stranger")
        for sender in ("bob", "stranger"):
            assert street.refusal(street.sign(sender, member())) is Refusal.NOT_APPROVER

    @pytest.mark.parametrize("name", ["", "Anne", "1st", "-x", "ä", "a b", "a\n", "x" * 33, "ec!"])
    def test_a_bad_name_has_no_place_in_a_block(self, name: str) -> None:
        street = Neighbourhood()
        transaction = street.sign("anne", member(name=name))

        assert street.admission(transaction) is Refusal.BAD_NAME
        assert street.is_invalid(transaction)

    def test_roles_without_meaning_are_malformed(self) -> None:
        street = Neighbourhood()
        assert street.admission(street.sign("anne", member(roles=16))) is Refusal.MALFORMED

    def test_the_number_of_members_is_limited(self) -> None:
        street = Neighbourhood(make_genesis(parameters=replace(PARAMETERS, max_members=5)))
        assert street.refusal(street.sign("anne", member("dora"))) is None
        assert street.refusal(street.sign("anne", member("emil"))) is Refusal.TOO_MANY_MEMBERS

    def test_being_sent_money_first_does_not_hinder(self) -> None:
        street = Neighbourhood()
        endow(street, "dora", 77)
        assert street.refusal(street.sign("anne", member())) is None
        assert street.account("dora").watt_uwatt == 77


class TestMeters:
    def test_a_meter_begins_with_the_running_period_and_its_registers(self) -> None:
        street = Neighbourhood()
        street.block(street.sign("anne", member()), after_ms=15_000)
        assert street.refusal(street.sign("anne", meter(storage_capacity_wh=5_000))) is None

        found = street.meter("dora")
        assert (found.last_period, found.import_wh, found.export_wh, found.storage_capacity_wh) == (
            FIRST_PERIOD,
            7,
            8,
            5_000,
        )
        assert street.member("dora").meters == (meter_key("dora").public_key,)

    def test_a_sub_meter_stands_beside_the_connection_meter(self) -> None:
        street = Neighbourhood()
        payload = meter("bob", meter=seeded_key("sub").public_key, role=MeterRole.SUB)
        assert street.refusal(street.sign("anne", payload)) is None
        assert len(street.member("bob").meters) == 2

    @pytest.mark.parametrize(
        ("payload", "refusal"),
        [
            (meter("stranger"), Refusal.NOT_A_MEMBER),
            (meter("bob"), Refusal.KEY_IN_USE),
            (meter("bob", meter=account_key("carla").public_key), Refusal.KEY_IN_USE),
            (meter("bob", meter=node_key("carla").public_key), Refusal.KEY_IN_USE),
            (meter("bob", meter=seeded_key("second").public_key), Refusal.CONNECTION_METER_EXISTS),
        ],
    )
    def test_what_the_state_does_not_allow_is_refused(self, payload: RegisterMeter, refusal: Refusal) -> None:
        street = Neighbourhood()
        assert street.refusal(street.sign("anne", payload)) is refusal

    def test_nobody_but_an_approver_registers(self) -> None:
        street = Neighbourhood()
        assert street.refusal(street.sign("bob", meter("bob"))) is Refusal.NOT_APPROVER

    @pytest.mark.parametrize(
        ("payload", "refusal"),
        [
            (meter(kind=0), Refusal.MALFORMED),
            (meter(kind=6), Refusal.MALFORMED),
            (meter(role=0), Refusal.MALFORMED),
            (meter(role=3), Refusal.MALFORMED),
            (meter(meter=account_key("dora").public_key), Refusal.KEY_IN_USE),
            (meter(import_nameplate_w=MAX_NAMEPLATE_W + 1), Refusal.AMOUNT_OVERFLOW),
            (meter(export_nameplate_w=MAX_NAMEPLATE_W + 1), Refusal.AMOUNT_OVERFLOW),
            (meter(storage_capacity_wh=MAX_STORAGE_WH + 1), Refusal.AMOUNT_OVERFLOW),
            (meter(import_wh=MAX_REGISTER_WH + 1), Refusal.AMOUNT_OVERFLOW),
            (meter(export_wh=MAX_REGISTER_WH + 1), Refusal.AMOUNT_OVERFLOW),
        ],
    )
    def test_what_can_never_be_valid_has_no_place_in_a_block(self, payload: RegisterMeter, refusal: Refusal) -> None:
        street = Neighbourhood()
        transaction = street.sign("anne", payload)

        assert street.admission(transaction) is refusal
        assert street.is_invalid(transaction)

    def test_the_number_of_meters_is_limited(self) -> None:
        street = Neighbourhood(make_genesis(parameters=replace(PARAMETERS, max_meters_per_member=2)))
        for number, expected in ((1, None), (2, Refusal.TOO_MANY_METERS)):
            payload = meter("bob", meter=seeded_key("sub", number).public_key, role=MeterRole.SUB)
            assert street.refusal(street.sign("anne", payload)) is expected


class TestNodeKeys:
    def test_the_first_node_key_makes_a_candidate_with_the_initial_ballot_as_its_own(self) -> None:
        street = Neighbourhood(make_genesis(without_node=["george"]))
        minted = street.supply().votes_minted_mvote
        assert street.refusal(street.sign("george", delegation(street, "george", node_key("george")))) is None

        ballot = PARAMETERS.initial_ballot_mvote
        george = street.candidate("george")
        assert (george.status, george.pool_mvote, george.shares, george.last_mined_height) == (
            CandidateStatus.ACTIVE,
            ballot,
            ballot,
            1,
        )
        assert street.shares("george", "george") == ballot
        assert street.supply().votes_minted_mvote == minted + ballot

    def test_a_later_node_key_replaces_the_first_and_brings_no_second_ballot(self) -> None:
        street = Neighbourhood()
        minted = street.supply().votes_minted_mvote
        fresh = seeded_key("fresh node")
        assert street.refusal(street.sign("bob", delegation(street, "bob", fresh))) is None

        assert street.member("bob").node_key == fresh.public_key
        assert NODE_KEYS.get(street.state, node_key("bob").public_key) is None
        assert street.supply().votes_minted_mvote == minted

    def test_the_committee_knows_a_new_node_key_from_the_next_snapshot_on(self) -> None:
        street = Neighbourhood()
        fresh = seeded_key("fresh node")
        street.block(street.sign("bob", delegation(street, "bob", fresh)))

        def key_of_bob(height: int) -> bytes:
            members = committee_at(street.reader, height).members
            return next(one.node_key for one in members if one.account == account_key("bob").public_key)

        while street.height < PARAMETERS.epoch_blocks:
            street.block(producer=HOMES[street.height % 4])
        assert key_of_bob(PARAMETERS.epoch_blocks + 1) == node_key("bob").public_key
        assert key_of_bob(PARAMETERS.epoch_blocks + 2) == fresh.public_key

    def test_only_a_member_delegates(self) -> None:
        street = Neighbourhood()
        endow(street, "stranger")
        payload = delegation(street, "stranger", seeded_key("fresh node"))
        assert street.refusal(street.sign("stranger", payload)) is Refusal.NOT_A_MEMBER

    @pytest.mark.parametrize("key", [node_key("carla"), node_key("bob"), account_key("carla"), meter_key("carla")])
    def test_a_key_in_use_is_refused(self, key: SigningKey) -> None:
        street = Neighbourhood()
        assert street.refusal(street.sign("bob", delegation(street, "bob", key))) is Refusal.KEY_IN_USE

    def test_a_key_that_a_kept_committee_holds_for_another_is_in_use(self) -> None:
        # Given carla gave up her node key, which evidence of late would still name her by
        street = Neighbourhood()
        street.block(street.sign("carla", delegation(street, "carla", seeded_key("fresh node"))))
        # When bob delegates it, then it is refused, but carla may have it back
        payload = delegation(street, "bob", node_key("carla"))
        assert street.refusal(street.sign("bob", payload)) is Refusal.KEY_IN_USE
        assert street.refusal(street.sign("carla", delegation(street, "carla", node_key("carla")))) is None

    def test_the_account_key_is_no_node_key(self) -> None:
        street = Neighbourhood()
        transaction = street.sign("bob", delegation(street, "bob", account_key("bob")))
        assert street.admission(transaction) is Refusal.KEY_IN_USE
        assert street.is_invalid(transaction)

    @pytest.mark.parametrize(
        ("domain", "account", "chain"),
        [
            (Domain.VOTE, "bob", None),
            (Domain.NODE_KEY, "carla", None),
            (Domain.NODE_KEY, "bob", bytes(32)),
        ],
    )
    def test_a_proof_of_something_else_is_refused(self, domain: Domain, account: str, chain: bytes | None) -> None:
        street = Neighbourhood()
        key = seeded_key("fresh node")
        proof = key.sign(domain, chain or street.chain_id, account_key(account).public_key)
        transaction = street.sign("bob", DelegateNodeKey(node_key=key.public_key, proof=proof))

        assert street.admission(transaction) is Refusal.BAD_KEY_PROOF
        assert street.is_invalid(transaction)

    def test_a_node_key_acts_for_its_account_with_a_nonce_of_its_own(self) -> None:
        street = Neighbourhood()
        street.set_candidate("bob", status=CandidateStatus.SUSPENDED, suspended_height=1)
        before = street.account("bob")
        assert street.refusal(street.sign("bob", Rejoin(), key=node_key("bob")), producer="anne") is None

        after = street.account("bob")
        assert street.candidate("bob").status == CandidateStatus.ACTIVE
        assert (after.nonce, after.watt_uwatt) == (before.nonce, before.watt_uwatt - 1_000)
        record = NODE_KEYS.get(street.state, node_key("bob").public_key)
        assert record is not None
        assert record.nonce == 1

    def test_a_node_key_that_returns_does_not_replay_what_it_signed_before(self) -> None:
        # Given bob's node key has rejoined once, was given up, and is delegated again
        street = Neighbourhood()
        street.set_candidate("bob", status=CandidateStatus.SUSPENDED, suspended_height=1)
        rejoin = street.sign("bob", Rejoin(), key=node_key("bob"))
        assert street.refusal(rejoin, producer="anne") is None
        for key in (seeded_key("fresh node"), node_key("bob")):
            proof = key.sign(Domain.NODE_KEY, street.chain_id, account_key("bob").public_key)
            delegation = street.sign("bob", DelegateNodeKey(node_key=key.public_key, proof=proof))
            assert street.refusal(delegation, producer="anne") is None

        # When the old transaction is shown again
        # Then its nonce is long used
        street.set_candidate("bob", status=CandidateStatus.SUSPENDED, suspended_height=1)
        assert street.admission(rejoin) is Refusal.NONCE_USED


class TestRegisteringAnew:
    def expelled(self) -> Neighbourhood:
        street = Neighbourhood()
        state = street.state
        expel(state, account_key("bob").public_key)
        street.reader.apply(state.changes())
        return street

    def test_an_expelled_member_registered_anew_is_a_candidate_with_a_fresh_ballot(self) -> None:
        street = self.expelled()
        payload = member("bob", name="robert", roles=int(Role.ARBITRATOR))
        assert street.refusal(street.sign("anne", payload)) is None

        bob = street.member("bob")
        assert (bob.name, bob.node_key, bob.registered_height) == ("robert", node_key("bob").public_key, 1)
        assert bob.meters == (meter_key("bob").public_key,)
        assert street.candidate("bob").status == CandidateStatus.ACTIVE
        assert street.shares("bob", "bob") == PARAMETERS.initial_ballot_mvote
        assert NAMES.get(street.state, b"bob") is None
        assert MEMBERS.get(street.state, account_key("bob").public_key) == bob

    def test_only_once(self) -> None:
        street = self.expelled()
        assert street.refusal(street.sign("anne", member("bob"))) is None
        assert street.refusal(street.sign("anne", member("bob"))) is Refusal.ALREADY_MEMBER

    def test_a_new_node_key_does_not_end_an_expulsion(self) -> None:
        street = self.expelled()
        payload = delegation(street, "bob", seeded_key("fresh node"))
        assert street.refusal(street.sign("bob", payload)) is None

        found = CANDIDATES.get(street.state, account_key("bob").public_key)
        assert found is not None
        assert (found.status, found.pool_mvote) == (CandidateStatus.EXPELLED, 0)
