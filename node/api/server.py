"""Serving the API: its sockets, its token, and hypercorn.

1. TCP on a loopback address; a unix socket ``api.sock`` that only its owner can open (0600).
2. ``api.token`` (0600) holds the administrator's token: made once, kept. ``api.url`` says where TCP listens, which
   matters where the port was left to the system.
3. Sockets that cannot be opened are named in one line with what to do.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol, cast

import trio
from hypercorn.config import Config, Sockets
from hypercorn.trio.run import worker_serve
from hypercorn.typing import ASGIFramework
from hypercorn.utils import wrap_app

from node.api import hypercorn_guard
from node.api.application import create_application
from node.api.metrics import ApiMetrics
from node.client.connection import SOCKET_NAME, TOKEN_NAME, URL_NAME
from node.key_files import KeyFileExists, write_private
from node.log import get
from node.service import NodeService

GRACE_S: Final = 0.5
"""Open event streams would otherwise hold every stop up for three seconds."""
BACKLOG: Final = 128
MAX_SOCKET_PATH_BYTES: Final = 107
TOKEN_BYTES: Final = 32
MAX_HEADER_BYTES: Final = 16 * 1024


class CannotServe(Exception):
    """The API's socket or token cannot be had; the text says what to do."""


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """``directory``: the node's data directory. ``port`` 0 takes any free one."""

    directory: Path
    host: str = "127.0.0.1"
    port: int = 4080
    unix_socket: bool = True


@dataclass(frozen=True, slots=True)
class ApiAddress:
    """Where the API answers. ``unix_socket`` is None if it is not served there."""

    url: str
    unix_socket: Path | None


class TaskStatus(Protocol):
    """Of trio's what is needed here."""

    def started(self, value: ApiAddress) -> None: ...


async def serve_api(
    service: NodeService, config: ApiConfig, *, task_status: TaskStatus = trio.TASK_STATUS_IGNORED
) -> None:
    """Serves until cancelled; ``task_status.started`` gets the addresses. Errors: CannotServe."""
    metrics = ApiMetrics(service.events)
    application = create_application(service, load_or_make_token(config.directory / TOKEN_NAME), metrics)
    sockets = _open_sockets(config)
    address = _address(sockets, config)
    _leave_url(config.directory / URL_NAME, address.url)
    hypercorn_guard.install()
    settings = _hypercorn_config()
    serve = partial(
        worker_serve,
        wrap_app(cast("ASGIFramework", application), settings.wsgi_max_body_size, "asgi"),
        settings,
        sockets=sockets,
        shutdown_trigger=trio.sleep_forever,
    )
    service.registry.register(metrics)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve)
            task_status.started(address)
    finally:
        service.registry.unregister(metrics)  # so that the API can be started again in the same process
        for name in (SOCKET_NAME, URL_NAME):
            (config.directory / name).unlink(missing_ok=True)


def _leave_url(path: Path, url: str) -> None:
    """For programs of this machine. A disk that is full keeps no node from serving reads: who looks for this file finds
    none, and no old one.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text(url + "\n", "ascii")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        get("api").warning("no file says where the API listens", path=str(path), url=url, reason=error.strerror)


def load_or_make_token(path: Path) -> str:
    """The administrator's token, 64 hexadecimal digits. Errors: CannotServe."""
    try:
        if not path.exists():
            with suppress(KeyFileExists):  # another process has just made it
                write_private(path, secrets.token_hex(TOKEN_BYTES).encode("ascii") + b"\n")
        path.chmod(0o600)
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
        hint = "make room on the disk" if full else "give the node's user this directory"
        raise CannotServe(f"cannot read or make {path}: {error}; {hint}") from error
    if len(token) < 2 * TOKEN_BYTES:
        raise CannotServe(f"{path} holds no token; remove it and start again, and a new one is made")
    return token


def _hypercorn_config() -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = logging.getLogger("node.api")
    config.graceful_timeout = GRACE_S
    config.shutdown_timeout = GRACE_S
    config.h11_max_incomplete_size = MAX_HEADER_BYTES
    config.include_server_header = False
    return config


def _open_sockets(config: ApiConfig) -> Sockets:
    """TCP first. Errors: CannotServe."""
    tcp = _listen_tcp(config.host, config.port)
    try:
        unix = _listen_unix(config.directory / SOCKET_NAME) if config.unix_socket else None
    except CannotServe:
        tcp.close()
        raise
    return Sockets(secure_sockets=[], insecure_sockets=[tcp] if unix is None else [tcp, unix], quic_sockets=[])


def _address(sockets: Sockets, config: ApiConfig) -> ApiAddress:
    host, port = sockets.insecure_sockets[0].getsockname()[:2]
    return ApiAddress(
        url=f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}",
        unix_socket=config.directory / SOCKET_NAME if len(sockets.insecure_sockets) > 1 else None,
    )


def _listen_tcp(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise CannotServe(
            f"the local API cannot listen on {host} port {port} ({error.strerror}); stop what uses it, or set another "
            "port (0 for any free one) in config.toml, section [api]"
        ) from error
    return listener


def _listen_unix(path: Path) -> socket.socket | None:
    """None if the path is too long for a socket: then TCP has to do."""
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        get("api").warning("no unix socket", reason=f"its path has more than {MAX_SOCKET_PATH_BYTES} bytes")
        return None
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    former_mask = os.umask(0o177)
    try:
        if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()  # left by a node that was killed: a running one holds the data directory
        listener.bind(str(path))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise CannotServe(
            f"the local API cannot listen on {path} ({error.strerror}); remove that file, or set unix_socket = false "
            "in config.toml, section [api]"
        ) from error
    finally:
        os.umask(former_mask)
    return listener
