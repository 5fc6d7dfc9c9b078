"""Byzantine homes: one mind that hears everything, and a behaviour for each home, one file each.

Together they hold less than a third of the weight. Every behaviour is by itself something that a broken program, a
stolen key or an enemy could do; none of it may harm the others.
"""

from __future__ import annotations

from typing import Final

from devnet.laboratory.chaos.byzantine.actor import Actor
from devnet.laboratory.chaos.byzantine.chameleon import Chameleon
from devnet.laboratory.chaos.byzantine.double_voter import DoubleVoter
from devnet.laboratory.chaos.byzantine.equivocator import Equivocator
from devnet.laboratory.chaos.byzantine.false_maker import FalseMaker
from devnet.laboratory.chaos.byzantine.flooder import Flooder
from devnet.laboratory.chaos.byzantine.forger import Forger
from devnet.laboratory.chaos.byzantine.mind import Mind
from devnet.laboratory.chaos.byzantine.nullifier import Nullifier
from devnet.laboratory.chaos.byzantine.selective_sender import SelectiveSender
from devnet.laboratory.chaos.byzantine.silent_leader import SilentLeader
from devnet.laboratory.chaos.byzantine.splitter import Splitter
from devnet.laboratory.chaos.byzantine.stale_replayer import StaleReplayer
from devnet.laboratory.chaos.byzantine.unjustified_leader import UnjustifiedLeader
from devnet.laboratory.chaos.byzantine.withholder import Withholder

BEHAVIOURS: Final[dict[str, type[Actor]]] = {
    kind.__name__: kind
    for kind in (
        SilentLeader,
        Equivocator,
        DoubleVoter,
        SelectiveSender,
        Withholder,
        StaleReplayer,
        Nullifier,
        UnjustifiedLeader,
        FalseMaker,
        Forger,
        Flooder,
        Splitter,
        Chameleon,
    )
}

__all__ = ["BEHAVIOURS", "Actor", "Mind"]
