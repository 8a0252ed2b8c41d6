"""Which IP addresses may be connected to, by an explicit table.

The standard library's ``is_global`` takes several forms of internal addresses for public ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

DENIED_IPV4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # carrier-grade NAT
            "100.100.100.200/32",  # metadata of a cloud
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # metadata of a cloud
            "169.254.0.0/16",  # link-local; metadata of most clouds
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments; metadata of a cloud
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # multicast tunnels
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
# All that is allocated as global unicast. Outside of it lie, among others, ::, ::1, the forms
# ::a.b.c.d, ::ffff:a.b.c.d, ::ffff:0:a.b.c.d, 64:ff9b::/96 and 64:ff9b:1::/48 that embed an IPv4
# address, 100::/64, 5f00::/16, fc00::/7 with fd00:ec2::/32 and fd20:ce::254, fe80::/10, fec0::/10
# and ff00::/8.
GLOBAL_UNICAST_IPV6: Final = IPv6Network("2000::/3")
DENIED_IPV6: Final = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4
            "2620:4f:8000::/48",  # AS112
            "3ffe::/16",  # a test network that was given back
            "3fff::/20",  # documentation
        ),
    )
)

_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_LAST_32_BITS: Final = (
    _MAPPED,
    IPv6Network("::/96"),  # compatible
    IPv6Network("::ffff:0:0:0/96"),  # translated
    IPv6Network("64:ff9b::/96"),  # NAT64
    IPv6Network("64:ff9b:1::/48"),  # NAT64 of a site
)
_SIX_TO_FOUR: Final = IPv6Network("2002::/16")
_TEREDO: Final = IPv6Network("2001::/32")
# The upper half of an interface identifier that ISATAP makes of an IPv4 address; the bit tells
# whether that address is said to be unique.
_ISATAP: Final = frozenset({0x0000_5EFE, 0x0200_5EFE})
_BITS_32: Final = 0xFFFF_FFFF


def embedded_ipv4(address: IPv6Address) -> tuple[IPv4Address, ...]:
    """Returns the IPv4 addresses that some router or kernel may send this one's packets to."""
    number = int(address)
    if number <= 1:
        # Unspecified and loopback lie in the range of the compatible form.
        return ()
    last = IPv4Address(number & _BITS_32)
    if any(address in network for network in _LAST_32_BITS):
        return (last,)
    if address in _SIX_TO_FOUR:
        return (IPv4Address(number >> 80 & _BITS_32),)
    if address in _TEREDO:
        return (IPv4Address(number >> 64 & _BITS_32), IPv4Address(number & _BITS_32 ^ _BITS_32))
    if number >> 32 & _BITS_32 in _ISATAP:
        return (last,)
    return ()


def is_permitted(
    address: Address,
    *,
    own: Collection[Address] = (),
    allowed: Iterable[Network] = (),
    denied: Iterable[Network] = (),
) -> bool:
    """Tells whether an address may be connected to.

    Args:
        address: The address.
        own: The addresses of this host's own interfaces, which are not permitted.
        allowed: Networks that an operator admits in spite of the table and of ``own``. An IPv6
            address in one that embeds an IPv4 address needs that one to be permitted as well.
        denied: Networks that an operator forbids, whatever else is said.
    """
    embedded = embedded_ipv4(address) if isinstance(address, IPv6Address) else ()
    if is_within(address, denied):
        return False
    if is_within(address, allowed):
        return all(is_permitted(v4, own=own, allowed=allowed, denied=denied) for v4 in embedded)
    if embedded or address in own:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in DENIED_IPV4)
    return (
        address in GLOBAL_UNICAST_IPV6
        and address.scope_id is None
        and not any(address in network for network in DENIED_IPV6)
    )


def is_within(address: Address, networks: Iterable[Network]) -> bool:
    """Tells whether an address lies in one of the networks."""
    return any(address.version == network.version and address in network for network in networks)
