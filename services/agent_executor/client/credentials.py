"""Whose token goes with a call: one that is given, or one that an API key is exchanged for."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

import grpc

from agent_executor.api.executor.v1 import token_service_pb2
from agent_executor.client.call_options import DEFAULT_TIMEOUT_SECONDS
from agent_executor.client.failures import failure_of

API_KEY_PREFIX: Final = "aek_"
# Of its time, after which a token is replaced: calls that are under way still arrive with it.
_FRESH_SHARE: Final = 0.7
_EXCHANGE_PATH: Final = "/agent_executor.api.executor.v1.TokenService/ExchangeApiKey"
_SERVICE: Final = "executor"

Credential: TypeAlias = str | Callable[[], str]
AnyCredential: TypeAlias = Credential | Callable[[], Awaitable[str]]


class _Exchanged:
    """A token that an API key was exchanged for."""

    def __init__(self) -> None:
        self._token = ""
        self._stale_at = 0.0

    def fresh(self) -> str:
        """Returns the token; the empty string if it is time for another."""
        return self._token if time.monotonic() < self._stale_at else ""

    def keep(self, answer: token_service_pb2.ExchangeApiKeyResponse, asked_at: float) -> str:
        """Keeps a new one, and returns it."""
        self._token = answer.access_token
        self._stale_at = asked_at + answer.expires_in_seconds * _FRESH_SHARE
        return self._token


class SyncCredential:
    """Gives the blocking client its tokens.

    Args:
        credential: A token, an API key, or what gives a token.
    """

    def __init__(self, credential: Credential) -> None:
        self._credential = credential
        self._exchanged = _Exchanged()
        self._lock = threading.Lock()

    def token(self, channels: Mapping[str, grpc.Channel]) -> str:
        """Returns the token for the next call; the empty string if there is none.

        Raises:
            AgentExecutorError: The API key cannot be exchanged.
        """
        if callable(self._credential):
            return self._credential()
        if not self._credential.startswith(API_KEY_PREFIX):
            return self._credential
        token = self._exchanged.fresh()
        if token:
            return token
        with self._lock:
            return self._exchanged.fresh() or self._exchange(channels[_SERVICE], self._credential)

    def _exchange(self, channel: grpc.Channel, api_key: str) -> str:
        exchange = channel.unary_unary(
            _EXCHANGE_PATH,
            request_serializer=token_service_pb2.ExchangeApiKeyRequest.SerializeToString,
            response_deserializer=token_service_pb2.ExchangeApiKeyResponse.FromString,
        )
        asked_at = time.monotonic()
        try:
            answer = exchange(
                token_service_pb2.ExchangeApiKeyRequest(api_key=api_key),
                timeout=DEFAULT_TIMEOUT_SECONDS,
            )
        except grpc.RpcError as ended:
            raise failure_of(ended) from ended
        return self._exchanged.keep(answer, asked_at)


class AsyncCredential:
    """Gives the asyncio client its tokens.

    Args:
        credential: A token, an API key, or what gives a token, which may be awaited.
    """

    def __init__(self, credential: AnyCredential) -> None:
        self._credential = credential
        self._exchanged = _Exchanged()
        self._lock = asyncio.Lock()

    async def token(self, channels: Mapping[str, grpc.aio.Channel]) -> str:
        """Returns the token for the next call; the empty string if there is none.

        Raises:
            AgentExecutorError: The API key cannot be exchanged.
        """
        if callable(self._credential):
            given = self._credential()
            return await given if inspect.isawaitable(given) else given
        if not self._credential.startswith(API_KEY_PREFIX):
            return self._credential
        token = self._exchanged.fresh()
        if token:
            return token
        async with self._lock:
            return self._exchanged.fresh() or await self._exchange(
                channels[_SERVICE], self._credential
            )

    async def _exchange(self, channel: grpc.aio.Channel, api_key: str) -> str:
        exchange = channel.unary_unary(
            _EXCHANGE_PATH,
            request_serializer=token_service_pb2.ExchangeApiKeyRequest.SerializeToString,
            response_deserializer=token_service_pb2.ExchangeApiKeyResponse.FromString,
        )
        asked_at = time.monotonic()
        call = exchange(
            token_service_pb2.ExchangeApiKeyRequest(api_key=api_key),
            timeout=DEFAULT_TIMEOUT_SECONDS,
        )
        try:
            answer = await call
        except grpc.aio.AioRpcError as ended:
            raise failure_of(ended) from ended
        finally:
            call.cancel()
        return self._exchanged.keep(answer, asked_at)
