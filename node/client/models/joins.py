"""Newcomers who ask to become members."""

from __future__ import annotations

from node.client.models.base import Model, Party


class JoinMeter(Model, frozen=True, kw_only=True):
    """A meter to be registered with the newcomer; ``role`` is ``connection`` or ``sub``."""

    meter: str
    kind: str
    role: str
    import_nameplate_w: int
    export_nameplate_w: int
    storage_capacity_wh: int
    import_wh: int
    export_wh: int


class JoinRequest(Model, frozen=True, kw_only=True):
    """One newcomer's request as this node has heard it. Keys and signatures have been checked.

    ``state``: ``waiting``, or ``denied`` by ``denied_by`` for ``reason``. ``obstacle`` says why it cannot be granted as
    it stands now, None if it can. ``invite`` is the id of the invite, which ``inviter`` signed.
    """

    id: str
    state: str
    name: str
    address: str
    account_key: str
    node_key: str
    peer: str
    feeder: str
    substation: str | None
    meters: list[JoinMeter]
    inviter: Party
    invite: str
    made_ms: int
    made: str
    expires_ms: int
    expires: str
    obstacle: str | None
    denied_by: Party | None
    reason: str | None


class JoinRequestList(Model, frozen=True, kw_only=True):
    """``GET /v1/join-requests``: those that have not ended, oldest first; at most 64."""

    height: int
    requests: list[JoinRequest]
