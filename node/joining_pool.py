"""The join requests that wait in a node's memory, and the denials of them. No I/O: time and state are handed in.

1. A request is heard if its invite is of this chain, has not expired, ends within ``LONGEST_INVITE_MS``, and is signed
   by a member; if the account is no member yet, the wished name free, the feeder one there is, and no key in use; and
   if account key, node key and meter keys have signed. What needs no signature check is checked first.
2. One request per account: another takes its place if it was made ``AGAIN_AFTER_MS`` later. Who was denied is heard
   again only with another invite.
3. At most ``ACCOUNTS_PER_INVITE`` accounts are ever heard on one invite, ``ACCOUNTS_PER_MEMBER`` on all invites of one
   member, ``MAX_REQUESTS`` in all: whoever spreads an invite cannot fill memory, nor tire approvers, with it.
4. A denial is heard if an approver signed it and a request of that account and invite waits here; it takes the
   request's place until that would have ended.
5. What has ended, and what has been granted, is dropped at ``review``. Nothing survives a restart: the newcomer's node
   asks again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from ledger.records import FEEDERS, MEMBERS, METERS, NAMES, NODE_KEYS, Role
from ledger.state import State
from node.invite import LONGEST_INVITE_MS
from node.joining import Denial, JoinError, JoinRequest

MAX_REQUESTS: Final = 64
ACCOUNTS_PER_INVITE: Final = 4
ACCOUNTS_PER_MEMBER: Final = 16
AGAIN_AFTER_MS: Final = 60_000
CLOCKS_DIFFER_MS: Final = 600_000
"""How far ahead of this clock a request may have been made."""


@dataclass(frozen=True, slots=True)
class JoinEntry:
    """A request that waits, or the denial that has taken its place. ``heard_ms``: when it first came here."""

    request: JoinRequest
    heard_ms: int
    denial: Denial | None = None

    @property
    def message(self) -> bytes:
        """What other nodes are told."""
        return self.request.message if self.denial is None else self.denial.message

    @property
    def key(self) -> bytes:
        """Names what other nodes are told."""
        return self.request.id + (b"" if self.denial is None else b"\x00")


@dataclass(frozen=True, slots=True)
class Ended:
    """An entry that was dropped, and why."""

    entry: JoinEntry
    outcome: Literal["granted", "expired"]


@dataclass(frozen=True, slots=True)
class _Heard:
    """An account that was heard on an invite of ``member``; counts until the invite ends."""

    invite: bytes
    member: bytes
    until_ms: int


class JoinPool:
    """See the module's rules."""

    def __init__(self, chain_id: bytes) -> None:
        self._chain_id = chain_id
        self._entries: dict[bytes, JoinEntry] = {}  # by account
        self._heard: dict[tuple[bytes, bytes], _Heard] = {}  # by (account, invite's id)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[JoinEntry]:
        """Oldest first."""
        return iter(tuple(self._entries.values()))

    def of_account(self, account: bytes) -> JoinEntry | None:
        return self._entries.get(account)

    def take(self, message: JoinRequest | Denial, state: State, now_ms: int) -> JoinEntry | None:
        """The new entry; None for what is known already. Errors: JoinError, by rules 1 to 4."""
        if isinstance(message, Denial):
            return self._take_denial(message, state)
        return self._take_request(message, state, now_ms)

    def review(self, state: State, now_ms: int) -> list[Ended]:
        """Rule 5."""
        ended: list[Ended] = []
        for account, entry in list(self._entries.items()):
            if MEMBERS.get(state, account) is not None:
                ended.append(Ended(entry, "granted"))
            elif entry.request.body.expires_ms < now_ms:
                ended.append(Ended(entry, "expired"))
            else:
                continue
            del self._entries[account]
        self._heard = {key: heard for key, heard in self._heard.items() if heard.until_ms >= now_ms}
        return ended

    def _take_request(self, request: JoinRequest, state: State, now_ms: int) -> JoinEntry | None:
        body = request.body
        former = self._entries.get(body.account)
        if former is not None and former.request.id == request.id:
            return None
        self._check_times(request, now_ms)
        if former is not None:
            self._check_again(former, request)
        self._check_room(request)
        check_wish(request, state)
        request.require_signatures()
        entry = JoinEntry(request, now_ms)
        self._entries.pop(body.account, None)
        self._entries[body.account] = entry
        invite = request.invite
        self._heard[body.account, invite.id] = _Heard(invite.id, invite.body.member, invite.body.expires_ms)
        return entry

    def _take_denial(self, denial: Denial, state: State) -> JoinEntry | None:
        entry = self._entries.get(denial.signed.account)
        if entry is None or entry.request.invite.id != denial.signed.invite:
            raise JoinError("no such request waits here: it was granted, has ended, or has not come here")
        if entry.denial is not None:
            return None
        approver = MEMBERS.get(state, denial.signed.approver)
        if approver is None or not approver.roles & Role.APPROVER:
            raise JoinError("only an approver denies requests")
        denial.require_signature(self._chain_id)
        denied = JoinEntry(entry.request, entry.heard_ms, denial)
        self._entries[entry.request.body.account] = denied
        return denied

    def _check_times(self, request: JoinRequest, now_ms: int) -> None:
        """Errors: JoinError."""
        body, invite = request.body, request.invite.body
        if invite.chain_id != self._chain_id:
            raise JoinError("the invite is to another network")
        if invite.expires_ms < now_ms:
            raise JoinError("the invite has expired; ask whoever sent it for a new one")
        if invite.expires_ms > now_ms + LONGEST_INVITE_MS + CLOCKS_DIFFER_MS:
            raise JoinError(f"an invite is good for at most {LONGEST_INVITE_MS // 86_400_000} days")
        if body.expires_ms < now_ms:
            raise JoinError("the request has expired; make a new one")
        if body.made_ms > now_ms + CLOCKS_DIFFER_MS:
            raise JoinError("the request was made in the future: check the clocks of both machines")

    @staticmethod
    def _check_again(former: JoinEntry, request: JoinRequest) -> None:
        """Rule 2. Errors: JoinError."""
        if former.denial is not None and former.request.invite.id == request.invite.id:
            raise JoinError(f"the request was denied: {former.denial.signed.reason or 'without a reason'}")
        if request.body.made_ms < former.request.body.made_ms + AGAIN_AFTER_MS:
            raise JoinError(f"a request of this account waits already; ask again after {AGAIN_AFTER_MS // 1000} s")

    def _check_room(self, request: JoinRequest) -> None:
        """Rule 3. Errors: JoinError."""
        body, invite = request.body, request.invite
        if (body.account, invite.id) in self._heard:
            return
        if len(self._entries) >= MAX_REQUESTS or len(self._heard) >= 4 * MAX_REQUESTS:
            raise JoinError(f"{MAX_REQUESTS} requests wait already; try again later")
        heard = self._heard.values()
        if sum(one.invite == invite.id for one in heard) >= ACCOUNTS_PER_INVITE:
            raise JoinError(f"{ACCOUNTS_PER_INVITE} have asked with this invite already; ask for one of your own")
        if sum(one.member == invite.body.member for one in heard) >= ACCOUNTS_PER_MEMBER:
            raise JoinError(f"{ACCOUNTS_PER_MEMBER} have asked with invites of this member already; try again later")


def check_wish(request: JoinRequest, state: State) -> None:
    """What the chain says of the request: whether it could be granted now. Errors: JoinError."""
    body = request.body
    if MEMBERS.get(state, request.invite.body.member) is None:
        raise JoinError("the invite is signed by nobody who is a member here")
    if MEMBERS.get(state, body.account) is not None:
        raise JoinError("the account is a member already")
    name = NAMES.get(state, body.name.encode())
    if name is not None:
        raise JoinError(f"the name {body.name!r} is taken; choose another with --name")
    if FEEDERS.get(state, body.feeder.encode()) is None:
        known = ", ".join(sorted(key.decode() for key, _ in FEEDERS.scan(state)))
        raise JoinError(f"no feeder is called {body.feeder!r}; there are: {known}")
    for key in (body.account, body.node_key, *(meter.key for meter in body.meters)):
        if any(table.get(state, key) is not None for table in (MEMBERS, METERS, NODE_KEYS)):
            raise JoinError(f"the key {key.hex()} is in use already")
