"""A process of its own that checks signatures: run by ``node.signature_checker``, with nothing imported but libsodium.

Standard input: frames of length u32 ‖ body, big endian; a body is items of length u16 ‖ signature 64 ‖ message … and
key 32 last. Standard output: for each frame one byte, 1 if every signature is good, else 0. It ends with its input.
"""

from __future__ import annotations

import signal
import sys
from typing import BinaryIO

from nacl.bindings import crypto_sign_open
from nacl.exceptions import CryptoError


def all_good(body: bytes) -> bool:
    """Checks one frame's body, made by ``node.signature_checker``."""
    place = 0
    while place < len(body):
        end = place + 2 + int.from_bytes(body[place : place + 2], "big")
        try:
            crypto_sign_open(body[place + 2 : end - 32], body[end - 32 : end])
        except CryptoError:
            return False
        place = end
    return True


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answers until the requests end."""
    while len(head := requests.read(4)) == 4:
        body = requests.read(int.from_bytes(head, "big"))
        answers.write(b"\x01" if all_good(body) else b"\x00")
        answers.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the node, whose end ends the input
    serve(sys.stdin.buffer, sys.stdout.buffer)
