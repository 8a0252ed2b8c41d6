from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest

from agent_executor.egress.addresses import embedded_ipv4, is_permitted, is_within
from agent_executor.egress.interfaces import own_addresses


@pytest.mark.parametrize(
    "address",
    [
        *("8.8.8.8", "1.1.1.1", "100.63.255.255", "172.32.0.0", "192.0.1.1", "223.255.255.255"),
        *("2606:4700::1111", "2001:4860:4860::8888", "2001:200::1", "2a00::1", "2003::1"),
    ],
)
def test_public_addresses_are_permitted(address: str) -> None:
    assert is_permitted(ip_address(address))


@pytest.mark.parametrize(
    ("address", "embedded"),
    [
        ("::ffff:1.2.3.4", ["1.2.3.4"]),
        ("::1.2.3.4", ["1.2.3.4"]),
        ("::ffff:0:1.2.3.4", ["1.2.3.4"]),
        ("64:ff9b::1.2.3.4", ["1.2.3.4"]),
        ("64:ff9b:1::1.2.3.4", ["1.2.3.4"]),
        ("2002:102:304::", ["1.2.3.4"]),
        ("2001:0:102:304:0:0:fefd:fcfb", ["1.2.3.4", "1.2.3.4"]),
        ("2606:4700::5efe:1.2.3.4", ["1.2.3.4"]),
        ("2606:4700::200:5efe:1.2.3.4", ["1.2.3.4"]),
        ("2606:4700::1.2.3.4", []),
        ("::1", []),
        ("::", []),
    ],
)
def test_an_embedded_address_is_found(address: str, embedded: list[str]) -> None:
    assert embedded_ipv4(IPv6Address(address)) == tuple(map(IPv4Address, embedded))


def test_an_admitted_network_overrides_the_table_and_own_addresses() -> None:
    loopback = IPv4Address("127.0.0.1")
    assert not is_permitted(loopback)
    assert is_permitted(loopback, own={loopback}, allowed=[ip_network("127.0.0.0/8")])
    assert is_permitted(IPv6Address("::1"), allowed=[ip_network("::1/128")])
    assert not is_permitted(loopback, allowed=[ip_network("::/0")])
    assert not is_permitted(IPv4Address("10.0.0.1"), allowed=[ip_network("127.0.0.0/8")])


def test_an_address_inside_another_needs_to_be_permitted_too() -> None:
    nat64 = IPv6Network("64:ff9b::/96")
    assert is_permitted(IPv6Address("64:ff9b::8.8.8.8"), allowed=[nat64])
    assert not is_permitted(IPv6Address("64:ff9b::8.8.8.8"))
    assert not is_permitted(IPv6Address("64:ff9b::10.0.0.1"), allowed=[nat64])
    own = {IPv4Address("8.8.8.8")}
    assert not is_permitted(IPv6Address("64:ff9b::8.8.8.8"), own=own, allowed=[nat64])
    both = (nat64, IPv4Network("10.0.0.0/8"))
    assert is_permitted(IPv6Address("64:ff9b::10.0.0.1"), allowed=both)


def test_denied_networks_and_own_addresses_are_not_permitted() -> None:
    address = IPv4Address("8.8.8.8")
    assert not is_permitted(address, own={address})
    assert not is_permitted(address, denied=[ip_network("8.0.0.0/8")])
    assert not is_permitted(
        address, allowed=[ip_network("8.0.0.0/8")], denied=[ip_network("8.8.8.8/32")]
    )


def test_networks_of_the_other_family_hold_nothing() -> None:
    assert not is_within(IPv4Address("1.2.3.4"), [IPv6Network("::/0")])
    assert not is_within(IPv6Address("::1"), [IPv4Network("0.0.0.0/0")])


def test_the_addresses_of_this_host_are_its_own() -> None:
    own = [address for address in own_addresses() if isinstance(address, IPv4Address)]
    assert IPv4Address("127.0.0.1") in own
    for address in own:
        # One cannot bind to an address that is not one's own.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
