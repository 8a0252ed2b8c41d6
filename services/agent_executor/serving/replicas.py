"""The replicas of a peer: where they are, one multiplexed stream to each, and which gets a call."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import grpc
from google.protobuf.message import Message

from agent_executor.errors import UnavailableError
from agent_executor.serving.multiplex_client import MultiplexedStream

RESOLVE_SECONDS: Final = 2.0
"""How often a host's name is looked up again, in seconds."""

_LOGGER = logging.getLogger(__name__)


class Address(NamedTuple):
    """Where a replica is.

    Attributes:
        host: The host's name, which its certificate is for; empty if it was named by its IP address.
        target: Its IP address and port, as gRPC takes them; the name and port of a host with one
            address of each family.
    """

    host: str
    target: str


@dataclass(slots=True, eq=False)
class Replica:
    """One replica and what leads to it; ``is_leaving`` once its host's name stands for it no more."""

    channel: grpc.aio.Channel
    stream: MultiplexedStream
    is_leaving: bool = False


class Replicas:
    """Calls a peer through whichever replica has the fewest calls at the moment.

    A call that waits for a replica that was lost is sent again to another one under its id, so a
    method must bear to be called twice, as with one stream. With one address there is one replica,
    and a call costs what it costs on its stream.

    Args:
        addresses: Where they are, as ``host:port``, several with commas between. A host's name may
            stand for several replicas; it is looked up again every ``RESOLVE_SECONDS``.
        open_replica: Opens the channel and the stream to one; all streams have the same ids.
        name: The peer's name, for errors and logs.
    """

    def __init__(
        self,
        addresses: str,
        open_replica: Callable[[Address, Callable[[bool], None]], Replica],
        name: str,
    ) -> None:
        self._addresses = [each.strip() for each in addresses.split(",")]
        self._open_replica = open_replica
        self._name = name
        self._replicas: dict[Address, Replica] = {}
        self._resolving: asyncio.Task[None] | None = None
        self._turns = itertools.count()

    async def start(self) -> None:
        """Finds the replicas and begins to connect to each."""
        self._take(await self._found())
        if not all(map(_is_literal, self._addresses)):
            self._resolving = asyncio.create_task(self._resolve(), name=f"{self._name}-replicas")

    def call(self, method: str, request: Message, **how: Any) -> Awaitable[Any]:
        """Calls a method; see ``MultiplexedStream.call``.

        Raises:
            UnavailableError: No replica is known.
        """
        return self._least_busy().stream.call(method, request, **how)

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel to one of the replicas, for a call of its own.

        They are taken in turn: what is pending on a stream does not tell that one hangs, and then
        a call that is repeated is to find another one.

        Raises:
            UnavailableError: No replica is known.
        """
        best = _unfitness(self._least_busy())
        fit = [each for each in self._replicas.values() if _unfitness(each) == best]
        return fit[next(self._turns) % len(fit)].channel

    @property
    def channels(self) -> Sequence[grpc.aio.Channel]:
        """The channels to all of them."""
        return [replica.channel for replica in self._replicas.values()]

    async def close(self) -> None:
        """Ends every stream, and every pending call with ``UnavailableError``."""
        if self._resolving is not None:
            self._resolving.cancel()
            await asyncio.gather(self._resolving, return_exceptions=True)
        for replica in self._replicas.values():
            await _close(replica)

    def _least_busy(self) -> Replica:
        replicas = self._replicas.values()
        if len(replicas) == 1:
            return next(iter(replicas))
        if not replicas:
            raise UnavailableError(f"No address of the {self._name} is known.")
        return min(replicas, key=_unattractiveness)

    async def _resolve(self) -> None:
        while True:
            await asyncio.sleep(RESOLVE_SECONDS)
            try:
                self._take(await self._found())
                await self._dismiss()
            except Exception:  # a bug must not keep new replicas from being found
                _LOGGER.exception("The replicas of the %s cannot be looked for.", self._name)

    async def _found(self) -> list[Address]:
        found: list[Address] = []
        for address in self._addresses:
            try:
                found += await _looked_up(address)
            except OSError as error:
                _LOGGER.warning("The %s at %s cannot be found: %s.", self._name, address, error)
                host = address.rpartition(":")[0]
                # Those that are known serve on while their names cannot be looked up.
                found += [known for known in self._replicas if known.host == host]
        return found

    def _take(self, found: Sequence[Address]) -> None:
        for address in found:
            if address not in self._replicas:
                self._replicas[address] = self._opened(address)
        for address, replica in self._replicas.items():
            replica.is_leaving = address not in found

    def _opened(self, address: Address) -> Replica:
        return self._open_replica(
            address, lambda connected: self._changed(address, connected=connected)
        )

    async def _dismiss(self) -> None:
        """Closes the streams to replicas that are gone, once nothing waits for them."""
        for address, replica in list(self._replicas.items()):
            if not replica.is_leaving or (replica.stream.connected and replica.stream.pending):
                continue
            del self._replicas[address]
            if self._replicas:
                replica.stream.hand_over(self._least_busy().stream)
            await _close(replica)

    def _changed(self, address: Address, *, connected: bool) -> None:
        """Lets calls that wait for a lost replica be sent to one that is there."""
        changed = self._replicas.get(address)
        if changed is None:
            # It was dismissed, and what waited for it is elsewhere.
            return
        others = [replica for replica in self._replicas.values() if replica is not changed]
        if connected:
            for replica in others:
                if not replica.stream.connected:
                    replica.stream.hand_over(changed.stream)
        elif any(replica.stream.connected for replica in others):
            changed.stream.hand_over(min(others, key=_unattractiveness).stream)


def _unfitness(replica: Replica) -> tuple[bool, bool]:
    return (not replica.stream.connected, replica.is_leaving)


def _unattractiveness(replica: Replica) -> tuple[bool, bool, int]:
    return (*_unfitness(replica), replica.stream.pending)


async def _close(replica: Replica) -> None:
    await replica.stream.close()
    await replica.channel.close()


async def _looked_up(address: str) -> list[Address]:
    """Returns where the replicas of an address are, in a fixed order.

    Raises:
        OSError: Its host's name cannot be looked up.
    """
    host, _, port = address.rpartition(":")
    if _is_literal(address):
        return [Address("", address)]
    loop = asyncio.get_running_loop()
    infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    found: dict[socket.AddressFamily, set[str]] = {}
    for family, *_, socket_address in infos:
        found.setdefault(family, set()).add(str(socket_address[0]))
    if len(found) > 1 and all(len(addresses) == 1 for addresses in found.values()):
        # One replica, not two, which may listen on one of them alone, as on localhost: gRPC tries both.
        return [Address(host, address)]
    # Several that have addresses of both families are not counted twice.
    preferred = min(found)
    return [Address(host, _target(ip, port, preferred)) for ip in sorted(found[preferred])]


def _target(ip: str, port: str, family: int) -> str:
    return f"[{ip}]:{port}" if family == socket.AF_INET6 else f"{ip}:{port}"


def _is_literal(address: str) -> bool:
    host = address.rpartition(":")[0]
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host.strip("[]"))
        return True
    return host.startswith("unix")
