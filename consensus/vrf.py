"""The beacon's verifiable random function: ECVRF-EDWARDS25519-SHA512-TAI of RFC 9381 (suite 0x03).

A creator proves `proof = Gamma ‖ c ‖ s` (32 + 16 + 32 bytes) for its key and an input `alpha`; everyone verifies it and
obtains the same 64 bytes `beta`, which the creator could neither choose nor change. With B the base point, L the prime
order of its group, Y = x·B the public key and H = encode_to_curve(Y, alpha):

* prove (5.1): Gamma = x·H, k = nonce(H), c = challenge(Y, H, Gamma, k·B, k·H), s = k + c·x mod L.
* verify (5.3): U = s·B − c·Y, V = s·H − c·Gamma, and c must equal challenge(Y, H, Gamma, U, V).
* beta (5.2): SHA-512(0x03 ‖ 0x03 ‖ 8·Gamma ‖ 0x00).
* encode_to_curve (5.4.1.1, try and increment): the first counter 0…255 whose SHA-512(0x03 ‖ 0x01 ‖ Y ‖ alpha ‖
  counter ‖ 0x00)[:32] decodes to a point that is not the identity once multiplied by the cofactor 8. A candidate
  decodes if its y, the sign bit aside, is below p and libsodium can add the identity to it.
  `crypto_core_ed25519_is_valid_point` would be wrong here: it refuses the seven in eight candidates that lie outside
  the prime-order group, and the RFC takes them.

Verification is stricter than the RFC where libraries differ, because nodes that disagree about one proof part for ever:

* Y and Gamma must be of order L: canonical, on the curve, not of small order, no small-order component. It is tested as
  (L − 1)·P + P = 0, since libsodium's own test lets P + (0, −1) pass in builds before 30 December 2025
  (CVE-2025-69277; seen with PyNaCl 1.6.1, mended in 1.6.2).
* c = 0 and s = 0 are refused, since libsodium multiplies by no zero. An honest proof has them with probability 2⁻¹²⁸.

Only public values decide how long anything here takes; what touches the secret is libsodium's constant-time code.
"""

import hashlib
from typing import Final

import nacl.bindings as sodium
import nacl.exceptions

SEED_BYTES: Final = 32
PUBLIC_KEY_BYTES: Final = 32
PROOF_BYTES: Final = 80
BETA_BYTES: Final = 64

_SUITE: Final = b"\x03"
_ENCODE_TO_CURVE: Final = b"\x01"
_CHALLENGE: Final = b"\x02"
_PROOF_TO_HASH: Final = b"\x03"
_END: Final = b"\x00"

_CHALLENGE_BYTES: Final = 16
_FIELD_PRIME: Final = 2**255 - 19
_GROUP_ORDER: Final = 2**252 + 27742317777372353535851937790883648493
_MINUS_ONE: Final = (_GROUP_ORDER - 1).to_bytes(32, "little")
_IDENTITY: Final = (1).to_bytes(32, "little")
_ZERO: Final = bytes(32)


class VrfError(ValueError):
    """A proof, public key or seed that is not what it claims to be. Trying again does not help."""


def prove(seed: bytes, alpha: bytes) -> bytes:
    """The 80-byte proof for `alpha` under the Ed25519 key with this 32-byte seed (RFC 9381, 5.1).

    Deterministic. Raises `VrfError` if the seed is not 32 bytes.
    """
    if len(seed) != SEED_BYTES:
        raise VrfError(f"seed has {len(seed)} bytes instead of {SEED_BYTES}")
    secret, nonce_prefix = _expand(seed)
    public_key = sodium.crypto_scalarmult_ed25519_base_noclamp(secret)
    point = _encode_to_curve(public_key, alpha)
    gamma = sodium.crypto_scalarmult_ed25519_noclamp(secret, point)

    # The nonce of RFC 8032, 5.1.6: a function of the key and H, never zero but with probability 2⁻²⁵².
    nonce = sodium.crypto_core_ed25519_scalar_reduce(_sha512(nonce_prefix, point))
    nonce_base = sodium.crypto_scalarmult_ed25519_base_noclamp(nonce)
    nonce_point = sodium.crypto_scalarmult_ed25519_noclamp(nonce, point)

    challenge = _challenge(public_key, point, gamma, nonce_base, nonce_point)
    product = sodium.crypto_core_ed25519_scalar_mul(_challenge_scalar(challenge), secret)
    proof = gamma + challenge + sodium.crypto_core_ed25519_scalar_add(nonce, product)
    assert len(proof) == PROOF_BYTES
    return proof


def verify(public_key: bytes, alpha: bytes, proof: bytes) -> bytes:
    """The 64 bytes `beta` that `proof` proves for `alpha` under `public_key` (RFC 9381, 5.3).

    Raises `VrfError`, and nothing else, for whatever bytes it is given.
    """
    if not _is_prime_order(public_key):
        raise VrfError("public key is not a point of prime order")
    gamma, challenge, response = _decode_proof(proof)
    scalar = _challenge_scalar(challenge)
    if _ZERO in (scalar, response):
        raise VrfError("proof has a zero scalar")
    point = _encode_to_curve(public_key, alpha)
    left = sodium.crypto_core_ed25519_sub(
        sodium.crypto_scalarmult_ed25519_base_noclamp(response),
        sodium.crypto_scalarmult_ed25519_noclamp(scalar, public_key),
    )
    right = sodium.crypto_core_ed25519_sub(
        sodium.crypto_scalarmult_ed25519_noclamp(response, point),
        sodium.crypto_scalarmult_ed25519_noclamp(scalar, gamma),
    )
    if _challenge(public_key, point, gamma, left, right) != challenge:
        raise VrfError("proof does not belong to this key and input")
    return _hash_of(gamma)


def proof_to_hash(proof: bytes) -> bytes:
    """The 64 bytes `beta` of a proof that was made here or has passed `verify` (RFC 9381, 5.2).

    Says nothing about the proof's truth. Raises `VrfError` if it is malformed.
    """
    gamma, _, _ = _decode_proof(proof)
    return _hash_of(gamma)


def _expand(seed: bytes) -> tuple[bytes, bytes]:
    """The clamped secret scalar and the nonce prefix of an Ed25519 seed (RFC 8032, 5.1.5), 32 bytes each."""
    digest = _sha512(seed)
    secret = bytearray(digest[:32])
    secret[0] &= 0b1111_1000
    secret[31] = (secret[31] & 0b0111_1111) | 0b0100_0000
    return bytes(secret), digest[32:]


def _decode_proof(proof: bytes) -> tuple[bytes, bytes, bytes]:
    """Gamma, c (16 bytes) and s of a proof in the one encoding there is of it (RFC 9381, 5.4.4)."""
    if len(proof) != PROOF_BYTES:
        raise VrfError(f"proof has {len(proof)} bytes instead of {PROOF_BYTES}")
    gamma, challenge, response = proof[:32], proof[32:48], proof[48:]
    if int.from_bytes(response, "little") >= _GROUP_ORDER:
        raise VrfError("proof's scalar is not reduced")
    if not _is_prime_order(gamma):
        raise VrfError("proof's Gamma is not a point of prime order")
    return gamma, challenge, response


def _encode_to_curve(public_key: bytes, alpha: bytes) -> bytes:
    """H, a point of prime order whose logarithm nobody knows. Takes two tries on average."""
    for counter in range(256):
        digest = _sha512(_SUITE, _ENCODE_TO_CURVE, public_key, alpha, bytes([counter]), _END)
        candidate = digest[:32]
        if not _is_on_curve(candidate):
            continue
        point = _times_cofactor(candidate)
        if point != _IDENTITY:
            return point
    raise VrfError("no counter gives a point for this input")  # probability 2⁻²⁵⁶


def _is_on_curve(candidate: bytes) -> bool:
    # libsodium reduces y silently, and of points outside the prime-order group only its addition takes any.
    y = int.from_bytes(candidate, "little") & (2**255 - 1)
    if y >= _FIELD_PRIME:
        return False
    try:
        sodium.crypto_core_ed25519_add(candidate, _IDENTITY)
    except nacl.exceptions.RuntimeError:
        return False
    return True


def _is_prime_order(candidate: bytes) -> bool:
    if len(candidate) != PUBLIC_KEY_BYTES:
        return False
    try:
        # Refuses what is not canonical, not on the curve or of small order.
        negative = sodium.crypto_scalarmult_ed25519_noclamp(_MINUS_ONE, candidate)
    except nacl.exceptions.RuntimeError:
        return False
    return sodium.crypto_core_ed25519_add(negative, candidate) == _IDENTITY


def _times_cofactor(point: bytes) -> bytes:
    for _ in range(3):
        point = sodium.crypto_core_ed25519_add(point, point)
    return point


def _challenge(*points: bytes) -> bytes:
    """RFC 9381, 5.4.3: over Y, H, Gamma, U, V in this order."""
    assert len(points) == 5
    return _sha512(_SUITE, _CHALLENGE, *points, _END)[:_CHALLENGE_BYTES]


def _challenge_scalar(challenge: bytes) -> bytes:
    return challenge + bytes(32 - _CHALLENGE_BYTES)


def _hash_of(gamma: bytes) -> bytes:
    beta = _sha512(_SUITE, _PROOF_TO_HASH, _times_cofactor(gamma), _END)
    assert len(beta) == BETA_BYTES
    return beta


def _sha512(*parts: bytes) -> bytes:
    return hashlib.sha512(b"".join(parts)).digest()
