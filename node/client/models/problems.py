"""Errors, and what is sent to the node."""

from __future__ import annotations

from node.client.models.base import Model


class Problem(Model, frozen=True, kw_only=True):
    """RFC 9457 problem document, ``application/problem+json``. ``refusal`` is the ledger's word if a transaction was
    refused. ``detail`` says in a sentence what would be right.
    """

    type: str
    title: str
    status: int
    detail: str
    refusal: str | None = None
    retry_may_help: bool = False


class SubmitRequest(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``raw``: the signed transaction's bytes in hex."""

    raw: str


class ConnectRequest(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A full multiaddr, with ``/p2p/<id>``."""

    address: str


class BanRequest(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    peer: str
    duration_s: int
    reason: str


class PardonRequest(Model, frozen=True, kw_only=True, forbid_unknown_fields=True):
    peer: str


AdminRequest = ConnectRequest | BanRequest | PardonRequest


class Done(Model, frozen=True, kw_only=True):
    """What an administrator's request did, in a sentence."""

    detail: str
