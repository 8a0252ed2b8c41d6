from __future__ import annotations

import asyncio
import socket
import threading
from ipaddress import ip_address
from typing import Any

import pytest

from agent_executor.egress import resolver
from agent_executor.errors import UnavailableError


def answers(*addresses: str) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in addresses]


async def test_localhost_is_loopback() -> None:
    addresses = await resolver.resolve("localhost", 80)
    assert addresses
    assert all(address.is_loopback for address in addresses)


async def test_each_address_is_given_once_with_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    given = answers("8.8.8.8", "fe80::1%lo", "8.8.8.8")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: given)
    assert await resolver.resolve("a.test", 443) == [
        ip_address("8.8.8.8"),
        ip_address("fe80::1%lo"),
    ]


async def test_a_name_that_is_none_is_an_error_of_the_system() -> None:
    for host in ("a" * 64 + ".test", "a..test"):
        with pytest.raises(OSError, match=r".+"):
            await resolver.resolve(host, 443)


async def test_lookups_that_do_not_end_hold_up_nothing_and_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = threading.Event()
    places = threading.BoundedSemaphore(2)
    monkeypatch.setattr(resolver, "_lookups", places)

    def hang(*arguments: object, **options: object) -> list[Any]:
        release.wait()
        return answers("8.8.8.8")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    given_up = asyncio.ensure_future(resolver.resolve("a.test", 443))
    waiting = asyncio.ensure_future(resolver.resolve("a.test", 443))
    await asyncio.sleep(0)
    given_up.cancel()
    with pytest.raises(UnavailableError):
        await resolver.resolve("b.test", 443)
    release.set()
    assert await waiting == [ip_address("8.8.8.8")]
    with pytest.raises(asyncio.CancelledError):
        await given_up
    # Both have given their places back, the one that nobody waited for, too.
    assert all(places.acquire(timeout=60) for _ in range(2))


async def test_a_system_without_threads_is_unavailable_and_keeps_no_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    places = threading.BoundedSemaphore(1)
    monkeypatch.setattr(resolver, "_lookups", places)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(UnavailableError):
        await resolver.resolve("a.test", 443)
    assert places.acquire(blocking=False)
