"""Writes draw.json: golden vectors of the draw, the beacon's input and the next seed, for any language to check.

Run it as ``python tests/vectors/generate_draw.py``. It is the rules of ``consensus/draw.py`` in plain arithmetic and
imports nothing of the project, so that the vectors do not merely repeat what they are to check.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

EXPLANATION = {
    "format": "Byte strings are lower-case hexadecimal; numbers above 2**53 are decimal strings; views count from 0.",
    "draws": "For each draw: the input, then per view the entrants (indices into members), their weights, "
    "the number u (decimal string), the ticket and the winner's index.",
    "beacons": "alpha is the input of the VRF; next_seed follows from seed and beta.",
}


def account(number: int) -> str:
    return hashlib.sha256(b"account" + bytes([number])).hexdigest()


def seed(number: int) -> str:
    return hashlib.sha256(b"seed" + bytes([number])).hexdigest()


def member(number: int, pool: int, reputation: int = 0, last: int = 0, active: bool = True) -> dict[str, Any]:
    return {
        "account": account(number),
        "pool_mvote": pool,
        "reputation_milli": reputation,
        "last_mined_height": last,
        "active": active,
    }


DEFAULTS = {"token_weight": 6000, "age_weight": 8000, "reputation_weight": 3000, "age_cap_blocks": 16}


def cases() -> list[dict[str, Any]]:
    four = [member(k, 100_000) for k in range(4)]
    lived = [
        member(0, 100_000, 12_000, 39),
        member(1, 250_000, 3_000, 30),
        member(2, 17, 0, 0),
        member(3, 99_999_999_999, 47_123, 38),
        member(4, 100_000, 1, 12, active=False),
    ]
    trap = [
        member(0, 100_000, 5_000, 9),
        member(1, 80_000, 0, 5, False),
        member(2, 70_000, 0, 6, False),
        member(3, 60_000, 2_000, 3),
    ]
    asleep = [member(k, 1_000 * (k + 1), 0, k, active=False) for k in range(4)]
    alone = [member(0, 100_000, 1_000, 4), *(member(k, 100_000, 0, 1, active=False) for k in range(1, 4))]
    many = [member(k, 1_000 + 37 * k * k, 250 * k, 200 - 3 * k) for k in range(13)]
    small = [member(k, 10 + k, 5, 8 - k) for k in range(5)]
    odd = {"token_weight": 1, "age_weight": 7, "reputation_weight": 0, "age_cap_blocks": 3}
    return [
        case("genesis, equal homes", 1, 0, four, None, 9),
        case("unequal homes with a past, one suspended", 40, 1, lived, account(3), 15),
        case("one eligible: the others produced last or are suspended", 10, 2, trap, account(0), 10),
        case("nobody active: the whole committee from the first view", 10, 3, asleep, None, 9),
        case("the only active member produced last", 5, 4, alone, account(0), 6),
        case("thirteen homes", 201, 5, many, account(12), 30),
        case("other weights", 9, 6, small, None, 6, odd),
        case("the previous producer left the committee", 7, 7, four, account(9), 5),
    ]


def case(
    name: str,
    height: int,
    seed_number: int,
    members: list[dict[str, Any]],
    previous: str | None,
    views: int,
    parameters: dict[str, int] = DEFAULTS,
) -> dict[str, Any]:
    members = sorted(members, key=lambda one: str(one["account"]))
    given = {
        "name": name,
        "height": height,
        "seed": seed(seed_number),
        "previous_producer": previous,
        "parameters": parameters,
        "members": members,
    }
    return {**given, "views": draw(given, views)}


def draw(given: dict[str, Any], views: int) -> list[dict[str, Any]]:
    members, height, parameters = given["members"], given["height"], given["parameters"]
    everyone = list(range(len(members)))
    active = [k for k in everyone if members[k]["active"]]
    pot = [k for k in active if members[k]["account"] != given["previous_producer"]] or active or everyone
    turns: list[dict[str, Any]] = []
    for view in range(views):
        pot = pot or everyone
        top = max([1] + [members[k]["reputation_milli"] for k in pot])
        weights = []
        for k in pot:
            age = min(height - members[k]["last_mined_height"], parameters["age_cap_blocks"])
            factor = parameters["token_weight"] + parameters["age_weight"] * age // parameters["age_cap_blocks"]
            factor += parameters["reputation_weight"] * members[k]["reputation_milli"] // top
            weights.append(1 + members[k]["pool_mvote"] * factor)
        hashed = b"ecloud/draw/1" + bytes.fromhex(given["seed"]) + height.to_bytes(8, "big") + view.to_bytes(8, "big")
        number = int.from_bytes(hashlib.sha512(hashed).digest()[:16], "big")
        ticket = number * sum(weights) // 2**128
        rest = ticket
        for k, weight in zip(pot, weights, strict=True):
            if rest < weight:
                winner = k
                break
            rest -= weight
        turns.append(
            {
                "entrants": pot,
                "weights": [str(weight) for weight in weights],
                "number": str(number),
                "ticket": str(ticket),
                "winner": winner,
            }
        )
        pot = [k for k in pot if k != winner]
    return turns


def beacons() -> list[dict[str, Any]]:
    rows = []
    for number, height, view in ((0, 1, 0), (1, 77, 3), (2, 2**40 + 5, 65_536)):
        chain_id = hashlib.sha256(b"chain" + bytes([number])).digest()
        beta = hashlib.sha512(b"beta" + bytes([number])).digest()
        old = bytes.fromhex(seed(number))
        alpha = b"ecloud/beacon/1" + chain_id + old + height.to_bytes(8, "big") + view.to_bytes(8, "big")
        rows.append(
            {
                "chain_id": chain_id.hex(),
                "seed": old.hex(),
                "height": height,
                "view": view,
                "beta": beta.hex(),
                "alpha": alpha.hex(),
                "next_seed": hashlib.sha512(b"ecloud/seed/1" + old + beta).digest()[:32].hex(),
            }
        )
    return rows


def text() -> str:
    return json.dumps({"explanation": EXPLANATION, "draws": cases(), "beacons": beacons()}, indent=1) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("draw.json").write_text(text(), encoding="utf-8")
