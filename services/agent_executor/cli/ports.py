"""The ports of a platform: which are needed, whether they can be had, and free ones."""

from __future__ import annotations

import contextlib
import errno
import socket
from dataclasses import dataclass, replace

EXECUTOR_OFFSET = 0
TOOL_RUNNER_OFFSET = 1
LEDGER_OFFSET = 2
GATEWAY_ADMIN_OFFSET = 3
WEB_OFFSET = 4
FURTHER_REPLICAS_OFFSET = 5
MAX_PORT = 65535
_ATTEMPTS = 50


class PortError(Exception):
    """A port cannot be had; the message is a sentence for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformPorts:
    """The ports of one platform on this machine.

    Attributes:
        http: What callers reach, REST and native gRPC.
        grpc_base: The first executor's; the first tool-runner and the first ledger have the next two,
            the web process's HTTP has the fifth. From the sixth on come the further executors, then
            the further tool-runners, then the further ledgers.
        metrics_base: The first executor's metrics; the others follow with the same offsets, and the
            gateway's own pages have the fourth.
        executors: How many executors there are.
        tool_runners: How many tool-runners there are.
        ledgers: How many ledgers there are.
    """

    http: int = 8080
    grpc_base: int = 50051
    metrics_base: int = 9464
    executors: int = 1
    tool_runners: int = 1
    ledgers: int = 1

    def executor_offsets(self) -> list[int]:
        """Returns the offset from both bases of each executor."""
        return _offsets(EXECUTOR_OFFSET, FURTHER_REPLICAS_OFFSET, self.executors)

    def tool_runner_offsets(self) -> list[int]:
        """Returns the offset from both bases of each tool-runner."""
        further_from = FURTHER_REPLICAS_OFFSET + self.executors - 1
        return _offsets(TOOL_RUNNER_OFFSET, further_from, self.tool_runners)

    def ledger_offsets(self) -> list[int]:
        """Returns the offset from both bases of each ledger."""
        further_from = FURTHER_REPLICAS_OFFSET + self.executors - 1 + self.tool_runners - 1
        return _offsets(LEDGER_OFFSET, further_from, self.ledgers)

    @property
    def span(self) -> int:
        """How many ports from each base on are the platform's."""
        return FURTHER_REPLICAS_OFFSET + self.executors + self.tool_runners + self.ledgers - 3

    @property
    def gateway_admin(self) -> int:
        """The port of the gateway's own pages."""
        return self.metrics_base + GATEWAY_ADMIN_OFFSET

    def check(self, http_host: str) -> None:
        """Makes sure that every port can be had.

        Args:
            http_host: The address that callers are served on; the others are on 127.0.0.1.

        Raises:
            PortError: If one is taken, does not exist or needs a privilege.
        """
        _check(http_host, self.http, "--http-port")
        service_offsets = sorted(set(range(self.span)) - {GATEWAY_ADMIN_OFFSET})
        for offset in service_offsets:
            _check("127.0.0.1", self.grpc_base + offset, "--grpc-port-base")
        for offset in [*service_offsets, GATEWAY_ADMIN_OFFSET]:
            _check("127.0.0.1", self.metrics_base + offset, "--metrics-port-base")


def free_ports(executors: int = 1, tool_runners: int = 1, ledgers: int = 1) -> PlatformPorts:
    """Finds ports that are free now, for so many of each service.

    Raises:
        PortError: If none are found.
    """
    ports = PlatformPorts(executors=executors, tool_runners=tool_runners, ledgers=ledgers)
    span = ports.span
    for _ in range(_ATTEMPTS):
        with contextlib.ExitStack() as held:
            first = held.enter_context(_bound("127.0.0.1", 0)).getsockname()[1]
            # Below the ports that the kernel hands out, so that no outgoing connection takes one.
            base = 20_000 + first % 10_000
            candidates = range(base, base + 2 * span + 1)
            try:
                for port in candidates:
                    held.enter_context(_bound("127.0.0.1", port))
            except OSError:
                continue
        return replace(ports, http=base, grpc_base=base + 1, metrics_base=base + 1 + span)
    msg = "There are not enough free ports on this machine."
    raise PortError(msg)


def free_port(host: str = "127.0.0.1") -> int:
    """Finds one port that is free now."""
    with _bound(host, 0) as held:
        port: int = held.getsockname()[1]
    return port


def _offsets(first: int, further_from: int, count: int) -> list[int]:
    return [first, *range(further_from, further_from + count - 1)]


def _check(host: str, port: int, option: str) -> None:
    if not 0 < port <= MAX_PORT:
        msg = f"There is no port {port}; choose a lower one with {option}."
        raise PortError(msg)
    try:
        _bound(host, port, after_close=True).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            msg = f"Port {port} is taken; choose another with {option}."
        else:
            msg = f"Port {port} cannot be used ({error.strerror}); choose another with {option}."
        raise PortError(msg) from error


def _bound(host: str, port: int, *, after_close: bool = False) -> socket.socket:
    """Binds a port; with `after_close` also one that was closed a moment ago, as services can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(after_close))
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound
