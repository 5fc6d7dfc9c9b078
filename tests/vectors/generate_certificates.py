"""Writes certificates.json: golden vectors of committees, statements and certificates, for any language to check.

Run it as ``python tests/vectors/generate_certificates.py``. It needs PyNaCl and cbor2 and imports nothing of the
project, so that the vectors do not merely repeat what they are to check.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import cbor2
from nacl.signing import SigningKey

EXPLANATION = {
    "format": "Byte strings are lower-case hexadecimal. Everything encoded is canonical CBOR; structures are arrays of "
    "their fields in the order shown.",
    "committees": "members are in ascending order of account; hash = SHA-256('ecloud/committee/1' ‖ [[member …]]), a "
    "member being [account, node_key, pool_mvote, reputation_milli, weight]. node_key is the Ed25519 key of seed.",
    "statements": "encoded = [kind, height, view, block_hash or null]; the signature of the seat covers "
    "'ecloud/vote/1' (kinds 1 notarize, 2 nullify, 3 finalize) or 'ecloud/proposal/1' (kind 0) ‖ chain id ‖ encoded.",
    "certificates": "encoded = [kind, height, view, block_hash or null, signers, signatures]; hash = "
    "SHA-256('ecloud/certificate/1' ‖ encoded). signers: seat i is bit i mod 8, least significant first, of byte "
    "i div 8. signatures: 64 bytes per signer in seat order. valid: whether it verifies for its committee, which asks "
    "for 3 · signed weight > 2 · total weight.",
}
CHAIN = hashlib.sha256(b"chain").digest()
OTHER_CHAIN = hashlib.sha256(b"other chain").digest()
BLOCK = hashlib.sha256(b"block").digest()
OTHER_BLOCK = hashlib.sha256(b"other block").digest()
NOTARIZE, NULLIFY, FINALIZE = 1, 2, 3


def encode(value: Any) -> bytes:
    return cbor2.dumps(value, canonical=True)


def key(committee: str, seat: int) -> SigningKey:
    return SigningKey(hashlib.sha256(f"{committee}/{seat}".encode()).digest())


def committee(name: str, weights: list[int]) -> dict[str, Any]:
    members = [
        [bytes([seat + 1]) * 32, bytes(key(name, seat).verify_key), 1_000 + weight, 10 * seat, weight]
        for seat, weight in enumerate(weights)
    ]
    names = ("account", "node_key", "pool_mvote", "reputation_milli", "weight")
    return {
        "name": name,
        "members": [
            {field: value.hex() if isinstance(value, bytes) else value for field, value in zip(names, one, strict=True)}
            for one in members
        ],
        "hash": hashlib.sha256(b"ecloud/committee/1" + encode([members])).hexdigest(),
    }


COMMITTEES = {"four": [1, 1, 1, 1], "unequal": [30, 10, 10, 10], "nine": [1] * 9, "alone": [5]}


def sign(name: str, seat: int, statement: list[Any], chain: bytes = CHAIN) -> bytes:
    tag = b"ecloud/proposal/1" if statement[0] == 0 else b"ecloud/vote/1"
    return bytes(key(name, seat).sign(tag + chain + encode(statement)).signature)


def certificate(
    name: str, why: str, statement: list[Any], seats: list[int], valid: bool, **changed: Any
) -> dict[str, Any]:
    size = len(COMMITTEES[name])
    bitmap = bytearray((size + 7) // 8)
    for seat in seats:
        bitmap[seat // 8] |= 1 << seat % 8
    signatures = b"".join(
        sign(name, seat, changed.get("signed", statement), changed.get("chain", CHAIN)) for seat in seats
    )
    bitmap_bytes = changed.get("bitmap", bytes(bitmap))
    signatures = changed.get("cut", lambda whole: whole)(signatures)
    fields = [*changed.get("shown", statement), bitmap_bytes, signatures]
    encoded = encode(fields)
    return {
        "committee": name,
        "why": why,
        "encoded": encoded.hex(),
        "hash": hashlib.sha256(b"ecloud/certificate/1" + encoded).hexdigest(),
        "signers": seats,
        "valid": valid,
    }


def certificates() -> list[dict[str, Any]]:
    notarize, nullify, finalize = [NOTARIZE, 7, 2, BLOCK], [NULLIFY, 7, 2, None], [FINALIZE, 7, 2, BLOCK]

    def flipped(whole: bytes) -> bytes:
        return whole[:70] + bytes([whole[70] ^ 1]) + whole[71:]

    def swapped(whole: bytes) -> bytes:
        return whole[64:128] + whole[:64] + whole[128:]

    return [
        certificate("four", "three of four notarize", notarize, [0, 1, 3], True),
        certificate("four", "three of four nullify", nullify, [1, 2, 3], True),
        certificate("four", "all finalize", finalize, [0, 1, 2, 3], True),
        certificate("nine", "seven of nine, in two bytes", finalize, [0, 1, 2, 3, 6, 7, 8], True),
        certificate("alone", "a committee of one", finalize, [0], True),
        certificate("unequal", "five sixths of the weight by three of four", finalize, [0, 1, 2], True),
        certificate("four", "two of four are too few", finalize, [0, 1], False),
        certificate("nine", "exactly two thirds are too few", finalize, [0, 1, 2, 3, 4, 5], False),
        certificate("unequal", "three of four with half the weight", finalize, [1, 2, 3], False),
        certificate("unequal", "exactly two thirds of the weight", finalize, [0, 1], False),
        certificate("four", "nobody", finalize, [], False),
        certificate("four", "one signature is damaged", finalize, [0, 1, 3], False, cut=flipped),
        certificate("four", "two signatures in the wrong order", finalize, [0, 1, 3], False, cut=swapped),
        certificate("four", "a signature short", finalize, [0, 1, 3], False, cut=lambda whole: whole[:-64]),
        certificate("four", "a signature too many", finalize, [0, 1, 3], False, cut=lambda whole: whole + whole[:64]),
        certificate(
            "four", "half a signature too many", finalize, [0, 1, 3], False, cut=lambda whole: whole + bytes(32)
        ),
        certificate("four", "a bit beyond the committee", finalize, [0, 1, 3], False, bitmap=b"\x1b"),
        certificate("four", "a byte too many in the bitmap", finalize, [0, 1, 3], False, bitmap=b"\x0b\x00"),
        certificate("four", "no bitmap", finalize, [0, 1, 3], False, bitmap=b""),
        certificate("four", "signed for another chain", finalize, [0, 1, 3], False, chain=OTHER_CHAIN),
        certificate("four", "signed for another block", finalize, [0, 1, 3], False, signed=[3, 7, 2, OTHER_BLOCK]),
        certificate("four", "signed for another view", finalize, [0, 1, 3], False, signed=[3, 7, 1, BLOCK]),
        certificate("four", "signed for another height", finalize, [0, 1, 3], False, signed=[3, 6, 2, BLOCK]),
        certificate("four", "notarize votes shown as finalize votes", notarize, [0, 1, 3], False, shown=finalize),
        certificate("four", "a nullification that names a block", [NULLIFY, 7, 2, BLOCK], [0, 1, 3], False),
        certificate("four", "a finalization that names none", [FINALIZE, 7, 2, None], [0, 1, 3], False),
        certificate("four", "proposals are not certified", [0, 7, 2, BLOCK], [0, 1, 3], False),
        certificate("four", "an unknown kind", [4, 7, 2, BLOCK], [0, 1, 3], False),
    ]


def statements() -> list[dict[str, Any]]:
    found = []
    for statement in ([0, 1, 0, BLOCK], [1, 1, 0, BLOCK], [2, 300, 24, None], [3, 2**40, 70_000, OTHER_BLOCK]):
        encoded, signature = encode(statement), sign("four", 0, statement)
        found.append({"committee": "four", "seat": 0, "encoded": encoded.hex(), "signature": signature.hex()})
    return found


if __name__ == "__main__":
    vectors = {
        "explanation": EXPLANATION,
        "chain_id": CHAIN.hex(),
        "committees": [committee(name, weights) for name, weights in COMMITTEES.items()],
        "statements": statements(),
        "certificates": certificates(),
    }
    text = json.dumps(vectors, indent=1, ensure_ascii=False) + "\n"
    (Path(__file__).parent / "certificates.json").write_text(text, encoding="utf-8")
