"""The notarizations and nullifications a node holds at one height, and what they justify.

1. One notarization and one nullification are kept per view: the first of each. (While less than a third of the weight
   is faulty, a view has notarizations of one block only.)
2. The *path* to a view is the highest notarization below it from which every view up to it is nullified, and those
   nullifications; or, if there is none, the nullifications of all views below it. If neither is held there is a *gap*.
3. A block made in view v is justified there by the nullifications of all views below v. An older block is justified in
   v by a notarization of it in some view u < v and the nullifications of all views between u and v.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from consensus.block import Block, Certificate
from consensus.messages import MAX_CERTIFICATES, MAX_JUSTIFICATION
from ledger.statements import StatementKind

SENT_TOGETHER: Final = min(MAX_CERTIFICATES, MAX_JUSTIFICATION)
SENT_TOGETHER_BYTES: Final = 96 * 1024
"""With the largest block this still fits into a message; older certificates are asked for."""


def newest(certificates: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """As many of the certificates as may be sent together, those of the latest views, by view; at least one."""
    chosen: list[Certificate] = []
    size = 0
    for certificate in sorted(certificates, key=lambda certificate: -certificate.view):
        size += 128 + len(certificate.signers) + len(certificate.signatures)
        if len(chosen) == SENT_TOGETHER or (chosen and size > SENT_TOGETHER_BYTES):
            break
        chosen.append(certificate)
    return tuple(reversed(chosen))


class CertificatePath:
    """Certificates are verified before they come here."""

    def __init__(self) -> None:
        self.notarizations: dict[int, Certificate] = {}
        self.nullifications: dict[int, Certificate] = {}
        self.highest_view = -1
        self._nullified_below = 0  # every view below this one is nullified

    def holds(self, kind: int, view: int) -> bool:
        return view in (self.notarizations if kind == StatementKind.NOTARIZE else self.nullifications)

    def add(self, certificate: Certificate) -> None:
        """Takes the first certificate of its kind and view."""
        view = certificate.view
        assert certificate.kind in (StatementKind.NOTARIZE, StatementKind.NULLIFY)
        assert not self.holds(certificate.kind, view)
        if certificate.kind == StatementKind.NOTARIZE:
            self.notarizations[view] = certificate
        else:
            self.nullifications[view] = certificate
            while self._nullified_below in self.nullifications:
                self._nullified_below += 1
        self.highest_view = max(self.highest_view, view)

    def justifies_fresh(self, view: int) -> bool:
        return self._nullified_below >= view

    def justifies_repeating(self, view: int, block_hash: bytes) -> bool:
        below = view - 1
        while below >= 0:
            notarization = self.notarizations.get(below)
            if notarization is not None and notarization.block_hash == block_hash:
                return True
            if below not in self.nullifications:
                return False
            below -= 1
        return False

    def path(self, view: int) -> tuple[list[Certificate], bool]:
        """The path to ``view``, ascending, and True; or all that is held below it, and False if there is a gap."""
        start = view - 1
        while start >= 0 and start not in self.notarizations and start in self.nullifications:
            start -= 1
        if start < 0:
            return [self.nullifications[below] for below in range(view)], True
        if start in self.notarizations:
            after = [self.nullifications[between] for between in range(start + 1, view)]
            return [self.notarizations[start], *after], True
        return [certificate for certificate in self.all() if certificate.view < view], False

    def repeatable(self, view: int, body: Callable[[bytes], Block | None]) -> tuple[Block, list[Certificate]] | None:
        """The block a leader of ``view`` has to repeat, with its justification: the one of the highest notarization
        that the nullifications reach and whose body is there; a notarized view whose body is missing is passed over
        only if it is nullified as well. None if there is none.
        """
        below = view - 1
        while below >= 0:
            notarization = self.notarizations.get(below)
            if notarization is not None:
                assert notarization.block_hash is not None
                block = body(notarization.block_hash)
                if block is not None:
                    between = [self.nullifications[passed] for passed in range(below + 1, view)]
                    return block, [notarization, *between]
            if below not in self.nullifications:
                return None
            below -= 1
        return None

    def all(self) -> list[Certificate]:
        """Every certificate held, by view."""
        held = [*self.notarizations.values(), *self.nullifications.values()]
        return sorted(held, key=lambda certificate: (certificate.view, certificate.kind))
