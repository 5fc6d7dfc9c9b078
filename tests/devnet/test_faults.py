"""Faults as an operator writes them."""

import pytest

from devnet.faults import Action, BadFault, Fault, parse_faults

NAMES = ["anne", "bob", "bob.home"]


def test_faults_happen_in_the_order_of_their_heights() -> None:
    assert parse_faults(["20:restart:bob", "10:kill:bob", "10:pause:bob.home"], NAMES, 30) == [
        Fault(10, Action.KILL, "bob"),
        Fault(10, Action.PAUSE, "bob.home"),
        Fault(20, Action.RESTART, "bob"),
    ]


def test_without_a_last_block_any_height_will_do() -> None:
    assert parse_faults(["99999:resume:anne"], NAMES, 0) == [Fault(99_999, Action.RESUME, "anne")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "HEIGHT:ACTION:NAME"),
        ("10:kill", "HEIGHT:ACTION:NAME"),
        ("ten:kill:bob", "HEIGHT:ACTION:NAME"),
        ("-1:kill:bob", "HEIGHT:ACTION:NAME"),
        ("10:murder:bob", "there are kill, restart, pause, resume"),
        ("10:kill:zoe", "there are anne, bob, bob.home"),
        ("0:kill:bob", "blocks 1 … 29"),
        ("30:kill:bob", "blocks 1 … 29"),
    ],
)
def test_what_cannot_happen_is_explained(text: str, words: str) -> None:
    with pytest.raises(BadFault, match=words):
        parse_faults([text], NAMES, 30)
