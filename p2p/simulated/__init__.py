"""A network in virtual time, with seeded faults and no sockets.

Run it under ``trio.testing.MockClock(autojump_threshold=0)``: hours pass in seconds, and the same seed gives the same
history.
"""

from p2p.simulated.network import SimulatedNetwork
from p2p.simulated.switch import Arrival, Faults, SimulatedSwitch

__all__ = ["Arrival", "Faults", "SimulatedNetwork", "SimulatedSwitch"]
