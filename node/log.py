"""The node's structured log: one readable line per event, or one JSON object for machines."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import Final, TextIO, cast

import structlog

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

Log = structlog.typing.FilteringBoundLogger


class _Unfailing:
    """Standard error for structlog. The log may lie on the disk that is full, its reader may be gone, or the stream be
    closed already (a ValueError): a line that cannot be written is lost, and what it was about to tell goes on.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._file.flush()


def configure(level: str, as_json: bool) -> None:
    """Sets up the process's log, on standard error. Libraries' own logs pass from warning on."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=28, sort_keys=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True) if as_json else _short_time,
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Unfailing(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    # libp2p logs every hostile packet with a traceback; the network counts them, and bans who sends them
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)
    logging.getLogger("async_service").setLevel(logging.CRITICAL)


def get(name: str) -> Log:
    """A logger whose lines carry ``room=name``."""
    log: Log = structlog.get_logger(room=name)
    return log


_short_time: Final = structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)
