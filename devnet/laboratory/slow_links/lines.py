"""Home lines: what a message weighs on the wire, and when it arrives.

1. Each home has one line up and one down, each of so many bits a second, whatever the number of its neighbours. What is
   sent waits in the line's queue; what does not fit into ``queue_octets`` is lost.
2. Between two homes a message also takes the latency, one way. Its packets follow each other, so that a long message
   is on both lines at once.
3. A message of n octets weighs n, the yamux header (12), Noise's length and tag (18) for every 65,519, and the headers
   of TCP, with time stamps, and IPv4 (52) for every 1,448. The receiver returns an acknowledgement (52) for every
   second packet, at least one. Sources: yamux spec.md; Noise protocol, section 3; RFC 9293, 7323, 791, 1122 (4.2.3.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

YAMUX_HEADER_OCTETS: Final = 12
NOISE_OCTETS: Final = 18
NOISE_PAYLOAD_OCTETS: Final = 65_519
PACKET_HEADER_OCTETS: Final = 52
PACKET_PAYLOAD_OCTETS: Final = 1_448


@dataclass(frozen=True, slots=True)
class LineSpeed:
    """``up_bits`` and ``down_bits`` a second; ``latency_s`` one way, of which a tenth varies."""

    up_bits: int = 256_000
    down_bits: int = 256_000
    latency_s: float = 0.15
    queue_octets: int = 128 * 1024


def stream_octets(octets: int) -> int:
    """What a write of so many octets to a libp2p stream becomes on the TCP connection."""
    return octets + YAMUX_HEADER_OCTETS + NOISE_OCTETS * -(-octets // NOISE_PAYLOAD_OCTETS)


def packets(octets: int) -> int:
    return -(-octets // PACKET_PAYLOAD_OCTETS)


def wire_octets(octets: int) -> int:
    """What it becomes on the line (3)."""
    sent = stream_octets(octets)
    return sent + PACKET_HEADER_OCTETS * packets(sent)


def acknowledgement_octets(octets: int) -> int:
    """What the receiver returns for it."""
    return PACKET_HEADER_OCTETS * -(-packets(stream_octets(octets)) // 2)


class Line:
    """One direction of one home's line. Times in seconds."""

    __slots__ = ("_octets_per_s", "_queue_octets", "free_at_s", "lost", "octets")

    def __init__(self, bits: int, queue_octets: int) -> None:
        self._octets_per_s = bits / 8
        self._queue_octets = queue_octets
        self.free_at_s = 0.0
        self.octets = 0
        self.lost = 0

    def carry(self, octets: int, now_s: float) -> tuple[float, float] | None:
        """When the first packet is through and when the last; None if it is lost."""
        begins_s = max(now_s, self.free_at_s)
        if (begins_s - now_s) * self._octets_per_s + octets > self._queue_octets:
            self.lost += 1
            return None
        self.octets += octets
        first_s = begins_s + min(octets, PACKET_PAYLOAD_OCTETS + PACKET_HEADER_OCTETS) / self._octets_per_s
        self.free_at_s = begins_s + octets / self._octets_per_s
        return first_s, self.free_at_s
