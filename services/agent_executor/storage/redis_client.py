"""Redis or Valkey, for what several processes share and can do without for a while.

The commands of many callers that come at the same time go over one connection in one round trip.
Nobody waits for a server that is away: a caller is told so, at once if that is known, else within
twice the timeout, and what it does instead is its own affair. The connection is made again in the
background.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import random
import time
from collections.abc import Sequence
from typing import Any, Final, Protocol, TypeAlias

from pydantic import SecretStr
from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.exceptions import (
    AuthenticationError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from agent_executor.errors import UnavailableError

DEFAULT_TIMEOUT_SECONDS: Final = 0.25
BATCH_COMMANDS_MAX: Final = 512
HEARTBEAT_SECONDS: Final = 1.0
_FIRST_BACKOFF_SECONDS: Final = 0.02
_BACKOFF_SECONDS_MAX: Final = 0.25
_AWAY: Final = "Redis does not answer at present."
_REFUSED: Final = "Redis refuses a command at present."

Argument: TypeAlias = bytes | str | int
Reply: TypeAlias = Any

_LOGGER = logging.getLogger(__name__)


class RedisObserver(Protocol):
    """Who is told how it goes."""

    def state(self, *, is_up: bool) -> None:
        """Takes down whether Redis answers."""

    def round_trip(self, seconds: float) -> None:
        """Takes down how long a batch took."""

    def error(self, reason: str) -> None:
        """Takes down a failure, by a reason out of a few."""


class Unobserved:
    """Tells nobody."""

    def state(self, *, is_up: bool) -> None:
        """Does nothing."""

    def round_trip(self, seconds: float) -> None:
        """Does nothing."""

    def error(self, reason: str) -> None:
        """Does nothing."""


class Script:
    """A Lua script, which the server knows by its digest.

    Attributes:
        source: Its text.
        sha1: Its digest, in hexadecimal.
    """

    def __init__(self, source: str) -> None:
        self.source: Final = source
        self.sha1: Final = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class Outage:
    """Logs once that the server is away, and spaces the tries to connect again.

    It ends only when a connection has lasted: one that is lost as soon as it is used, such as that to
    a replica that takes no writes, would fill the log and be made again without a pause.

    Args:
        what: Whom it concerns, as logs name it.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._is_known = False
        self._backoff_seconds = _FIRST_BACKOFF_SECONDS

    def note(self, error: Exception) -> None:
        """Logs what has failed, unless it is known; a bug with its traceback."""
        if not self._is_known:
            # Once, and not for each call or try; its text may hold the server's address
            # but no password.
            is_expected = isinstance(error, RedisError | OSError)
            _LOGGER.warning(
                "Redis (%s) is away: %s",
                self._what,
                reason_of(error),
                exc_info=None if is_expected else error,
            )
        self._is_known = True

    async def pause(self) -> None:
        """Waits until the next try, each time longer."""
        await asyncio.sleep(self._backoff_seconds * random.uniform(0.5, 1))  # noqa: S311 -- no secret
        self._backoff_seconds = min(2 * self._backoff_seconds, _BACKOFF_SECONDS_MAX)

    def end(self) -> None:
        """Says that a connection lasts."""
        if self._is_known:
            _LOGGER.info("Redis (%s) answers", self._what)
        self._is_known = False
        self._backoff_seconds = _FIRST_BACKOFF_SECONDS


class _Command:
    """A command that waits to be sent, or for its reply."""

    __slots__ = ("arguments", "reply")

    def __init__(self, arguments: Sequence[Argument], reply: asyncio.Future[Reply]) -> None:
        self.arguments = arguments
        self.reply = reply


class RedisClient:
    """A connection that many callers share.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, with the password in it if there is one.
        use: What it is for, as logs name it.
        timeout_seconds: How long a batch may take before the connection is given up.
        heartbeat: A command that is sent every second, so that a server that hangs is known to.
        observer: Who is told how it goes.
    """

    def __init__(
        self,
        url: SecretStr,
        *,
        use: str = "",
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        heartbeat: Sequence[Argument] = ("PING",),
        observer: RedisObserver | None = None,
    ) -> None:
        self._url = url
        self._outage = Outage(use)
        self._timeout_seconds = timeout_seconds
        self._heartbeat = heartbeat
        self._observer = observer or Unobserved()
        self._waiting: list[_Command] = []
        self._arrived = asyncio.Event()
        self._tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.is_up = False
        self.last_heartbeat: Reply = None

    async def start(self) -> None:
        """Connects, and waits for that as long as for an answer; a server that is away may come."""
        self._observer.state(is_up=False)
        self._task = asyncio.create_task(self._keep_connected())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._tried.wait(), 2 * self._timeout_seconds)

    async def close(self) -> None:
        """Ends the connection; commands that wait are told that Redis is away."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def run(self, *arguments: Argument) -> asyncio.Future[Reply]:
        """Sends a command with the next batch and returns the future of its reply.

        The future ends within twice the timeout. It raises ``UnavailableError`` if Redis does not
        answer, or refuses the command; then the command may have been done nevertheless.
        """
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        if self.is_up:
            self._waiting.append(_Command(arguments, reply))
            self._arrived.set()
        else:
            _fail([_Command(arguments, reply)], _AWAY)
        return reply

    async def run_script(
        self, script: Script, keys: Sequence[Argument], arguments: Sequence[Argument]
    ) -> Reply:
        """Runs a script by its digest, and by its text on a server that has not seen it yet.

        Raises:
            UnavailableError: Redis does not answer, or refuses it.
        """
        try:
            return await self.run("EVALSHA", script.sha1, len(keys), *keys, *arguments)
        except UnavailableError as error:
            if not isinstance(error.__cause__, NoScriptError):
                raise
        return await self.run("EVAL", script.source, len(keys), *keys, *arguments)

    async def _keep_connected(self) -> None:
        """Connects again and again, and serves callers while it is connected."""
        while True:
            connection = None
            try:
                connection = await self._connected()
                await self._serve(connection)
            except Exception as error:  # noqa: BLE001 -- a bug must not leave us without Redis
                # Such as a RuntimeError of uvloop, on a transport that has just been closed.
                self._observer.error(reason_of(error))
                self._outage.note(error)
            finally:
                self._go_down()
                if connection is not None:
                    await connection.disconnect(nowait=True)
            await self._outage.pause()

    async def _connected(self) -> AbstractConnection:
        connection = connection_of(self._url)
        await connect(connection, self._timeout_seconds)
        self.is_up = True
        self._observer.state(is_up=True)
        self._tried.set()
        return connection

    def _go_down(self) -> None:
        if self.is_up:
            self.is_up = False
            self._observer.state(is_up=False)
        self._tried.set()
        waiting, self._waiting = self._waiting, []
        _fail(waiting, _AWAY)

    async def _serve(self, connection: AbstractConnection) -> None:
        """Sends what waits, batch by batch: while one is on its way, the next one gathers.

        Raises:
            RedisError: The connection is lost, or leads to a server that is none at present.
            TimeoutError: The server hangs.
        """
        loop = asyncio.get_running_loop()
        beating = loop.create_task(self._beat())
        try:
            while True:
                if not self._waiting:
                    self._arrived.clear()
                    await self._arrived.wait()
                batch = self._waiting[:BATCH_COMMANDS_MAX]
                del self._waiting[:BATCH_COMMANDS_MAX]
                started = time.perf_counter()
                try:
                    async with asyncio.timeout(self._timeout_seconds):
                        await self._exchange(connection, batch)
                except BaseException:
                    _fail(batch, _AWAY)
                    raise
                self._observer.round_trip(time.perf_counter() - started)
        finally:
            beating.cancel()

    async def _exchange(self, connection: AbstractConnection, batch: Sequence[_Command]) -> None:
        packed = connection.pack_commands([command.arguments for command in batch])
        await connection.send_packed_command(packed, check_health=False)
        lost: ResponseError | None = None
        for command in batch:
            try:
                reply = await connection.read_response(
                    disable_decoding=True, disconnect_on_error=False
                )
            except ResponseError as error:
                if not isinstance(error, NoScriptError):
                    self._observer.error(reason_of(error))
                _fail([command], _REFUSED, error)
                if isinstance(error, ReadOnlyError):
                    lost = error
            else:
                if not command.reply.done():
                    command.reply.set_result(reply)
        if lost is not None:
            # Another server may be behind the address by now.
            raise lost

    async def _beat(self) -> None:
        """Sends the heartbeat; a server that does not answer it is found out without a call."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            with contextlib.suppress(UnavailableError):
                self.last_heartbeat = await self.run(*self._heartbeat)
                self._outage.end()


def connection_of(url: SecretStr) -> AbstractConnection:
    """Returns a connection, not made yet, whose own timeouts and repetitions are off.

    Raises:
        ValueError: The URL is none of Redis.
    """
    options: dict[str, Any] = dict(parse_url(url.get_secret_value()))
    kind = options.pop("connection_class", Connection)
    # The second version of the protocol is spoken by all servers.
    fixed = {"protocol": 2, "socket_timeout": None, "socket_connect_timeout": None}
    connection: AbstractConnection = kind(**{**options, **fixed})
    return connection


async def connect(connection: AbstractConnection, timeout_seconds: float) -> None:
    """Makes a connection and sees that the server answers.

    Raises:
        RedisError: It is away, or does not let us in.
        TimeoutError: It hangs.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            await connection.connect()  # type: ignore[no-untyped-call] # redis-py's has no annotations
            # A server that hangs takes connections as well.
            await connection.send_packed_command(connection.pack_command("PING"))
            await connection.read_response()
    except BaseException:
        await connection.disconnect(nowait=True)
        raise


def reason_of(error: BaseException) -> str:
    """Returns a word for a failure, out of a few; an error's text may hold anything."""
    if isinstance(error, TimeoutError | RedisTimeoutError):
        return "timeout"
    if isinstance(error.__cause__, AuthenticationError):
        return "authentication"
    if isinstance(error, ResponseError):
        return "refused"
    return "connection"


def _fail(commands: Sequence[_Command], message: str, cause: Exception | None = None) -> None:
    for command in commands:
        if not command.reply.done():
            error = UnavailableError(message)
            error.__cause__ = cause
            command.reply.set_exception(error)
            # Whoever waited may be gone, of which nobody is to be warned.
            command.reply.exception()
