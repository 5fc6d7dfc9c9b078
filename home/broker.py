"""The broker of a house that has none: amqtt's, on an event loop of its own in a thread of this process.

1. It listens where it is told, on loopback without a user, elsewhere only for the one user with his password.
2. It keeps sessions and retained messages in memory: whoever publishes retained messages publishes them again when he
   connects again, as ``home.mqtt`` does.
3. ``run`` serves until it is cancelled; BrokerFailed if it cannot listen, or its loop ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from pathlib import Path
from typing import Any, Final

import trio

MAX_CONNECTIONS: Final = 200


class BrokerFailed(Exception):
    """The embedded broker does not run; the message says why."""


class EmbeddedBroker:
    """``user`` empty: anybody who can reach it."""

    def __init__(self, host: str, port: int, user: str = "", password: str = "") -> None:
        self._host, self._port = host, port
        self._user, self._password = user, password
        self.listening = trio.Event()

    async def run(self) -> None:
        """See rule 3."""
        serving = _Serving(self._configuration, trio.lowlevel.current_trio_token(), self.listening)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_when_cancelled, serving)
            with trio.CancelScope(shield=True):
                # Shielded: the thread ends because it is told to.
                reason = await trio.to_thread.run_sync(serving.run)
            nursery.cancel_scope.cancel()
        if reason is not None:
            raise BrokerFailed(
                f"the broker on {self._host}:{self._port} does not run: {reason}; if another one runs there, name it "
                "in mqtt.broker"
            )

    def _configuration(self, directory: Path) -> dict[str, Any]:
        plugin: dict[str, Any]
        if self._user:
            from pwdlib import PasswordHash  # noqa: PLC0415 (only with a user: it takes a while)

            passwords = directory / "passwords"
            passwords.touch(mode=0o600)
            passwords.write_text(f"{self._user}:{PasswordHash.recommended().hash(self._password)}\n")
            plugin = {"amqtt.plugins.authentication.FileAuthPlugin": {"password_file": str(passwords)}}
        else:
            plugin = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        bind = f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"
        listener = {"type": "tcp", "bind": bind, "max_connections": MAX_CONNECTIONS}
        return {"listeners": {"default": listener}, "plugins": plugin}


class _Serving:
    """What happens in the thread."""

    def __init__(self, configuration: Any, token: trio.lowlevel.TrioToken, listening: trio.Event) -> None:
        self._configuration = configuration
        self._token = token
        self._listening = listening
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._wanted = True

    def run(self) -> str | None:
        """Until ``stop``; why not, if it ends before."""
        with tempfile.TemporaryDirectory(prefix="ecloud-broker-") as directory:
            try:
                asyncio.run(self._serve(self._configuration(Path(directory))))
            except Exception as error:  # whatever amqtt cannot do: it is said, and the home goes on without it
                return str(error) or repr(error)
        return None

    def stop(self) -> None:
        """From any thread."""
        self._wanted = False
        if self._loop is not None and self._end is not None:
            with contextlib.suppress(RuntimeError):  # it has just ended by itself
                self._loop.call_soon_threadsafe(self._end.set)

    async def _serve(self, configuration: dict[str, Any]) -> None:
        from amqtt.broker import Broker  # noqa: PLC0415 (0.1 s and 19 MB, which a house with a broker saves)

        logging.getLogger("amqtt").setLevel(logging.CRITICAL)  # it logs each client that leaves as an error
        logging.getLogger("transitions").setLevel(logging.WARNING)
        self._end, self._loop = asyncio.Event(), asyncio.get_running_loop()
        if not self._wanted:
            return
        broker = Broker(configuration)
        await broker.start()
        self._token.run_sync_soon(self._listening.set)
        try:
            await self._end.wait()
        finally:
            _close(broker)
            await asyncio.sleep(0)  # what is closed is closed in the loop's next turn


def _close(broker: Any) -> None:
    """Listeners and connections, at once. amqtt's own ``shutdown`` waits for readers that never say that they stopped,
    and only then closes its listeners; there is nothing on disk that it would have to put right.
    """
    for server in broker._servers.values():
        server.instance.close()
    for _, handler in broker._sessions.values():
        if handler is not None and handler.writer is not None:
            handler.writer._writer.close()


async def _stop_when_cancelled(serving: _Serving) -> None:
    try:
        await trio.sleep_forever()
    finally:
        serving.stop()
