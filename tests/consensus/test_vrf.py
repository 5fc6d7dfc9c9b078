"""The beacon's VRF: the RFC's vectors, an independent reference, and everything hostile that must be refused."""

import hashlib
import json
from pathlib import Path
from typing import Any

import nacl.bindings as sodium
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.vrf import VrfError, proof_to_hash, prove, verify

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "ecvrf_rfc9381.json").read_text(encoding="utf-8")
)["vectors"]
FIELD_PRIME = 2**255 - 19
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
IDENTITY = (1).to_bytes(32, "little")
# A point of order 8; its multiples are the whole small-order group; `small_order_points` checks it.
TORSION = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
SEED = bytes(range(32))
PUBLIC_KEY = sodium.crypto_sign_seed_keypair(SEED)[0]

seeds = st.binary(min_size=32, max_size=32)


def small_order_points() -> list[bytes]:
    points = [IDENTITY]
    for _ in range(7):
        points.append(sodium.crypto_core_ed25519_add(points[-1], TORSION))
    assert sodium.crypto_core_ed25519_add(points[-1], TORSION) == IDENTITY
    assert len(set(points)) == 8
    return points


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


class Reference:
    """RFC 9381 in plain integers, slow and sharing no code with what it checks."""

    d = -121665 * pow(121666, -1, FIELD_PRIME) % FIELD_PRIME
    root = pow(2, (FIELD_PRIME - 1) // 4, FIELD_PRIME)

    @classmethod
    def decode(cls, data: bytes) -> tuple[int, int] | None:
        number = int.from_bytes(data, "little")
        sign, y = number >> 255, number & (2**255 - 1)
        if y >= FIELD_PRIME:
            return None
        square = (y * y - 1) * pow(cls.d * y * y + 1, -1, FIELD_PRIME) % FIELD_PRIME
        x = pow(square, (FIELD_PRIME + 3) // 8, FIELD_PRIME)
        if x * x % FIELD_PRIME != square:
            x = x * cls.root % FIELD_PRIME
        if x * x % FIELD_PRIME != square or (x == 0 and sign):
            return None
        return (FIELD_PRIME - x if x & 1 != sign else x), y

    @staticmethod
    def encode(point: tuple[int, int]) -> bytes:
        return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")

    @classmethod
    def add(cls, a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
        product = cls.d * a[0] * b[0] * a[1] * b[1]
        x = (a[0] * b[1] + a[1] * b[0]) * pow(1 + product, -1, FIELD_PRIME)
        y = (a[1] * b[1] + a[0] * b[0]) * pow(1 - product, -1, FIELD_PRIME)
        return x % FIELD_PRIME, y % FIELD_PRIME

    @classmethod
    def multiply(cls, scalar: int, point: tuple[int, int]) -> tuple[int, int]:
        result = (0, 1)
        for bit in f"{scalar:b}":
            result = cls.add(result, result)
            if bit == "1":
                result = cls.add(result, point)
        return result

    @classmethod
    def point_of(cls, public_key: bytes, alpha: bytes) -> tuple[int, int]:
        for counter in range(256):
            digest = hashlib.sha512(b"\x03\x01" + public_key + alpha + bytes([counter, 0])).digest()
            candidate = cls.decode(digest[:32])
            if candidate is not None and cls.multiply(8, candidate) != (0, 1):
                return cls.multiply(8, candidate)
        raise AssertionError("no point")

    @classmethod
    def prove(cls, seed: bytes, alpha: bytes, nonce: int | None = None) -> bytes:
        digest = hashlib.sha512(seed).digest()
        secret = (int.from_bytes(digest[:32], "little") & (2**254 - 8)) | 2**254
        base = cls.decode((4 * pow(5, -1, FIELD_PRIME) % FIELD_PRIME).to_bytes(32, "little"))
        assert base is not None
        public_key = cls.encode(cls.multiply(secret, base))
        point = cls.point_of(public_key, alpha)
        gamma = cls.encode(cls.multiply(secret, point))
        if nonce is None:
            nonce = int.from_bytes(hashlib.sha512(digest[32:] + cls.encode(point)).digest(), "little") % GROUP_ORDER
        shown = cls.encode(cls.multiply(nonce, base)) + cls.encode(cls.multiply(nonce, point))
        challenge = hashlib.sha512(b"\x03\x02" + public_key + cls.encode(point) + gamma + shown + b"\x00").digest()[:16]
        response = (nonce + int.from_bytes(challenge, "little") * secret) % GROUP_ORDER
        return gamma + challenge + response.to_bytes(32, "little")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"example {vector['example']}")
def test_vectors_of_rfc_9381(vector: dict[str, Any]) -> None:
    # Given one of the RFC's examples
    seed, alpha, proof = (bytes.fromhex(vector[name]) for name in ("seed", "alpha", "proof"))
    public_key = bytes.fromhex(vector["public_key"])
    # When it is proven, verified and hashed, then each gives the RFC's bytes
    assert prove(seed, alpha).hex() == vector["proof"]
    assert verify(public_key, alpha, proof).hex() == vector["beta"]
    assert proof_to_hash(proof).hex() == vector["beta"]
    # And the vector file's points are what the plain-integer reference finds
    assert Reference.encode(Reference.point_of(public_key, alpha)).hex() == vector["H"]
    assert sodium.crypto_scalarmult_ed25519_base_noclamp(bytes.fromhex(vector["x"])) == public_key


def test_all_three_examples_are_there() -> None:
    assert [vector["example"] for vector in VECTORS] == [16, 17, 18]


@settings(max_examples=10, deadline=None)
@given(seed=seeds, alpha=st.binary(max_size=200))
def test_agrees_with_plain_integer_arithmetic(seed: bytes, alpha: bytes) -> None:
    assert prove(seed, alpha) == Reference.prove(seed, alpha)


@settings(max_examples=50, deadline=None)
@given(seed=seeds, alpha=st.binary(max_size=200))
def test_what_is_proven_verifies(seed: bytes, alpha: bytes) -> None:
    # Given any key, when it proves, then all obtain one beta and the prover repeats itself exactly
    proof = prove(seed, alpha)
    beta = verify(sodium.crypto_sign_seed_keypair(seed)[0], alpha, proof)
    assert len(beta) == 64
    assert beta == proof_to_hash(proof)
    assert proof == prove(seed, alpha)


@settings(max_examples=100, deadline=None)
@given(bit=st.integers(min_value=0, max_value=80 * 8 - 1), alpha=st.binary(max_size=40))
def test_a_proof_with_any_bit_changed_is_refused(bit: int, alpha: bytes) -> None:
    with pytest.raises(VrfError):
        verify(PUBLIC_KEY, alpha, flip(prove(SEED, alpha), bit))


@settings(max_examples=50, deadline=None)
@given(alpha=st.binary(max_size=40), other=st.binary(max_size=40), seed=seeds)
def test_a_proof_fits_only_its_own_input_and_key(alpha: bytes, other: bytes, seed: bytes) -> None:
    proof = prove(SEED, alpha)
    if other != alpha:
        with pytest.raises(VrfError, match="does not belong"):
            verify(PUBLIC_KEY, other, proof)
    if seed != SEED:
        with pytest.raises(VrfError, match="does not belong"):
            verify(sodium.crypto_sign_seed_keypair(seed)[0], alpha, proof)


@settings(max_examples=200, deadline=None)
@given(public_key=st.binary(max_size=40) | seeds, alpha=st.binary(max_size=10), proof=st.binary(max_size=90))
def test_hostile_bytes_raise_nothing_but_vrf_error(public_key: bytes, alpha: bytes, proof: bytes) -> None:
    for attempt in (proof, proof.ljust(80, b"\x01")[:80], prove(SEED, alpha)):
        with pytest.raises(VrfError):
            verify(public_key, alpha, attempt)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_keys_and_seeds_of_another_length_are_refused(length: int) -> None:
    with pytest.raises(VrfError, match="seed has"):
        prove(bytes(length), b"")
    with pytest.raises(VrfError, match="public key"):
        verify(bytes(length), b"", prove(SEED, b""))


@pytest.mark.parametrize("length", [0, 79, 81])
def test_proofs_of_another_length_are_refused(length: int) -> None:
    proof = prove(SEED, b"").ljust(length, b"\x00")[:length]
    with pytest.raises(VrfError, match="instead of 80"):
        verify(PUBLIC_KEY, b"", proof)
    with pytest.raises(VrfError, match="instead of 80"):
        proof_to_hash(proof)


@pytest.mark.parametrize("point", small_order_points(), ids=lambda point: point.hex()[:8])
def test_points_of_small_order_are_refused(point: bytes) -> None:
    # Given a point of small order, whose proofs anyone could make for any beta
    # When it stands as key or as Gamma, then it is refused
    proof = prove(SEED, b"")
    with pytest.raises(VrfError, match="public key"):
        verify(point, b"", proof)
    with pytest.raises(VrfError, match="Gamma"):
        verify(PUBLIC_KEY, b"", point + proof[32:])
    with pytest.raises(VrfError, match="Gamma"):
        proof_to_hash(point + proof[32:])


@pytest.mark.parametrize("component", small_order_points()[1:], ids=lambda point: point.hex()[:8])
def test_points_with_a_small_order_component_are_refused(component: bytes) -> None:
    # Given a good key or Gamma plus a point of small order (the component of order 2 fooled libsodium's own test)
    proof = prove(SEED, b"")
    mixed_key = sodium.crypto_core_ed25519_add(PUBLIC_KEY, component)
    mixed_gamma = sodium.crypto_core_ed25519_add(proof[:32], component)
    # When verified, then refused
    with pytest.raises(VrfError, match="public key"):
        verify(mixed_key, b"", proof)
    with pytest.raises(VrfError, match="Gamma"):
        verify(PUBLIC_KEY, b"", mixed_gamma + proof[32:])


def test_encodings_that_are_not_canonical_are_refused() -> None:
    proof = prove(SEED, b"")
    # Given y = p + 1 (the identity again), y = p + 3 and x = 0 with its sign set
    twins = [FIELD_PRIME + 1, FIELD_PRIME + 3, 1 | 1 << 255, 2**256 - 1]
    for number in twins:
        point = number.to_bytes(32, "little")
        # When they stand as key or Gamma, then they are refused
        with pytest.raises(VrfError, match="public key"):
            verify(point, b"", proof)
        with pytest.raises(VrfError, match="Gamma"):
            verify(PUBLIC_KEY, b"", point + proof[32:])
    # And so is s + L, the same scalar written otherwise
    response = int.from_bytes(proof[48:], "little") + GROUP_ORDER
    with pytest.raises(VrfError, match="not reduced"):
        verify(PUBLIC_KEY, b"", proof[:48] + response.to_bytes(32, "little"))


def test_zero_scalars_are_refused() -> None:
    proof = prove(SEED, b"")
    with pytest.raises(VrfError, match="zero scalar"):
        verify(PUBLIC_KEY, b"", proof[:48] + bytes(32))
    with pytest.raises(VrfError, match="zero scalar"):
        verify(PUBLIC_KEY, b"", proof[:32] + bytes(16) + proof[48:])


@pytest.mark.parametrize("nonce", [0, 1, GROUP_ORDER - 1])
def test_a_prover_free_to_choose_its_nonce_still_gets_the_same_beta(nonce: int) -> None:
    # Given a prover who does not follow the nonce rule; with nonce 0, U and V are the identity
    odd_proof = Reference.prove(SEED, b"alpha", nonce)
    # When verified, then it passes, as in the RFC, and cannot move beta
    assert odd_proof != prove(SEED, b"alpha")
    assert verify(PUBLIC_KEY, b"alpha", odd_proof) == proof_to_hash(prove(SEED, b"alpha"))
