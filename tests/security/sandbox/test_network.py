"""Attacks: a connection to anywhere that is not through the broker. Both tiers stop all of them."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.sandbox.arena import Arena, attack

_FAMILIES_MAX = 48

# Each is an expression that would send something to the addresses ``port``, ``path``, ``name``.
CONNECTIONS = {
    "TCP": "socket.create_connection(('127.0.0.1', port))",
    "TCP over IPv6": "socket.create_connection(('::1', port))",
    "a connected socket": "socket.socket(socket.AF_INET).connect(('127.0.0.1', port))",
    "UDP": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', port))",
    "a socket with a path": "socket.socket(socket.AF_UNIX).connect(path)",
    "an abstract socket": "socket.socket(socket.AF_UNIX).connect(chr(0) + name)",
    "an abstract datagram": (
        "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', chr(0) + name)"
    ),
    "HTTP": "__import__('urllib.request').request.urlopen(f'http://127.0.0.1:{port}/')",
    "a name": "socket.getaddrinfo('localhost', port)",
    "a host's name": "socket.gethostbyname('example.com')",
    "listening": "socket.create_server(('127.0.0.1', 0))",
    "asyncio": "__import__('asyncio').run(__import__('asyncio').sleep(0))",
    "the worker's own socket": "socket.socket(fileno=os.dup(3)).connect(path)",
    "opening the socket's file": "open(path, 'w')",
}

# Each misuses the one socket that a worker has.
MISUSES = {
    "connect": "raw(42, 3, address(), 110)",
    "bind": "raw(49, 3, address(), 110)",
    "listen": "raw(50, 3, 9)",
    "accept": "raw(43, 3, 0, 0)",
    "sendto": "raw(44, 3, b'x', 1, 0, address(), 110)",
    "sending a descriptor": "raw(46, 3, bytes(56), 0)",
    "receiving a descriptor": "raw(47, 3, bytes(56), 0)",
    "many messages": "raw(307, 3, bytes(64), 1, 0)",
    "shutdown": "raw(48, 3, 2)",
    "its peer's name": "raw(52, 3, bytes(128), bytes(4))",
    "an option": "raw(54, 3, 1, 25, b'lo', 2)",
    "its peer's credentials": "raw(55, 3, 1, 17, bytes(12), bytes(4))",
    "an ioctl": "raw(16, 3, 0x8910, bytes(40))",
    "a duplicate": "raw(32, 3)",
    "blocking its peer": "raw(72, 3, 4, 0o4000)",
}

_HELPERS = """
import socket

def address():
    return struct.pack("H108s", 1, b"\\0" + arguments_of["name"].encode())
"""


@contextlib.contextmanager
def _listeners(folder: Path) -> Iterator[tuple[dict[str, object], list[socket.socket]]]:
    with contextlib.ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = tcp.getsockname()[1]
        sockets = [tcp]
        with contextlib.suppress(OSError):
            address = ("::1", port)
            tcp6 = socket.create_server(address, family=socket.AF_INET6)
            sockets.append(stack.enter_context(tcp6))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", port))
        path, name = str(folder / "server"), f"witness-of-{os.getpid()}"
        for where in (path, "\0" + name):
            local = stack.enter_context(socket.socket(socket.AF_UNIX))
            local.bind(where)
            local.listen()
            sockets.append(local)
        Path(path).chmod(0o777)
        datagrams = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        datagrams.bind("\0" + name + "-datagrams")
        for each in (*sockets, udp, datagrams):
            each.setblocking(False)
        yield {"port": port, "path": path, "name": name}, sockets
        for each in (udp, datagrams):
            with pytest.raises(BlockingIOError):
                each.recv(1)
        for each in sockets:
            with pytest.raises(BlockingIOError):
                each.accept()


@pytest.mark.parametrize("name", CONNECTIONS)
def test_reaching_a_server_by(arena: Arena, open_folder: Path, name: str) -> None:
    body = f"""
    port, path, name = arguments["port"], arguments["path"], arguments["name"]
    return attempt(lambda: {CONNECTIONS[name]})
    """
    with _listeners(open_folder) as (addresses, _):
        outcome = arena.result(attack(body, _HELPERS), arguments=addresses, timeout_seconds=10)
    refusals = {"PermissionError", "OSError", "gaierror", "URLError", "FileNotFoundError"}
    assert outcome in refusals | {"herror"}


@pytest.mark.parametrize("name", MISUSES)
def test_misusing_the_workers_own_socket_by(arena: Arena, open_folder: Path, name: str) -> None:
    body = f"""
    global arguments_of
    arguments_of = arguments
    return {MISUSES[name]}
    """
    with _listeners(open_folder) as (addresses, _):
        assert arena.result(attack(body, _HELPERS), arguments=addresses) == "EPERM"


def test_a_socket_of_every_family(arena: Arena) -> None:
    # Of the internet, local, netlink, packet, VM sockets, Bluetooth, io_uring's XDP and so on.
    body = f"""
    return [
        [family, kind, protocol]
        for family in range({_FAMILIES_MAX})
        for kind in (1, 2, 3, 4, 5, 6, 10, 0o2000001)
        for protocol in (0, 1, 6, 17, 41, 255)
        if raw(41, family, kind, protocol) != "EPERM"
        or raw(53, family, kind, protocol, bytes(8)) != "EPERM"
    ]
    """
    assert arena.result(attack(body)) == []
