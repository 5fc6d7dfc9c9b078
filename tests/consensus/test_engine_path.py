"""The certificates held at one height, against their definition by brute force."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from consensus.block import Block, Certificate
from consensus.engine.path import SENT_TOGETHER, SENT_TOGETHER_BYTES, CertificatePath, newest
from ledger.statements import StatementKind
from tests.consensus.stage import Stage

BLOCKS = [Stage(size=1).block(0, time_ms=5_000 + number) for number in range(3)]
VIEWS = 7


def certificate(kind: StatementKind, view: int, block: Block | None = None, signatures: int = 3) -> Certificate:
    return Certificate(kind, 1, view, None if block is None else block.hash, b"\x07", bytes(64 * signatures))


held = st.tuples(
    st.dictionaries(st.integers(0, VIEWS - 1), st.sampled_from(BLOCKS), max_size=VIEWS),
    st.sets(st.integers(0, VIEWS - 1)),
    st.randoms(use_true_random=False),
)


def path_of(notarized: dict[int, Block], nullified: set[int], order: object) -> CertificatePath:
    certificates = [certificate(StatementKind.NOTARIZE, view, block) for view, block in notarized.items()]
    certificates += [certificate(StatementKind.NULLIFY, view) for view in nullified]
    order.shuffle(certificates)  # type: ignore[attr-defined]
    subject = CertificatePath()
    for one in certificates:
        subject.add(one)
    return subject


def reached(notarized: dict[int, Block], nullified: set[int], view: int) -> list[int]:
    """Notarized views below from which every view up to this one is nullified, the highest first."""
    return [
        below
        for below in range(view - 1, -1, -1)
        if below in notarized and all(between in nullified for between in range(below + 1, view))
    ]


@given(held, st.integers(0, VIEWS))
def test_what_is_justified(given_held: tuple[dict[int, Block], set[int], object], view: int) -> None:
    notarized, nullified, order = given_held
    subject = path_of(notarized, nullified, order)
    assert subject.justifies_fresh(view) == all(below in nullified for below in range(view))
    for block in BLOCKS:
        expected = any(notarized[below] == block for below in reached(notarized, nullified, view))
        assert subject.justifies_repeating(view, block.hash) == expected
    assert subject.highest_view == max([-1, *notarized, *nullified])


@given(held, st.integers(0, VIEWS))
def test_the_path(given_held: tuple[dict[int, Block], set[int], object], view: int) -> None:
    notarized, nullified, order = given_held
    found, complete = path_of(notarized, nullified, order).path(view)
    shown = [(one.kind, one.view) for one in found]
    from_views = reached(notarized, nullified, view)
    if from_views:
        after = [(StatementKind.NULLIFY, between) for between in range(from_views[0] + 1, view)]
        assert (shown, complete) == ([(StatementKind.NOTARIZE, from_views[0]), *after], True)
    elif all(below in nullified for below in range(view)):
        assert (shown, complete) == ([(StatementKind.NULLIFY, below) for below in range(view)], True)
    else:
        everything = [(StatementKind.NOTARIZE, below) for below in notarized if below < view]
        everything += [(StatementKind.NULLIFY, below) for below in nullified if below < view]
        assert (sorted(shown), complete) == (sorted(everything), False)


@given(held, st.integers(0, VIEWS), st.sets(st.sampled_from(BLOCKS)))
def test_what_a_leader_repeats(
    given_held: tuple[dict[int, Block], set[int], object], view: int, here: set[Block]
) -> None:
    notarized, nullified, order = given_held
    bodies = {block.hash: block for block in here}
    found = path_of(notarized, nullified, order).repeatable(view, bodies.get)
    # A notarized view whose body is missing may be passed over only if it is nullified, which is what reaching means
    best = next((below for below in reached(notarized, nullified, view) if notarized[below] in here), None)
    if best is None:
        assert found is None
    else:
        assert found is not None
        block, justification = found
        assert block == notarized[best]
        assert [(one.kind, one.view) for one in justification] == [
            (StatementKind.NOTARIZE, best),
            *((StatementKind.NULLIFY, between) for between in range(best + 1, view)),
        ]


def test_the_newest_certificates_that_fit_are_sent() -> None:
    many = [certificate(StatementKind.NULLIFY, view) for view in range(SENT_TOGETHER + 5)]
    assert [one.view for one in newest(list(reversed(many)))] == list(range(5, SENT_TOGETHER + 5))
    large = [certificate(StatementKind.NULLIFY, view, signatures=SENT_TOGETHER_BYTES // 64 // 2) for view in range(4)]
    assert [one.view for one in newest(large)] == [3]
    assert newest([certificate(StatementKind.NULLIFY, 9, signatures=4_096)])[0].view == 9
    assert newest([]) == ()
