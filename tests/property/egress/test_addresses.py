"""No spelling of an internal address, and no way to put one into another, is permitted."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from hypothesis import example, given
from hypothesis import strategies as st

from agent_executor.egress.addresses import (
    DENIED_IPV4,
    DENIED_IPV6,
    GLOBAL_UNICAST_IPV6,
    embedded_ipv4,
    is_permitted,
)


def within(network: IPv4Network | IPv6Network) -> st.SearchStrategy[int]:
    return st.integers(int(network.network_address), int(network.broadcast_address))


INTERNAL: Final = st.sampled_from(DENIED_IPV4).flatmap(within).map(IPv4Address)
ANY_IPV4: Final = st.integers(0, 2**32 - 1).map(IPv4Address)
BITS_64: Final = st.integers(0, 2**64 - 1)

# Each from an IPv4 address as a number and 64 bits to fill up with.
FORMS: Final[dict[str, Callable[[int, int], int]]] = {
    "mapped": lambda v4, more: 0xFFFF << 32 | v4,
    "compatible": lambda v4, more: v4,
    "translated": lambda v4, more: 0xFFFF << 48 | v4,
    "NAT64": lambda v4, more: 0x64FF9B << 96 | v4,
    "NAT64 of a site": lambda v4, more: 0x64FF9B0001 << 80 | (more & 0xFFFFFFFFFFFF) << 32 | v4,
    "6to4": lambda v4, more: 0x2002 << 112 | v4 << 80 | more,
    "Teredo server": lambda v4, more: 0x20010000 << 96 | v4 << 64 | more,
    "Teredo client": lambda v4, more: 0x20010000 << 96 | more << 32 | (v4 ^ 0xFFFFFFFF),
    "ISATAP": lambda v4, more: (0x2606 << 48 | more >> 16) << 64 | 0x5EFE << 32 | v4,
    "ISATAP, unique": lambda v4, more: more << 64 | 0x02005EFE << 32 | v4,
}


@given(INTERNAL)
@example(IPv4Address("100.100.100.200"))
@example(IPv4Address("168.63.129.16"))
def test_an_internal_address_is_denied(address: IPv4Address) -> None:
    assert not is_permitted(address)


@given(st.one_of(INTERNAL, ANY_IPV4), st.sampled_from(sorted(FORMS)), BITS_64)
@example(IPv4Address("127.0.0.1"), "compatible", 0)
@example(IPv4Address("0.0.0.1"), "compatible", 0)
@example(IPv4Address("169.254.169.254"), "NAT64", 0)
def test_no_address_inside_another_is_permitted(address: IPv4Address, form: str, more: int) -> None:
    assert not is_permitted(IPv6Address(FORMS[form](int(address), more)))


@given(INTERNAL, st.sampled_from(sorted(FORMS)), BITS_64)
@example(IPv4Address("10.0.0.1"), "ISATAP", 0)
def test_not_even_where_every_ipv6_address_is_admitted(
    address: IPv4Address, form: str, more: int
) -> None:
    outer = IPv6Address(FORMS[form](int(address), more))
    if int(outer) > 1:
        assert address in embedded_ipv4(outer)
        assert not is_permitted(outer, allowed=[IPv6Network("::/0")])


@given(st.integers(0, 2**128 - 1).map(IPv6Address))
def test_nothing_outside_of_global_unicast_is_permitted(address: IPv6Address) -> None:
    assert not is_permitted(address) or address in GLOBAL_UNICAST_IPV6


@given(st.sampled_from(DENIED_IPV6).flatmap(within).map(IPv6Address))
def test_the_special_parts_of_global_unicast_are_denied(address: IPv6Address) -> None:
    assert not is_permitted(address)


@given(st.one_of(ANY_IPV4, st.integers(0, 2**128 - 1).map(IPv6Address)))
def test_what_the_standard_library_calls_internal_is_denied(
    address: IPv4Address | IPv6Address,
) -> None:
    assert address.is_global or not is_permitted(address)
