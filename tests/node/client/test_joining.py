"""What an approver signs, and what stands in the way of it."""

from __future__ import annotations

import msgspec
import pytest

from ledger.transactions import RegisterMember, RegisterMeter, Transfer
from node.api.examples import ACCOUNT, JOIN_REQUESTS
from node.client.joining import (
    JoinError,
    denial_message,
    find_request,
    plan_grant,
    require_approver,
    require_grantable,
)
from node.client.models import Account, JoinRequest, Member
from node.joining import Denial, decode_message
from tests.node.joining_examples import CHAIN_ID
from tests.support.chain import key_for

REQUEST = JOIN_REQUESTS.requests[0]


def changed(**values: object) -> JoinRequest:
    return msgspec.structs.replace(REQUEST, **values)


def approver(roles: list[str], watt_uwatt: int = 10**9) -> Account:
    member = Member(
        account=ACCOUNT.account,
        account_key=ACCOUNT.account_key,
        roles=roles,
        feeder="linden",
        substation="north",
        node_key=None,
        meters=[],
        registered_height=0,
    )
    return msgspec.structs.replace(ACCOUNT, member=member, watt_uwatt=watt_uwatt)


def test_a_grant_is_registration_meter_and_first_fees() -> None:
    # When
    grant = plan_grant(REQUEST, 1_000)
    # Then
    member, meter, welcome = grant.payloads
    key = bytes.fromhex(REQUEST.account_key)
    assert member == RegisterMember(key, "dora", 0, "linden")
    assert isinstance(meter, RegisterMeter)
    assert (meter.owner, meter.kind, meter.role) == (key, 2, 1)
    assert welcome == Transfer(key, 1, 20_000, "welcome")
    assert (grant.fees_uwatt, grant.cost_uwatt) == (3_000, 23_000)
    facts = dict(grant.facts())
    assert facts["you pay"] == "0.023 WATT, fees of 0.003 WATT included"
    assert "0.02 WATT" in facts["is given"]


def test_without_a_welcome_nothing_is_transferred() -> None:
    grant = plan_grant(changed(meters=[]), 1_000, 0)
    assert [type(payload) for payload in grant.payloads] == [RegisterMember]
    assert "is given" not in dict(grant.facts())


def test_what_stands_in_the_way() -> None:
    grant = plan_grant(REQUEST, 1_000)
    require_grantable(grant, approver(["approver"]))
    with pytest.raises(JoinError, match="is no approver"):
        require_grantable(grant, approver(["gateway"]))
    with pytest.raises(JoinError, match="is no approver"):
        require_approver(msgspec.structs.replace(ACCOUNT, member=None))
    with pytest.raises(JoinError, match=r"granting costs 0\.023 WATT"):
        require_grantable(grant, approver(["approver"], 22_999))
    with pytest.raises(JoinError, match="was denied"):
        require_grantable(plan_grant(changed(state="denied"), 1_000), approver(["approver"]))
    with pytest.raises(JoinError, match="cannot be granted: taken"):
        require_grantable(plan_grant(changed(obstacle="taken"), 1_000), approver(["approver"]))


def test_a_request_is_found_by_name_address_key_or_id() -> None:
    other = changed(id="2e" * 32, address="ec1", account_key="ee" * 32)
    denied = changed(id="3e" * 32, name="emil", state="denied")
    for who in (REQUEST.address, REQUEST.account_key, REQUEST.id, REQUEST.id[:6]):
        assert find_request([REQUEST, other, denied], who) == REQUEST
    assert find_request([REQUEST, denied], "dora") == REQUEST
    with pytest.raises(JoinError, match="2 newcomers wish to be called 'dora'; name one by its address"):
        find_request([REQUEST, other], "dora")
    with pytest.raises(JoinError, match="nobody who asks to join is called 'emil'; there waits: dora"):
        find_request([REQUEST, denied], "emil")
    with pytest.raises(JoinError, match="there waits: nobody"):
        find_request([], "dora")


def test_a_denial_is_for_the_account_on_its_invite() -> None:
    message = decode_message(denial_message(key_for("account", "anne"), CHAIN_ID, REQUEST, "who?"))
    assert isinstance(message, Denial)
    message.require_signature(CHAIN_ID)
    assert (message.signed.account.hex(), message.signed.invite.hex()) == (REQUEST.account_key, REQUEST.invite)
    assert message.signed.reason == "who?"
