"""What a newcomer's program does beside its node, through the node's API, until the member's node is a candidate.

1. The node catches up; the block the invite trusts is compared with the one fetched, the invite's signer looked up.
2. The wish is filed, signed by account and node key. What was filed before is filed again as it was, so that whoever is
   interrupted goes on; a changed wish is a new request.
3. An approver grants (the account becomes a member, and gets WATT for fees) or denies.
4. The account delegates the node key: from the next epoch on the node votes.
5. Everything is driven by the node's events; nothing is assumed that the chain does not say, so a second run begins
   wherever the first one ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from ledger.keys import Domain, SigningKey, address_text
from ledger.transactions import DelegateNodeKey
from node.client.client import NodeClient
from node.client.errors import ApiProblem, NodeAway
from node.client.events import BlockFinal, JoinEnded
from node.client.format import count, duration, watt
from node.client.models import Account, Status
from node.client.wallet import sign_and_submit, wait_final
from node.clock import monotonic_ms, system_wall_ms
from node.invite import Invite, InviteError
from node.joining import JoinError, JoinRequest, WishedMeter, decode_message, sign_request
from node.joining_directory import CannotJoin, JoinRecord, save_record
from node.joining_pool import AGAIN_AFTER_MS

FINAL_WITHIN_S: Final = 120.0
FETCHED_PAUSE_MS: Final = 200

T = TypeVar("T")
Tell = Callable[[str], None]


class Denied(CannotJoin):
    """An approver said no."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Who wants to join as what. ``meters`` are signed for the account."""

    invite: Invite
    account: SigningKey
    node_key: SigningKey
    meters: tuple[WishedMeter, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """``votes_from_height``: from there on the node is in the committee, if it is on."""

    name: str
    address: str
    node_key: str
    registered_height: int
    votes_from_height: int
    wait_ms: int


class Newcomer:
    """``tell`` is given a sentence for each step, and again as it proceeds; ``directory`` is that of the node."""

    def __init__(self, client: NodeClient, directory: Path, record: JoinRecord, wish: Wish, tell: Tell) -> None:
        self._client = client
        self._directory = directory
        self._record = record
        self._wish = wish
        self._tell = tell

    @property
    def _address(self) -> str:
        return address_text(self._wish.account.public_key)

    async def join(self) -> Joined:
        """Errors: CannotJoin; ClientError."""
        await self._follow(self._caught_up)
        await self._check_invite()
        account = await self._client.account(self._address)
        if account.member is None:
            await self._file()
            self._tell(f"waiting for an approver to grant {self._record.name!r}; this may take a while")
            account = await self._follow(self._granted)
        assert account.member is not None
        self._tell(f"granted: {account.member.account.label} is a member, on feeder {account.member.feeder}")
        if account.member.node_key is None:
            await self._delegate()
        elif account.member.node_key != self._wish.node_key.public_key.hex():
            raise CannotJoin(
                f"{account.member.account.label} runs another node, with the key {account.member.node_key}; this one "
                "follows the chain and does not vote"
            )
        return await self._summary()

    # -- catching up

    async def _caught_up(self) -> Status | None:
        status = await self._client.status()
        trusted = self._wish.invite.body.height
        target = max(status.sync.target_height, trusted)
        if status.peer_count == 0:
            self._tell("looking for the others")
            return None
        if status.height < trusted or status.sync.syncing:
            self._tell(f"fetching the chain: block {count(status.height)} of {count(target)}")
            return None
        self._tell(f"has the chain up to block {count(status.height)}")
        return status

    async def _check_invite(self) -> None:
        """Errors: CannotJoin."""
        body = self._wish.invite.body
        if body.height:
            block = await self._client.block(body.height)
            if block.summary.hash != body.block_hash.hex():
                raise CannotJoin(
                    f"block {body.height} of the chain that was fetched is {block.summary.hash}, and the invite trusts "
                    f"{body.block_hash.hex()}: somebody shows this machine a forged chain. Do not use it; ask the "
                    "inviting member for the addresses of other nodes"
                )
        inviter = await self._client.account(address_text(body.member))
        if inviter.member is None:
            raise CannotJoin(f"the invite is signed by {inviter.account.address}, who is no member of this network")

    # -- the request

    async def _file(self) -> None:
        """Errors: CannotJoin."""
        request = self._request()
        self._record = msgspec.structs.replace(self._record, request=request.message.hex())
        save_record(self._directory, self._record)
        try:
            await self._client.file_join(request.message)
        except ApiProblem as problem:
            raise CannotJoin(problem.detail) from problem
        self._tell(f"asked to join as {self._record.name!r}")

    def _request(self) -> JoinRequest:
        """The one filed before if it still says what is wished, else a new one. Errors: CannotJoin."""
        wish, record, now_ms = self._wish, self._record, system_wall_ms()
        made_ms = now_ms
        former = _former(record)
        if former is not None and former.body.account == wish.account.public_key:
            body = former.body
            same = (body.name, body.feeder, body.node_key, former.invite.id) == (
                record.name,
                record.feeder,
                wish.node_key.public_key,
                wish.invite.id,
            )
            if same and {meter.key for meter in body.meters} == {meter.key for meter in wish.meters}:
                return former
            made_ms = max(now_ms, body.made_ms + AGAIN_AFTER_MS)
        try:
            wish.invite.require_current(now_ms)
            return sign_request(
                wish.account,
                wish.node_key,
                wish.invite,
                name=record.name,
                feeder=record.feeder,
                meters=wish.meters,
                made_ms=made_ms,
                expires_ms=wish.invite.body.expires_ms,
            )
        except (InviteError, JoinError) as error:
            raise CannotJoin(str(error)) from error

    async def _granted(self) -> Account | None:
        """Errors: Denied, CannotJoin once the request has ended."""
        account = await self._client.account(self._address)
        if account.member is not None:
            return account
        for one in (await self._client.join_requests()).requests:
            if one.account_key == account.account_key:
                if one.state == "denied":
                    raise _denied(one.reason or "")
                return None
        account = await self._client.account(self._address)
        if account.member is not None:
            return account  # granted between the two questions
        if system_wall_ms() > self._wish.invite.body.expires_ms:
            raise CannotJoin("the request has expired with its invite; ask for a new one")
        await self._file()  # the node has been started again since, and does not remember
        return None

    # -- the node key

    async def _delegate(self) -> None:
        """Errors: CannotJoin."""
        fee_uwatt = (await self._client.parameters()).parameters["minimum_fee_uwatt"]

        async def can_pay() -> Account | None:
            account = await self._client.account(self._address)
            if account.watt_uwatt >= fee_uwatt:
                return account
            self._tell(f"waiting for {watt(fee_uwatt)} to pay a fee with: ask a member to send some to {self._address}")
            return None

        await self._follow(can_pay)
        self._tell("delegating the node's key")
        wish = self._wish
        proof = wish.node_key.sign(Domain.NODE_KEY, wish.invite.body.chain_id, wish.account.public_key)
        payload = DelegateNodeKey(node_key=wish.node_key.public_key, proof=proof)
        transaction = await sign_and_submit(self._client, wish.account, payload)
        found = await wait_final(self._client, transaction.id.hex(), timeout_s=FINAL_WITHIN_S)
        if found.refusal is not None:
            raise CannotJoin(f"the node key was refused in block {found.height}: {found.refusal}: {found.note}")

    async def _summary(self) -> Joined:
        account = await self._client.account(self._address)
        candidates = await self._client.candidates()
        parameters = (await self._client.parameters()).parameters
        assert account.member is not None
        votes_from = candidates.weighed_height + candidates.weights_delay_blocks
        wait_ms = max(0, votes_from - candidates.height) * parameters["block_interval_ms"]
        self._tell(f"votes from block {count(votes_from)} on, in about {duration(wait_ms)}")
        return Joined(
            name=account.member.account.label,
            address=self._address,
            node_key=self._wish.node_key.public_key.hex(),
            registered_height=account.member.registered_height,
            votes_from_height=votes_from,
            wait_ms=wait_ms,
        )

    # -- events

    async def _follow(self, question: Callable[[], Awaitable[T | None]]) -> T:
        """Asks at each of the node's events until there is an answer, of blocks that come thick and fast while the
        node catches up only now and then. Errors: those of the question; Denied.
        """
        asked_ms = 0
        async with aclosing(self._client.events()) as events:
            async for event in events:
                now_ms = monotonic_ms()
                if isinstance(event, BlockFinal) and event.finality_ms is None and now_ms < asked_ms + FETCHED_PAUSE_MS:
                    continue
                asked_ms = now_ms
                if isinstance(event, JoinEnded) and event.address == self._address and event.outcome == "denied":
                    raise _denied(event.reason)
                try:
                    answer = await question()
                except NodeAway:
                    continue  # the stream will say when it is back
                if answer is not None:
                    return answer
        raise AssertionError("the events of a client never end")


def _former(record: JoinRecord) -> JoinRequest | None:
    try:
        found = decode_message(bytes.fromhex(record.request))
    except ValueError:  # JoinError among them: nothing was filed, or with another version
        return None
    return found if isinstance(found, JoinRequest) else None


def _denied(reason: str) -> Denied:
    return Denied(f"the request was denied: {reason or 'no reason was given'}; with another invite you may ask again")
