"""Agreement over slow links: the real engine, relay, mesh and messages on simulated lines, in virtual time.

Real are ``consensus.engine``, ``node.relay`` with ``node.judge``, ``p2p.libp2p.gossip_mesh`` and every encoded byte,
from the message to the signed envelope in its frame. Simulated are the lines (``lines``), the chain (a block is a
header, its parent's certificate and filler; executing it takes EXECUTION_MS) and the cost of Ed25519: each signature a
node would make or check is counted at what one costs on this machine.
"""

from devnet.laboratory.slow_links.lines import LineSpeed
from devnet.laboratory.slow_links.world import Figures, Setting, World

__all__ = ["Figures", "LineSpeed", "Setting", "World"]
