"""How a method of the contracts becomes a method of a client: once, for both kinds of client.

A group's attribute is one of the classes below. What it gives depends on the group's caller: a
group of ``SyncCaller`` gets a function that returns the answer, a group of ``AsyncCaller`` one
whose answer is awaited. The fields of the request are its keyword arguments, with their types.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable
from typing import Any, Final, Generic, ParamSpec, TypeVar, overload

from google.protobuf.message import Message

from agent_executor.client.async_caller import AsyncCaller, AsyncPages
from agent_executor.client.call_options import (
    DEFAULT_TIMEOUT_SECONDS,
    EXECUTION_TIMEOUT_SECONDS,
    Method,
    Repeat,
)
from agent_executor.client.sync_caller import Pages, SyncCaller
from agent_executor.client.told import Told

P = ParamSpec("P")
RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)
ItemT = TypeVar("ItemT")
CallerT = TypeVar("CallerT")

_PACKAGE: Final = "/agent_executor.api."


class Group(Generic[CallerT]):
    """Methods that belong together.

    Args:
        caller: Makes the calls.
    """

    def __init__(self, caller: CallerT) -> None:
        self.caller = caller


class Unary(Generic[P, ResponseT]):
    """A method with one answer.

    Args:
        name: As ``executor.v1.AgentService/GetAgent``.
        request: What it takes.
        response: What it answers.
        repeat: When it may be called again.
        is_execution: Whether it waits for a run's end.
    """

    def __init__(
        self,
        name: str,
        request: Callable[P, Message],
        response: type[ResponseT],
        repeat: Repeat = Repeat.NEVER,
        *,
        is_execution: bool = False,
    ) -> None:
        timeout_seconds = EXECUTION_TIMEOUT_SECONDS if is_execution else DEFAULT_TIMEOUT_SECONDS
        self.method = Method(_PACKAGE + name, response, repeat, timeout_seconds)
        self.request = request

    @overload
    def __get__(self, group: Group[SyncCaller], owner: type) -> Callable[P, ResponseT]: ...
    @overload
    def __get__(
        self, group: Group[AsyncCaller], owner: type
    ) -> Callable[P, Awaitable[ResponseT]]: ...
    def __get__(self, group: Group[Any], owner: type) -> Callable[P, Any]:
        def call(*args: P.args, **fields: P.kwargs) -> Any:
            return group.caller.unary(self.method, self.request(*args, **fields))

        return call


class Paged(Generic[P, ResponseT, ItemT]):
    """A method that lists: what it gives is walked through, page by page, item by item.

    Args:
        name: As in ``Unary``.
        request: What it takes; has ``page_token``.
        response: A page; has ``next_page_token``.
        items: Picks the items of a page.
    """

    def __init__(
        self,
        name: str,
        request: Callable[P, Message],
        response: type[ResponseT],
        items: Callable[[ResponseT], Iterable[ItemT]],
    ) -> None:
        self.method = Method(_PACKAGE + name, response, Repeat.HARMLESS, DEFAULT_TIMEOUT_SECONDS)
        self.request = request
        self._items = items

    @overload
    def __get__(
        self, group: Group[SyncCaller], owner: type
    ) -> Callable[P, Pages[ResponseT, ItemT]]: ...
    @overload
    def __get__(
        self, group: Group[AsyncCaller], owner: type
    ) -> Callable[P, AsyncPages[ResponseT, ItemT]]: ...
    def __get__(self, group: Group[Any], owner: type) -> Callable[P, Any]:
        def call(*args: P.args, **fields: P.kwargs) -> Any:
            return group.caller.pages(self.method, self.request(*args, **fields), self._items)

        return call


class Stream(Generic[P, ResponseT]):
    """A method that answers with a stream.

    Args:
        name: As in ``Unary``.
        request: What it takes.
        response: A message of the stream.
        told: Keeps what the caller was told, of a stream that begins.
        repeat: When it may be called again.
    """

    def __init__(
        self,
        name: str,
        request: Callable[P, RequestT],
        response: type[ResponseT],
        told: Callable[[RequestT], Told[ResponseT]],
        repeat: Repeat,
    ) -> None:
        self.method = Method(_PACKAGE + name, response, repeat, None)
        self.request: Callable[P, Message] = request
        self._told: Callable[[Any], Told[ResponseT]] = told

    @overload
    def __get__(
        self, group: Group[SyncCaller], owner: type
    ) -> Callable[P, Generator[ResponseT, None, None]]: ...
    @overload
    def __get__(
        self, group: Group[AsyncCaller], owner: type
    ) -> Callable[P, AsyncGenerator[ResponseT, None]]: ...
    def __get__(self, group: Group[Any], owner: type) -> Callable[P, Any]:
        def call(*args: P.args, **fields: P.kwargs) -> Any:
            return group.caller.stream(self.method, self._told(self.request(*args, **fields)))

        return call
