"""Keeps what a home depends on running: a source, the broker, the line to it.

What fails is started again, ever later up to LONGEST_PAUSE_S, and counted; what ran for WELL_AFTER_S begins anew with
the shortest pause. The reason is said when it is another than before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from node.log import Log

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 30.0
WELL_AFTER_S: Final = 60.0


async def keep_running(
    name: str,
    service: Callable[[], Awaitable[None]],
    expected: tuple[type[Exception], ...],
    log: Log,
    restarts: Counter[str],
) -> None:
    """Until cancelled. ``expected`` are errors of the outside world, told in one line. Any other is a defect: it is
    told with its traceback, and the house's other services go on.
    """
    pause_s, said = FIRST_PAUSE_S, ""
    while True:
        began = trio.current_time()
        reason = "it returned"
        try:
            await service()
        except expected as error:
            reason = str(error)
        except Exception as error:
            reason = repr(error)
            log.exception("service failed", service=name)
        well = trio.current_time() - began > WELL_AFTER_S
        pause_s = FIRST_PAUSE_S if well else min(2 * pause_s, LONGEST_PAUSE_S)
        restarts[name] += 1
        if well or reason != said:
            said = reason
            log.warning("tried again", service=name, reason=reason)
        await trio.sleep(pause_s)
