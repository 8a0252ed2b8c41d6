"""Turns the name of a host into addresses, by the system's resolver."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from agent_executor.egress.addresses import Address
from agent_executor.errors import UnavailableError

Resolver: TypeAlias = Callable[[str, int], Awaitable[list[Address]]]

# A lookup cannot be stopped, so one that its caller gave up goes on; there are never more.
LOOKUPS_MAX: Final = 64
_lookups: Final = threading.BoundedSemaphore(LOOKUPS_MAX)


async def resolve(host: str, port: int) -> list[Address]:
    """Returns the addresses of a host in the order in which they are to be tried.

    Each lookup has a thread of its own, so that a name whose servers do not answer holds up
    neither other work nor the end of the process.

    Raises:
        OSError: The name has no address, or nobody answers.
        UnavailableError: 64 lookups are under way, or the system has no thread for one.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[list[Address]] = loop.create_future()
    if not _lookups.acquire(blocking=False):
        raise UnavailableError(f"{LOOKUPS_MAX} names of hosts are being resolved at present.")

    def deliver(addresses: list[Address], error: OSError | None) -> None:
        if outcome.done():
            return
        if error is None:
            outcome.set_result(addresses)
        else:
            outcome.set_exception(error)

    def run() -> None:
        addresses: list[Address] = []
        error: OSError | None = None
        try:
            addresses = _look_up(host, port)
        except (OSError, UnicodeError, ValueError) as raised:
            error = OSError(str(raised))
        finally:
            _lookups.release()
        try:
            loop.call_soon_threadsafe(deliver, addresses, error)
        except RuntimeError:
            # The event loop is gone, and with it everyone who could wait.
            return

    try:
        threading.Thread(target=run, name="resolve", daemon=True).start()
    except RuntimeError:
        _lookups.release()
        raise UnavailableError("The host can start no thread to resolve a name.") from None
    return await outcome


def _look_up(host: str, port: int) -> list[Address]:
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # A zone, if there is one, stays with the address, so that it is seen and refused.
    addresses = [ipaddress.ip_address(answer[4][0]) for answer in answers]
    return list(dict.fromkeys(addresses))
