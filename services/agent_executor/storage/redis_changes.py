"""Tells other processes what has just been written, so that they read it again at once.

It only makes fast what is right without it: every cache has an end of its own. What a process may
have missed, while it had no connection, it takes for changed; so do the others with what a process
could not tell while it had none.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import SecretStr
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from agent_executor.storage.redis_client import (
    DEFAULT_TIMEOUT_SECONDS,
    HEARTBEAT_SECONDS,
    Outage,
    RedisClient,
    RedisObserver,
    Unobserved,
    connect,
    connection_of,
    reason_of,
)

# What is told of, and by which names.
POLICY: Final = "policy"
"""Limits and domains of an organization: its id."""
TOOL: Final = "tool"
"""A custom tool: the organization and the tool's name."""
MCP_SERVER: Final = "mcp_server"
"""An MCP server and its tools: the organization and the server's name."""
API_KEY: Final = "api_key"
"""An API key or a session that was revoked: its digest, in hexadecimal."""

_CHANNEL_PREFIX: Final = "agent_executor:1:changes:"


@dataclass(frozen=True, slots=True)
class _Watcher:
    """What is done when something of a topic has changed, and when anything may have."""

    forget: Callable[..., None]
    forget_all: Callable[[], None]


class RedisChanges:
    """Changes of a few topics, told and heard. What this process tells it does not hear.

    Args:
        url: Of Redis.
        client: What is told goes over this connection.
        timeout_seconds: How long an answer may take.
        observer: Who is told how it goes.
    """

    def __init__(
        self,
        url: SecretStr,
        client: RedisClient,
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        observer: RedisObserver | None = None,
    ) -> None:
        self._observer = observer or Unobserved()
        self._url = url
        self._client = client
        self._timeout_seconds = timeout_seconds
        self._sender = str(uuid.uuid4())
        self._watchers: dict[str, _Watcher] = {}
        self._untold: set[str] = set()
        self._outage = Outage("changes")
        self._task: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()

    def watch(
        self, topic: str, forget: Callable[..., None], forget_all: Callable[[], None]
    ) -> None:
        """Says what is done about changes of a topic; to be called before ``start``.

        Args:
            topic: One of a few words, as ``policy``.
            forget: Called with the names of what has changed, as ``tell`` had them.
            forget_all: Called when anything of the topic may have changed.
        """
        self._watchers[topic] = _Watcher(forget, forget_all)

    def tell(self, topic: str, *names: str) -> None:
        """Tells that something was written, without waiting; if Redis is away, once it is back.

        Args:
            topic: What it is.
            names: Which one.
        """
        message = json.dumps([self._sender, *names])
        told = self._client.run("PUBLISH", channel_of(topic), message)
        told.add_done_callback(lambda done: self._look_whether_told(topic, done))

    async def start(self) -> None:
        """Begins to listen, and waits for that as long as for an answer."""
        self._task = asyncio.create_task(self._keep_listening())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._listening.wait(), 2 * self._timeout_seconds)

    async def close(self) -> None:
        """Ends listening."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _look_whether_told(self, topic: str, told: asyncio.Future[Any]) -> None:
        if told.cancelled() or told.exception() is not None:
            self._untold.add(topic)

    async def _keep_listening(self) -> None:
        while True:
            connection = None
            try:
                connection = connection_of(self._url)
                await connect(connection, self._timeout_seconds)
                await self._listen(connection)
            except Exception as error:  # noqa: BLE001 -- a bug must not leave us deaf
                self._observer.error(reason_of(error))
                self._outage.note(error)
            finally:
                self._listening.clear()
                self._observer.state(is_up=False)
                if connection is not None:
                    await connection.disconnect(nowait=True)
            await self._outage.pause()

    async def _listen(self, connection: AbstractConnection) -> None:
        """Hears changes until the connection is lost or the server hangs.

        Raises:
            RedisError: It is lost.
            TimeoutError: The server hangs.
        """
        by_channel = {channel_of(topic): topic for topic in self._watchers}
        await connection.send_packed_command(
            connection.pack_command("SUBSCRIBE", *by_channel), check_health=False
        )
        subscribed = 0
        beating = asyncio.create_task(self._beat(connection))
        try:
            while True:
                async with asyncio.timeout(HEARTBEAT_SECONDS + self._timeout_seconds):
                    reply = await connection.read_response(timeout=math.inf)
                kind, *rest = [part.decode() if isinstance(part, bytes) else part for part in reply]
                if kind == "message":
                    self._hear(by_channel, *rest)
                elif kind == "subscribe":
                    subscribed += 1
                    if subscribed == len(by_channel):
                        self._begin()
                elif kind == "pong":
                    self._outage.end()
        finally:
            beating.cancel()

    def _begin(self) -> None:
        """Takes everything for changed, for nobody knows what was told before."""
        for watcher in self._watchers.values():
            watcher.forget_all()
        self._observer.state(is_up=True)
        self._listening.set()

    async def _beat(self, connection: AbstractConnection) -> None:
        """Makes the server answer every second, and tells what could not be told before."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS / 2)
            with contextlib.suppress(RedisError, OSError):
                await connection.send_packed_command(
                    connection.pack_command("PING"), check_health=False
                )
            if self._client.is_up:
                untold, self._untold = self._untold, set()
                for topic in untold:
                    self.tell(topic)

    def _hear(self, by_channel: Mapping[str, str], channel: str, message: str) -> None:
        topic = by_channel.get(channel)
        try:
            sender, *names = json.loads(message)
        except (ValueError, TypeError):
            return
        if topic is None or sender == self._sender:
            return
        watcher = self._watchers[topic]
        if not names:
            watcher.forget_all()
            return
        try:
            watcher.forget(*names)
        except (TypeError, ValueError):
            # Said by a process of another version: it names things in another way.
            watcher.forget_all()


def channel_of(topic: str) -> str:
    """Returns the channel on which changes of a topic are told."""
    return f"{_CHANNEL_PREFIX}{topic}"
