"""The addresses of this host's own interfaces, as the kernel tells them."""

from __future__ import annotations

import ctypes
import socket
import sys
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from agent_executor.egress.addresses import Address

# Where an address begins in sockaddr_in and sockaddr_in6.
_IPV4_OFFSET: Final = 4
_IPV6_OFFSET: Final = 8


class _Interface(ctypes.Structure):
    """``struct ifaddrs``, as far as it is the same on every system."""


_Interface._fields_ = (
    ("next", ctypes.POINTER(_Interface)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.c_void_p),
)


def own_addresses() -> frozenset[Address]:
    """Returns all of them as they are now.

    Raises:
        OSError: The kernel does not tell.
    """
    library = ctypes.CDLL(None, use_errno=True)
    first = ctypes.POINTER(_Interface)()
    if library.getifaddrs(ctypes.byref(first)) != 0:
        raise OSError(ctypes.get_errno(), "getifaddrs failed")
    try:
        found: set[Address] = set()
        entry = first
        while bool(entry):  # A null pointer is false.
            address = _address_at(entry.contents.address)
            if address is not None:
                found.add(address)
            entry = entry.contents.next
        return frozenset(found)
    finally:
        library.freeifaddrs(first)


def _address_at(pointer: int | None) -> Address | None:
    if not pointer:
        return None
    head = ctypes.string_at(pointer, 2)
    # BSD puts the length into the first byte and the family into the second.
    family = int.from_bytes(head, sys.byteorder) if sys.platform == "linux" else head[1]
    if family == socket.AF_INET:
        return IPv4Address(ctypes.string_at(pointer + _IPV4_OFFSET, 4))
    if family == socket.AF_INET6:
        return IPv6Address(ctypes.string_at(pointer + _IPV6_OFFSET, 16))
    return None
