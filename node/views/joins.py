"""Join requests as the API shows them."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.keys import address_text
from ledger.records import FEEDERS, MeterKind, MeterRole
from node.client import models
from node.client.models import iso_time
from node.joining import JoinError
from node.joining_pool import JoinEntry, check_wish
from node.views.reader import Reader, word
from p2p.peer_identity import peer_id_from_public_key


def join_list(reader: Reader, entries: Sequence[JoinEntry]) -> models.JoinRequestList:
    """Without those that the newest block has granted."""
    waiting = [entry for entry in entries if reader.member(entry.request.body.account) is None]
    return models.JoinRequestList(height=reader.height, requests=[join_view(reader, entry) for entry in waiting])


def join_view(reader: Reader, entry: JoinEntry) -> models.JoinRequest:
    request, denial = entry.request, entry.denial
    body = request.body
    feeder = FEEDERS.get(reader.state, body.feeder.encode())
    return models.JoinRequest(
        id=request.id.hex(),
        state="waiting" if denial is None else "denied",
        name=body.name,
        address=address_text(body.account),
        account_key=body.account.hex(),
        node_key=body.node_key.hex(),
        peer=peer_id_from_public_key(body.node_key),
        feeder=body.feeder,
        substation=None if feeder is None else feeder.substation,
        meters=[
            models.JoinMeter(
                meter=meter.meter.hex(),
                kind=word(meter.kind, MeterKind),
                role=word(meter.role, MeterRole),
                import_nameplate_w=meter.import_nameplate_w,
                export_nameplate_w=meter.export_nameplate_w,
                storage_capacity_wh=meter.storage_capacity_wh,
                import_wh=meter.import_wh,
                export_wh=meter.export_wh,
            )
            for meter in request.registrations()
        ],
        inviter=reader.party(request.invite.body.member),
        invite=request.invite.id.hex(),
        made_ms=body.made_ms,
        made=iso_time(body.made_ms),
        expires_ms=body.expires_ms,
        expires=iso_time(body.expires_ms),
        obstacle=_obstacle(reader, entry),
        denied_by=None if denial is None else reader.party(denial.signed.approver),
        reason=None if denial is None else denial.signed.reason,
    )


def _obstacle(reader: Reader, entry: JoinEntry) -> str | None:
    try:
        check_wish(entry.request, reader.state)
    except JoinError as error:
        return str(error)
    return None
