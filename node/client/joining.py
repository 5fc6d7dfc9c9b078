"""What an approver signs for a newcomer: for the command line and the terminal alike.

1. Granting is a ``register_member``, a ``register_meter`` for each meter wished, and a transfer of WATT: an account
   without any could not pay the fee of delegating its node key, and so never join.
2. They are signed one after the other by the approver's account and refused together: the later ones need the first.
3. Denying is no transaction: a signed message, passed on like the request itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ledger.keys import SigningKey
from ledger.records import MeterKind, MeterRole
from ledger.transactions import Payload, RegisterMember, RegisterMeter, Token, Transfer
from node.client.format import watt
from node.client.models import Account, JoinRequest
from node.joining import MAX_REASON_CHARACTERS, JoinError, sign_denial

WELCOME_FEES: Final = 20
"""A newcomer is given so many times the lowest fee, unless the approver says otherwise."""

__all__ = [
    "MAX_REASON_CHARACTERS",
    "WELCOME_FEES",
    "Grant",
    "JoinError",
    "denial_message",
    "find_request",
    "plan_grant",
]


@dataclass(frozen=True, slots=True)
class Grant:
    """What granting a request does: ``payloads`` in the order in which they are signed, ``facts`` for a person."""

    request: JoinRequest
    payloads: tuple[Payload, ...]
    fees_uwatt: int
    welcome_uwatt: int

    @property
    def cost_uwatt(self) -> int:
        """What it costs the approver."""
        return self.fees_uwatt + self.welcome_uwatt

    def facts(self) -> list[tuple[str, str]]:
        request = self.request
        rows = [
            ("member", request.name),
            ("account", request.address),
            ("feeder", request.feeder + ("" if request.substation is None else f", substation {request.substation}")),
        ]
        for meter in request.meters:
            watts = f"{meter.import_nameplate_w:,} W in, {meter.export_nameplate_w:,} W out"
            storage = f", {meter.storage_capacity_wh:,} Wh stored" if meter.storage_capacity_wh else ""
            rows.append(("meter", f"{meter.kind}, {meter.role}, {watts}{storage}\n{meter.meter}"))
        rows.append(("invited by", request.inviter.label))
        if self.welcome_uwatt:
            rows.append(("is given", f"{watt(self.welcome_uwatt)}, for its first fees"))
        rows.append(("you pay", f"{watt(self.cost_uwatt)}, fees of {watt(self.fees_uwatt)} included"))
        return rows


def plan_grant(request: JoinRequest, minimum_fee_uwatt: int, welcome_uwatt: int | None = None) -> Grant:
    """``welcome_uwatt`` None: WELCOME_FEES of the lowest fee."""
    account = bytes.fromhex(request.account_key)
    meters = [
        RegisterMeter(
            meter=bytes.fromhex(meter.meter),
            owner=account,
            kind=int(MeterKind[meter.kind.upper()]),
            role=int(MeterRole[meter.role.upper()]),
            import_nameplate_w=meter.import_nameplate_w,
            export_nameplate_w=meter.export_nameplate_w,
            storage_capacity_wh=meter.storage_capacity_wh,
            import_wh=meter.import_wh,
            export_wh=meter.export_wh,
        )
        for meter in request.meters
    ]
    payloads: list[Payload] = [RegisterMember(account, request.name, 0, request.feeder), *meters]
    welcome = WELCOME_FEES * minimum_fee_uwatt if welcome_uwatt is None else welcome_uwatt
    if welcome:
        payloads.append(Transfer(recipient=account, token=int(Token.WATT), amount=welcome, memo="welcome"))
    return Grant(request, tuple(payloads), minimum_fee_uwatt * len(payloads), welcome)


def require_grantable(grant: Grant, approver: Account) -> None:
    """Errors: JoinError with what stands against it."""
    if grant.request.state != "waiting":
        raise JoinError(f"the request of {grant.request.name!r} was denied; a newcomer asks again with another invite")
    if grant.request.obstacle is not None:
        raise JoinError(f"{grant.request.name!r} cannot be granted: {grant.request.obstacle}")
    require_approver(approver)
    if approver.watt_uwatt < grant.cost_uwatt:
        raise JoinError(
            f"granting costs {watt(grant.cost_uwatt)}; {approver.account.label} has {watt(approver.watt_uwatt)}"
        )


def require_approver(account: Account) -> None:
    """Errors: JoinError."""
    if account.member is None or "approver" not in account.member.roles:
        raise JoinError(f"{account.account.label} is no approver: only an approver grants or denies requests")


def find_request(requests: list[JoinRequest], who: str) -> JoinRequest:
    """The one that waits under this wished name, address, account key, or beginning of its id. Errors: JoinError."""
    waiting = [one for one in requests if one.state == "waiting"]
    found = [one for one in waiting if who in {one.name, one.address, one.account_key}]
    if not found and len(who) >= 6:
        found = [one for one in waiting if one.id.startswith(who.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        addresses = ", ".join(one.address for one in found)
        raise JoinError(f"{len(found)} newcomers wish to be called {who!r}; name one by its address: {addresses}")
    names = ", ".join(one.name for one in waiting) or "nobody"
    raise JoinError(f"nobody who asks to join is called {who!r}; there waits: {names}")


def denial_message(key: SigningKey, chain_id: bytes, request: JoinRequest, reason: str) -> bytes:
    """What ``NodeClient.file_join`` takes. Errors: JoinError for a reason that is too long."""
    denial = sign_denial(key, chain_id, bytes.fromhex(request.account_key), bytes.fromhex(request.invite), reason)
    return denial.message
