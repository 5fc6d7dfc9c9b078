"""The network over real sockets: py-libp2p 0.8.1 (TCP, Noise, multistream, identify, ping), with its traps mended.

The only package that imports libp2p. Importing it costs seconds and 85 MB: the command line and the terminal never do.
"""

from p2p.libp2p import fastecdsa_stub

fastecdsa_stub.install()

from p2p.libp2p.network import LibP2PNetwork  # noqa: E402 - libp2p may only be imported after the stub is in place

__all__ = ["LibP2PNetwork"]
