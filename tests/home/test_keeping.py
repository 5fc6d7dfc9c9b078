"""What a home depends on is tried again, ever later, and each new reason is said once."""

from __future__ import annotations

from collections import Counter

import pytest
import structlog
import trio
from structlog.testing import CapturingLogger
from trio.testing import MockClock

from home.keeping import FIRST_PAUSE_S, LONGEST_PAUSE_S, WELL_AFTER_S, keep_running


class Broken(Exception):
    pass


class Service:
    """Fails after ``lives_s`` with the reasons given, the last one again and again."""

    def __init__(self, *reasons: str | Exception, lives_s: float = 0.0) -> None:
        self.reasons = list(reasons)
        self.lives_s = lives_s
        self.began: list[float] = []

    async def run(self) -> None:
        self.began.append(trio.current_time())
        await trio.sleep(self.lives_s)
        reason = self.reasons.pop(0) if len(self.reasons) > 1 else self.reasons[0]
        raise reason if isinstance(reason, Exception) else Broken(reason)


async def run_for(service: Service, seconds: float) -> tuple[Counter[str], list[str]]:
    restarts: Counter[str] = Counter()
    written = CapturingLogger()
    with trio.move_on_after(seconds):
        log = structlog.wrap_logger(written, processors=[], wrapper_class=structlog.stdlib.BoundLogger)
        await keep_running("cable", service.run, (Broken,), log, restarts)
    return restarts, [str(call.kwargs.get("reason", call.kwargs["event"])) for call in written.calls]


@pytest.mark.trio
async def test_it_is_tried_again_ever_later(autojump_clock: MockClock) -> None:
    service = Service("the cable is out")
    restarts, said = await run_for(service, 300)
    pauses = [after - before for before, after in zip(service.began, service.began[1:], strict=False)]
    assert pauses[0] == pytest.approx(2 * FIRST_PAUSE_S)
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE_S)
    assert restarts["cable"] == len(service.began)
    assert said == ["the cable is out"]


@pytest.mark.trio
async def test_another_reason_is_said(autojump_clock: MockClock) -> None:
    _, said = await run_for(Service("out", "out", "silent", "out"), 60)
    assert said == ["out", "silent", "out"]


@pytest.mark.trio
async def test_what_ran_well_begins_anew(autojump_clock: MockClock) -> None:
    service = Service("out", lives_s=WELL_AFTER_S + 1)
    await run_for(service, 1_000)
    pauses = [after - before - service.lives_s for before, after in zip(service.began, service.began[1:], strict=False)]
    assert pauses == pytest.approx([FIRST_PAUSE_S] * len(pauses))


@pytest.mark.trio
async def test_a_defect_is_told_with_its_traceback_and_tried_again(autojump_clock: MockClock) -> None:
    restarts, said = await run_for(Service(ValueError("a defect"), "out"), 5)
    assert said[:2] == ["service failed", "ValueError('a defect')"]
    assert restarts["cable"] >= 2


@pytest.mark.trio
async def test_what_returns_is_started_again(autojump_clock: MockClock) -> None:
    restarts: Counter[str] = Counter()

    async def run() -> None:
        await trio.sleep(1)

    with trio.move_on_after(10):
        await keep_running("cable", run, (Broken,), structlog.get_logger(), restarts)
    assert restarts["cable"] >= 3
