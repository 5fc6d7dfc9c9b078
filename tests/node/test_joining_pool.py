"""Who is heard, and that nobody fills the memory or tires the approvers."""

from __future__ import annotations

import msgspec
import pytest

from ledger.encoding import encode
from ledger.genesis import genesis_changes
from ledger.records import MEMBERS
from ledger.state import DictReader, State
from ledger.transactions import RegisterMember
from node.invite import LONGEST_INVITE_MS
from node.joining import JoinError, JoinForged, JoinRequest, decode_request
from node.joining_pool import (
    ACCOUNTS_PER_INVITE,
    ACCOUNTS_PER_MEMBER,
    AGAIN_AFTER_MS,
    CLOCKS_DIFFER_MS,
    MAX_REQUESTS,
    JoinPool,
    check_wish,
)
from tests.node.joining_examples import DAY_MS, NOW_MS, make_denial, make_invite, make_meter, make_request
from tests.support.chain import Chain, key_for, make_genesis

GENESIS = make_genesis()
CHAIN = Chain().chain_id
INVITE = make_invite(CHAIN)


@pytest.fixture
def state() -> State:
    changes = genesis_changes(GENESIS)
    return State(DictReader({key: value for key, value in changes.items() if value is not None}))


@pytest.fixture
def pool() -> JoinPool:
    return JoinPool(CHAIN)


def register(state: State, name: str, roles: int = 0) -> None:
    from ledger.registry import put_member

    put_member(state, RegisterMember(key_for("account", name).public_key, name, roles, "mill lane"), None, 1)


def refused(pool: JoinPool, request: JoinRequest, state: State, now_ms: int = NOW_MS) -> str:
    with pytest.raises(JoinError) as caught:
        pool.take(request, state, now_ms)
    return str(caught.value)


def test_who_was_invited_is_heard(pool: JoinPool, state: State) -> None:
    # Given
    request = make_request(INVITE)
    # When
    entry = pool.take(request, state, NOW_MS)
    # Then
    assert entry is not None
    assert (entry.request, entry.denial, entry.heard_ms) == (request, None, NOW_MS)
    assert list(pool) == [entry]
    assert pool.take(request, state, NOW_MS) is None, "known"


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (make_request(make_invite(CHAIN, by=key_for("account", "stranger"))), "nobody who is a member"),
        (make_request(make_invite(bytes(32))), "another network"),
        (make_request(INVITE, "bob", name="bobby"), "a member already"),
        (make_request(INVITE, name="bob"), "the name 'bob' is taken; choose another"),
        (make_request(INVITE, feeder="F9"), "no feeder is called 'F9'; there are: mill lane, oak street"),
        (make_request(INVITE, made_ms=NOW_MS + CLOCKS_DIFFER_MS + 1), "made in the future"),
        (make_request(make_invite(CHAIN, expires_ms=NOW_MS + 2 * LONGEST_INVITE_MS)), "at most 31 days"),
        (make_request(make_invite(CHAIN, expires_ms=NOW_MS - 1), made_ms=NOW_MS - 2), "the invite has expired"),
        (make_request(INVITE, made_ms=NOW_MS - 9, expires_ms=NOW_MS - 1), "the request has expired"),
    ],
)
def test_who_is_not_heard(pool: JoinPool, state: State, request_: JoinRequest, sentence: str) -> None:
    assert sentence in refused(pool, request_, state)
    assert len(pool) == 0


def test_a_key_that_is_in_use(pool: JoinPool, state: State) -> None:
    wish = make_meter(INVITE)
    taken = msgspec.structs.replace(wish, key=key_for("meter", "anne").public_key)
    assert "is in use already" in refused(pool, make_request(INVITE, meters=(taken,)), state)


def test_forged_signatures(pool: JoinPool, state: State) -> None:
    request = make_request(INVITE)
    forged = decode_request(encode(msgspec.structs.replace(request.signed, node_signature=bytes(64))))
    with pytest.raises(JoinForged):
        pool.take(forged, state, NOW_MS)
    assert len(pool) == 0


def test_one_request_per_account_the_newer_takes_its_place(pool: JoinPool, state: State) -> None:
    pool.take(make_request(INVITE), state, NOW_MS)
    soon = make_request(INVITE, name="dorothea", made_ms=NOW_MS + AGAIN_AFTER_MS - 1)
    assert "ask again after 60 s" in refused(pool, soon, state)
    later = make_request(INVITE, name="dorothea", made_ms=NOW_MS + AGAIN_AFTER_MS)
    pool.take(later, state, NOW_MS)
    assert [entry.request for entry in pool] == [later]


def test_an_invite_is_heard_of_few_accounts_ever(pool: JoinPool, state: State) -> None:
    # Given an invite that was spread, whose requests end soon
    for number in range(ACCOUNTS_PER_INVITE):
        pool.take(make_request(INVITE, f"guest{number}", expires_ms=NOW_MS + 1_000), state, NOW_MS)
    pool.review(state, NOW_MS + 2_000)
    assert len(pool) == 0
    # Then nobody new is heard on it, but those who were are
    late = NOW_MS + AGAIN_AFTER_MS
    assert "have asked with this invite already" in refused(pool, make_request(INVITE, made_ms=late), state, late)
    assert pool.take(make_request(INVITE, "guest0", made_ms=late), state, late) is not None
    # until it has ended
    pool.review(state, INVITE.body.expires_ms + 1)
    fresh = make_invite(CHAIN, expires_ms=NOW_MS + 14 * DAY_MS)
    assert pool.take(make_request(fresh, made_ms=NOW_MS + 8 * DAY_MS), state, NOW_MS + 8 * DAY_MS) is not None


def test_a_member_who_invites_everybody_is_heard_of_a_few(pool: JoinPool, state: State) -> None:
    for number in range(ACCOUNTS_PER_MEMBER):
        invite = make_invite(CHAIN, name=f"guest{number}")
        pool.take(make_request(invite, f"guest{number}"), state, NOW_MS)
    another = make_invite(CHAIN, name="another")
    assert "with invites of this member already" in refused(pool, make_request(another), state)
    by_bob = make_invite(CHAIN, by=key_for("account", "bob"))
    assert pool.take(make_request(by_bob), state, NOW_MS) is not None


def test_no_more_than_the_limit_whoever_invites(pool: JoinPool, state: State) -> None:
    inviters = [f"inviter{number}" for number in range(MAX_REQUESTS // ACCOUNTS_PER_INVITE + 1)]
    for inviter in inviters:
        register(state, inviter)
    requests = [
        make_request(make_invite(CHAIN, by=key_for("account", inviter)), f"{inviter}-{number}", meters=())
        for inviter in inviters
        for number in range(ACCOUNTS_PER_INVITE)
    ]
    for request in requests[:MAX_REQUESTS]:
        pool.take(request, state, NOW_MS)
    assert "64 requests wait already" in refused(pool, requests[MAX_REQUESTS], state)
    assert len(pool) == MAX_REQUESTS


def test_denied_by_an_approver(pool: JoinPool, state: State) -> None:
    # Given
    request = make_request(INVITE)
    pool.take(request, state, NOW_MS)
    denial = make_denial(request)
    # When
    entry = pool.take(denial, state, NOW_MS)
    # Then
    assert entry is not None
    assert entry.denial == denial
    assert list(pool) == [entry]
    assert pool.take(denial, state, NOW_MS) is None, "known"
    again = make_request(INVITE, made_ms=NOW_MS + AGAIN_AFTER_MS)
    assert "the request was denied: who are you?" in refused(pool, again, state)
    fresh = make_invite(CHAIN, height=70_001)
    assert pool.take(make_request(fresh, made_ms=NOW_MS + AGAIN_AFTER_MS), state, NOW_MS) is not None


def test_denials_that_are_not_heard(pool: JoinPool, state: State) -> None:
    request = make_request(INVITE)
    with pytest.raises(JoinError, match="no such request waits here"):
        pool.take(make_denial(request), state, NOW_MS)
    pool.take(request, state, NOW_MS)
    with pytest.raises(JoinError, match="only an approver denies"):
        pool.take(make_denial(request, by="bob"), state, NOW_MS)
    denial = make_denial(request)
    forged = msgspec.structs.replace(denial.signed, reason="ha")
    with pytest.raises(JoinForged):
        pool.take(type(denial)(encode(forged), forged), state, NOW_MS)
    assert [entry.denial for entry in pool] == [None]


def test_granted_and_expired_requests_go(pool: JoinPool, state: State) -> None:
    # Given
    pool.take(make_request(INVITE), state, NOW_MS)
    pool.take(make_request(INVITE, "emil", expires_ms=NOW_MS + 5), state, NOW_MS)
    pool.take(make_request(INVITE, "fatma"), state, NOW_MS)
    register(state, "dora")
    # When
    ended = pool.review(state, NOW_MS + 6)
    # Then
    assert [(one.entry.request.body.name, one.outcome) for one in ended] == [("dora", "granted"), ("emil", "expired")]
    assert [entry.request.body.name for entry in pool] == ["fatma"]


def test_what_stands_against_a_wish_may_come_later(pool: JoinPool, state: State) -> None:
    request = make_request(INVITE)
    check_wish(request, state)
    register(state, "emil")
    record = MEMBERS.get(state, key_for("account", "emil").public_key)
    assert record is not None
    from ledger.records import NAMES, Name

    NAMES.put(state, Name(key_for("account", "emil").public_key), b"dora")
    with pytest.raises(JoinError, match="the name 'dora' is taken"):
        check_wish(request, state)
