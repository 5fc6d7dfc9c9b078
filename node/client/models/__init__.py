"""What the local API says, as types: the server encodes them, the client decodes them, so both always agree.

1. JSON objects, one per struct, fields by name. A client ignores fields it does not know, so that a newer node may say
   more; a field is never removed or given another meaning under ``/v1``.
2. Amounts, energies and durations are integers and carry their unit in the name: ``_uwatt``, ``_ugrid``, ``_mvote``,
   ``_wh``, ``_w``, ``_ms``, ``_us``, ``_bps``, ``_milli``.
3. A moment is given twice: ``…_ms``, milliseconds UTC since 1970, and beside it as ISO 8601 text with a ``Z``.
4. Hashes, ids, meter keys, node keys and signatures are lower-case hexadecimal. An account is a ``Party``: its address,
   and the name it has as a member, else None.
5. Kinds, statuses, roles and refusals are lower-case words.
6. Lists that can grow come in pages, newest first; ``next_before`` asks for the next page and is None on the last.
"""

from __future__ import annotations

from node.client.models.accounts import (
    Account,
    Backer,
    Candidate,
    CandidateDetail,
    CandidateList,
    FrozenPot,
    Member,
    MemberList,
    RuleTargetInfo,
    StakeInfo,
    Votes,
    VotingRuleInfo,
)
from node.client.models.base import Model, Party, iso_time
from node.client.models.chain import (
    Accepted,
    Block,
    BlockPage,
    BlockSummary,
    Certificate,
    CertificateSigner,
    Committee,
    CommitteeMember,
    ContradictingStatement,
    Conviction,
    Draw,
    DrawEntry,
    EvidenceList,
    FeederInfo,
    Genesis,
    ParameterList,
    PendingPage,
    SkippedTurn,
    Transaction,
    TransactionPage,
    TransactionSummary,
)
from node.client.models.joins import JoinMeter, JoinRequest, JoinRequestList
from node.client.models.meters import Meter, MeterList, Reading, ReadingList
from node.client.models.node import (
    Ban,
    EngineStatus,
    Finality,
    Health,
    MempoolStatus,
    Peer,
    PeerList,
    Status,
    SyncStatus,
)
from node.client.models.problems import BanRequest, ConnectRequest, Done, Problem, SubmitRequest
from node.client.models.proofs import ProvenMember, StateProof, TransactionProof

__all__ = [
    "Accepted",
    "Account",
    "Backer",
    "Ban",
    "BanRequest",
    "Block",
    "BlockPage",
    "BlockSummary",
    "Candidate",
    "CandidateDetail",
    "CandidateList",
    "Certificate",
    "CertificateSigner",
    "Committee",
    "CommitteeMember",
    "ConnectRequest",
    "ContradictingStatement",
    "Conviction",
    "Done",
    "Draw",
    "DrawEntry",
    "EngineStatus",
    "EvidenceList",
    "FeederInfo",
    "Finality",
    "FrozenPot",
    "Genesis",
    "Health",
    "JoinMeter",
    "JoinRequest",
    "JoinRequestList",
    "Member",
    "MemberList",
    "MempoolStatus",
    "Meter",
    "MeterList",
    "Model",
    "ParameterList",
    "Party",
    "Peer",
    "PeerList",
    "PendingPage",
    "Problem",
    "ProvenMember",
    "Reading",
    "ReadingList",
    "RuleTargetInfo",
    "SkippedTurn",
    "StakeInfo",
    "StateProof",
    "Status",
    "SubmitRequest",
    "SyncStatus",
    "Transaction",
    "TransactionPage",
    "TransactionProof",
    "TransactionSummary",
    "Votes",
    "VotingRuleInfo",
    "iso_time",
]
