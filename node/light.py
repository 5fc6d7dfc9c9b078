"""Following committees without blocks: what a light client and a node that begins with a recent state have in common.

1. Whoever trusts a committee trusts what a quorum of it made final, and so the hash of the next committee in the last
   header of its time. A *step* shows that header, its certificate, and the committee of that hash.
2. Steps go up. A committee is trusted for the heights after the step that led to it; who was in one that is long gone
   could sign anything, so a trusted beginning must be recent (weak subjectivity).
3. Nothing here needs a state, a disk or a network.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from consensus.block import Certificate, Header
from consensus.chain_rules import verify_final
from consensus.committee import Committee
from consensus.verifier import Verifier
from ledger.records import CommitteeSnapshot
from node.protocol import CommitteeStep


class PathWrong(Exception):
    """The steps do not lead from the committee that is trusted; the text says where they fail."""


@dataclass(frozen=True, slots=True)
class Trusted:
    """A committee trusted from ``height`` on."""

    chain_id: bytes
    height: int
    committee: Committee

    def follow(self, steps: Iterable[CommitteeStep], verifier: Verifier) -> Trusted:
        """The committee that the steps lead to. Errors: PathWrong."""
        trusted = self
        for step in steps:
            trusted.require_final(step.header, step.certificate, verifier)
            committee = committee_from(step.committee)
            if committee.hash != step.header.committee_hash:
                raise PathWrong(f"the committee after height {step.header.height} is not the one its header names")
            trusted = Trusted(self.chain_id, step.header.height + 1, committee)
        return trusted

    def require_final(self, header: Header, certificate: Certificate, verifier: Verifier) -> None:
        """Errors: PathWrong unless this committee made the header's block final."""
        if header.chain_id != self.chain_id:
            raise PathWrong(f"the header of height {header.height} is of another chain, {header.chain_id.hex()}")
        if header.height < self.height:
            raise PathWrong(f"height {header.height} is below {self.height}, from where its committee is trusted")
        if not verify_final(header, certificate, self.committee, verifier):
            raise PathWrong(f"height {header.height} was not made final by the committee that is trusted there")


def committee_from(snapshot: CommitteeSnapshot) -> Committee:
    """A committee that may come from anyone. Errors: PathWrong."""
    members = snapshot.members
    if any(one.account >= following.account for one, following in pairwise(members)):
        raise PathWrong("a committee's members are not in ascending order of account")
    if len({member.node_key for member in members}) != len(members):
        raise PathWrong("a node key occurs twice in a committee")
    return Committee(snapshot)
