"""The clients of a running platform: one for blocking code, one for asyncio, with the same methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Final, Self, TypedDict, Unpack

import grpc

from agent_executor.client.async_caller import AsyncCaller
from agent_executor.client.call_options import CallOptions
from agent_executor.client.channels import address_of, open_aio_channel, open_channel
from agent_executor.client.credentials import (
    AnyCredential,
    AsyncCredential,
    Credential,
    SyncCredential,
)
from agent_executor.client.groups import Groups
from agent_executor.client.sync_caller import SyncCaller

SERVICES: Final = ("executor", "tool_runner", "ledger")


class Options(TypedDict, total=False):
    """What the next calls are made with; see ``CallOptions``."""

    timeout_seconds: float | None
    max_attempts: int
    idempotency_key: str
    metadata: Mapping[str, str]
    metadata_hook: Callable[[], Mapping[str, str]] | None


class AgentExecutorClient(Groups[SyncCaller]):
    """Calls a running platform and waits for its answers; threads may share it.

    The methods are in groups, as ``client.agents.create(name="Ada")``; their arguments are the
    fields of the contracts' requests, by name, and their results the contracts' messages. Lists are
    iterated over, and read page by page; streams are iterated over to their last message, and taken
    up again where they are cut. Every error is one of ``agent_executor.errors``.

    Args:
        url: ``https://host[:port]``, or ``http://`` for this machine: the gateway, or one service,
            of which then only the methods are there.
        credential: A token, an API key (``aek_…``; it is exchanged for tokens as they are needed),
            or a function that gives the token for each call.
        allow_plaintext: Whether ``http://`` may name another machine.
        channel_credentials: Whom TLS trusts, and what this client shows. Default: whom Python
            trusts on this machine (``SSL_CERT_FILE``).
        options: See ``CallOptions``.

    Raises:
        InvalidArgumentError: The URL is none, or names another machine without encryption.
    """

    def __init__(
        self,
        url: str,
        credential: Credential = "",
        *,
        allow_plaintext: bool = False,
        channel_credentials: grpc.ChannelCredentials | None = None,
        **options: Unpack[Options],
    ) -> None:
        address = address_of(url, allow_plaintext=allow_plaintext)
        channel = open_channel(address, channel_credentials)
        channels = dict.fromkeys(SERVICES, channel)
        super().__init__(SyncCaller(channels, SyncCredential(credential), CallOptions(**options)))

    def with_options(self, **options: Unpack[Options]) -> Self:
        """Returns this client with other options, on the same connection."""
        caller = self._caller
        changed = replace(caller.options, **options)
        return self._of(SyncCaller(caller.channels, caller.credential, changed))

    def with_credential(self, credential: Credential) -> Self:
        """Returns this client as somebody else, on the same connection."""
        caller = self._caller
        return self._of(SyncCaller(caller.channels, SyncCredential(credential), caller.options))

    def close(self) -> None:
        """Closes the connection; calls under way end with an error."""
        for channel in set(self._caller.channels.values()):
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @classmethod
    def _of(cls, caller: SyncCaller) -> Self:
        client = cls.__new__(cls)
        Groups.__init__(client, caller)
        return client


class AsyncAgentExecutorClient(Groups[AsyncCaller]):
    """Calls a running platform from asyncio; see ``AgentExecutorClient``.

    It belongs to the event loop that is running when it is made. Answers are awaited, lists and
    streams read by ``async for``. Who leaves a stream before its end closes it:
    ``async with aclosing(client.runs.stream(...)) as updates``.

    Args:
        url: As there.
        credential: As there; a function may be asynchronous.
        allow_plaintext: As there.
        channel_credentials: As there.
        options: As there.

    Raises:
        InvalidArgumentError: As there.
    """

    def __init__(
        self,
        url: str,
        credential: AnyCredential = "",
        *,
        allow_plaintext: bool = False,
        channel_credentials: grpc.ChannelCredentials | None = None,
        **options: Unpack[Options],
    ) -> None:
        address = address_of(url, allow_plaintext=allow_plaintext)
        channel = open_aio_channel(address, channel_credentials)
        channels = dict.fromkeys(SERVICES, channel)
        super().__init__(AsyncCaller(channels, AsyncCredential(credential), CallOptions(**options)))

    @classmethod
    def over(cls, channels: Mapping[str, grpc.aio.Channel], **options: Unpack[Options]) -> Self:
        """Returns a client over channels that somebody else opens and closes.

        Args:
            channels: To ``executor``, ``tool_runner`` and ``ledger``, or to those that are called.
            options: See ``CallOptions``; ``metadata`` is where the callers' own token goes.
        """
        return cls._of(AsyncCaller(channels, AsyncCredential(""), CallOptions(**options)))

    def with_options(self, **options: Unpack[Options]) -> Self:
        """Returns this client with other options, on the same connection."""
        caller = self._caller
        changed = replace(caller.options, **options)
        return self._of(AsyncCaller(caller.channels, caller.credential, changed))

    def with_credential(self, credential: AnyCredential) -> Self:
        """Returns this client as somebody else, on the same connection."""
        caller = self._caller
        return self._of(AsyncCaller(caller.channels, AsyncCredential(credential), caller.options))

    async def close(self) -> None:
        """Closes the connection; calls under way end with an error."""
        for channel in set(self._caller.channels.values()):
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @classmethod
    def _of(cls, caller: AsyncCaller) -> Self:
        client = cls.__new__(cls)
        Groups.__init__(client, caller)
        return client
