"""Where a request goes: rows 1, 3 to 12, 17 and 18 of the ways round an address check."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from agent_executor.egress.addresses import Address
from agent_executor.egress.client import EgressClient
from agent_executor.egress.exchange import EgressRequest
from agent_executor.egress.policy import EgressPolicy
from agent_executor.egress.transport import CheckedBackend, Meter
from agent_executor.egress.urls import parse_url
from agent_executor.errors import (
    AgentExecutorError,
    InvalidArgumentError,
    PermissionDeniedError,
    ToolExecutionError,
)
from tests.security.egress.world import INSIDE, OUTSIDE, World, rebinding


# Row 1: DNS rebinding.
async def test_a_name_is_resolved_once_for_each_connection(world: World) -> None:
    outside, inside = await world.host(), await world.host(address=INSIDE)
    rebinding(world, "rebind.test", OUTSIDE, INSIDE)
    response = await world.request(f"http://rebind.test:{outside.port}/")
    assert response.body == b"hello"
    assert world.lookups == ["rebind.test"]
    assert (outside.connections, inside.connections) == (1, 0)
    assert outside.received[0].header("host") == f"rebind.test:{outside.port}"


async def test_a_name_that_turns_to_the_inside_is_refused_at_the_next_request(
    world: World,
) -> None:
    outside, inside = await world.host(), await world.host(address=INSIDE)
    rebinding(world, "rebind.test", OUTSIDE, INSIDE)
    await world.request(f"http://rebind.test:{outside.port}/")
    with pytest.raises(PermissionDeniedError):
        await world.request(f"http://rebind.test:{inside.port}/")
    assert (outside.connections, inside.connections) == (1, 0)


@pytest.mark.parametrize("addresses", [(OUTSIDE, INSIDE), (INSIDE, OUTSIDE)])
async def test_one_bad_answer_of_several_refuses_all(
    world: World, addresses: tuple[str, ...]
) -> None:
    outside, inside = await world.host(), await world.host(address=INSIDE)
    world.name("mixed.test", *addresses)
    for port in (outside.port, inside.port):
        with pytest.raises(PermissionDeniedError):
            await world.request(f"http://mixed.test:{port}/")
    assert (outside.connections, inside.connections) == (0, 0)


async def test_the_next_of_several_checked_addresses_is_tried(world: World) -> None:
    host = await world.host()
    world.name("two.test", "127.0.0.3", OUTSIDE)
    both = EgressPolicy(frozenset({"two.test"}), allowed_networks=(IPv4Network("127.0.0.0/8"),))
    await world.request(f"http://two.test:{host.port}/", policy=both)
    assert host.connections == 1


# Rows 3 and 4: numbers that resolvers take for addresses, in any script.
@pytest.mark.parametrize(
    "host",
    [
        "2130706434",
        "0x7f000002",
        "0x7f.0.0.2",
        "0177.0.0.2",
        "127.0.0.02",
        "127.2",
        "127.0.2",
        "0",
        "0x7f.2",
        "127.0.0.2",
        "127.0.0.2.",
        "1.2.3.4.5",
        "a.test.0x1",
        "127.0.0.0x2",
        "①②⑦.⓪.⓪.②",
        "127。0。0。2",
        "127\uff0e0\uff0e0\uff0e2",
        "127｡0｡0｡2",
        "\uff11\uff12\uff17.0.0.2",
        "١٢٧.0.0.2",
        "[::ffff:127.0.0.2]",
        "[::127.0.0.2]",
        "[::1]",
    ],
)
async def test_no_notation_of_an_address_is_a_name(world: World, host: str) -> None:
    inside = await world.host(address=INSIDE)
    looked_up: list[str] = []

    async def resolve(name: str, port: int) -> list[Address]:
        looked_up.append(name)
        return [IPv4Address(INSIDE)]

    client = EgressClient(resolver=resolve)
    # Even to one who allows every domain there could be, and the network of the address.
    labels = {"*.2", "*.0", "*.0x2", "*.02", "*.5", "*.0x1", host, "*.test"}
    policy = EgressPolicy(frozenset(labels))
    with pytest.raises((InvalidArgumentError, PermissionDeniedError)):
        await client.request(EgressRequest("GET", f"http://{host}:{inside.port}/"), policy)
    with pytest.raises((InvalidArgumentError, PermissionDeniedError)):
        await client.request(EgressRequest("GET", f"https://{host}/"), policy)
    assert looked_up == []
    assert inside.connections == 0


async def test_a_name_in_other_letters_is_compared_and_sent_in_ascii(world: World) -> None:
    host = await world.host()
    world.name("xn--bcher-kva.test")
    response = await world.request(
        f"http://BÜCHER.test:{host.port}/", domains=("xn--bcher-kva.test",)
    )
    assert response.url == f"http://xn--bcher-kva.test:{host.port}/"
    assert host.received[0].header("host") == f"xn--bcher-kva.test:{host.port}"
    assert world.lookups == ["xn--bcher-kva.test"]


# Rows 5 to 8: what a name must not resolve to. Each answer is one that an attacker's server gives.
@pytest.mark.parametrize(
    "address",
    [
        # Row 5: IPv4 inside IPv6.
        "::ffff:127.0.0.2",
        "::127.0.0.2",
        "::ffff:0:127.0.0.2",
        "64:ff9b::127.0.0.2",
        "64:ff9b::7f00:2",
        "64:ff9b:1::7f00:2",
        "64:ff9b:1:7f00:0:200::",
        "2002:7f00:2::",
        "2002:a9fe:a9fe::1",
        "2001:0:7f00:2::",
        "2001:0:808:808:0:0:80ff:fffd",
        "2606:4700::5efe:127.0.0.2",
        "2606:4700::200:5efe:169.254.169.254",
        "fe80::5efe:8.8.8.8",
        # Row 6: what is_global lets through.
        "224.0.0.1",
        "ff02::1",
        "ff0e::1",
        "192.0.0.8",
        "192.0.0.192",
        "192.88.99.1",
        "168.63.129.16",
        "fec0::1",
        "3fff::1",
        "5f00::1",
        # Row 7: unspecified, link-local, metadata.
        "0.0.0.0",
        "0.1.2.3",
        "::",
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "fd00:ec2::254",
        "fd20:ce::254",
        "fe80::a9fe:a9fe",
        "fe80::1%1",
        # The rest of the inside.
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.2",
        "127.255.255.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::1",
        "100::1",
        "2001:2::1",
        "2001:10::1",
        "2001:db8::1",
        "fc00::1",
        "fdff::1",
    ],
)
async def test_no_name_leads_to_an_internal_address(world: World, address: str) -> None:
    world.name("a.test", address)
    world.name("mixed.test", "8.8.8.8", address)
    for url in ("https://a.test/", "https://mixed.test/"):
        with pytest.raises(PermissionDeniedError) as refused:
            await world.request(url)
        assert refused.value.metadata["rule"] == "address"


async def test_all_refused_addresses_are_refused_alike(world: World) -> None:
    inside = await world.host(address=INSIDE)
    told = set()
    for address in (INSIDE, "10.0.0.1", "169.254.169.254", "::1", "64:ff9b::1"):
        for port in (inside.port, 1):
            world.name("a.test", address)
            with pytest.raises(PermissionDeniedError) as refused:
                await world.request(f"https://a.test:{port}/")
            told.add((refused.value.message, tuple(refused.value.metadata.items())))
    assert len(told) == 1
    assert inside.connections == 0


# Row 8: this host's own addresses, and an operator's networks.
async def test_this_hosts_own_addresses_are_refused() -> None:
    async def resolve(name: str, port: int) -> list[Address]:
        return [IPv4Address("8.8.8.8"), IPv6Address("2606:4700::1")]

    own: frozenset[Address] = frozenset({IPv6Address("2606:4700::1")})
    client = EgressClient(resolver=resolve, own=lambda: own)
    with pytest.raises(PermissionDeniedError):
        await client.request(
            EgressRequest("GET", "https://a.test/"), EgressPolicy(frozenset({"a.test"}))
        )


async def test_nothing_is_reached_if_the_kernel_does_not_tell_this_hosts_addresses() -> None:
    async def resolve(name: str, port: int) -> list[Address]:
        return [IPv4Address("8.8.8.8")]

    def own() -> frozenset[Address]:
        raise OSError("getifaddrs failed")

    with pytest.raises(ToolExecutionError, match="connection to the host failed"):
        await EgressClient(resolver=resolve, own=own).request(
            EgressRequest("GET", "https://a.test/"), EgressPolicy(frozenset({"a.test"}))
        )


async def test_an_operators_denied_networks_win(world: World) -> None:
    host = await world.host()
    world.name("a.test")
    policy = EgressPolicy(
        frozenset({"a.test"}),
        allowed_networks=(IPv4Network("127.0.0.0/8"),),
        denied_networks=(IPv4Network("127.0.0.0/30"),),
    )
    with pytest.raises(PermissionDeniedError):
        await world.request(f"http://a.test:{host.port}/", policy=policy)
    world.name("a.test", "8.8.8.8")
    public = EgressPolicy(frozenset({"a.test"}), denied_networks=(IPv4Network("8.0.0.0/8"),))
    with pytest.raises(PermissionDeniedError):
        await world.request("https://a.test/", policy=public)
    assert host.connections == 0


async def test_an_admitted_network_admits_no_internal_address_inside_an_ipv6_one(
    world: World,
) -> None:
    policy = EgressPolicy(
        frozenset({"a.test"}),
        allowed_networks=(IPv6Network("64:ff9b::/96"), IPv6Network("::ffff:0:0/96")),
    )
    for address in ("64:ff9b::169.254.169.254", "::ffff:10.0.0.1"):
        world.name("a.test", address)
        with pytest.raises(PermissionDeniedError):
            await world.request("https://a.test/", policy=policy)


# Rows 9, 10 and 12: URLs that two readers read differently.
@pytest.mark.parametrize(
    "url",
    [
        "http://a.test@{inside}/",
        "http://a.test:80@{inside}/",
        "http://@{inside}/",
        "http://user:pass@a.test:{port}/",
        "http://@a.test:{port}/",
        "http://a.test\\@{inside}/",
        "http://{inside}\\@a.test/",
        "http://a.test%2f@{inside}/",
        "http://a.test%40{inside}/",
        "http://a.test%00.{inside}/",
        "http://a%2etest:{port}/",
        "http:///a.test:{port}/",
        "http:a.test:{port}/",
        "http:/a.test:{port}/",
        "//a.test:{port}/",
        "a.test:{port}/",
        "http://:{port}/",
        "http://[fe80::1%25eth0]:{port}/",
        "http://[::1%lo]:{port}/",
        "http://[a.test]:{port}/",
        "http://[127.0.0.1]:{port}/",
        "http://[v1.a.test]:{port}/",
        "http://[a.test:{port}/",
        "http://a.test]:{port}/",
        "http://a.test:{port}:80/",
        "http://a.test:+{port}/",
        "http://a.test:{port}x/",
        "http://a.test:/",
        "http://a.test:0/",
        "http://a.test:65536/",
        "http://a.test:٨٠/",
        "http://a.test :{port}/",
        " http://a.test:{port}/",
        "http://a.test:{port}/ HTTP/1.1",
        "http://a.test:{port}/\r\nX-Evil: 1",
        "http://a.test:{port}/\x00",
        "http://a.test:{port}/\x7f",
        "http://a.test\t:{port}/",
        "http://a.test\u00ad:{port}/",
        "http://a\u200b.test:{port}/",
        "http://a.test\u2028:{port}/",
        "http://a..test:{port}/",
        "http://.a.test:{port}/",
        "http://a.test..:{port}/",
        "http://*.test:{port}/",
        "http://-a.test:{port}/",
        "http://a_.test,b.test:{port}/",
        "http://a.test;b.test:{port}/",
        "http://" + "a" * 64 + ".test:{port}/",
        "http://a.test:{port}/" + "a" * 9_000,
    ],
)
async def test_a_url_with_two_readings_goes_nowhere(world: World, url: str) -> None:
    outside, inside = await world.host(), await world.host(address=INSIDE)
    world.name("a.test")
    world.name("user", INSIDE)
    text = url.replace("{port}", str(outside.port))
    with pytest.raises((InvalidArgumentError, PermissionDeniedError)):
        await world.request(text.replace("{inside}", f"{INSIDE}:{inside.port}"))
    assert world.lookups == []
    assert (outside.connections, inside.connections) == (0, 0)


async def test_a_fragment_is_neither_sent_nor_taken_for_a_host(world: World) -> None:
    outside, inside = await world.host(), await world.host(address=INSIDE)
    world.name("a.test")
    await world.request(f"http://a.test:{outside.port}#@{INSIDE}:{inside.port}/")
    assert (outside.connections, inside.connections) == (1, 0)
    assert outside.received[0].line == "GET / HTTP/1.1"


# Row 11: final dots, case, and suffixes.
@pytest.mark.parametrize("host", ["A.TEST", "a.test.", "A.Test."])
async def test_case_and_a_final_dot_make_no_other_host(world: World, host: str) -> None:
    outside = await world.host()
    world.name("a.test")
    await world.request(f"HTTP://{host}:{outside.port}/", domains=("a.test",))
    assert outside.received[0].header("host") == f"a.test:{outside.port}"
    assert world.lookups == ["a.test"]


@pytest.mark.parametrize("host", ["evila.test", "a.test.evil", "b.a.test", "test", "a-test"])
async def test_domains_match_by_whole_labels(world: World, host: str) -> None:
    outside = await world.host()
    world.name(host)
    with pytest.raises(PermissionDeniedError) as refused:
        await world.request(f"http://{host}:{outside.port}/", domains=("a.test",))
    assert refused.value.metadata == {"rule": "domain", "host": host}
    assert (world.lookups, outside.connections) == ([], 0)


# Row 17: other schemes and sockets.
@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://a.test:{port}/_GET%20/",
        "dict://a.test:{port}/info",
        "ftp://a.test:{port}/",
        "ws://a.test:{port}/",
        "data:text/plain,hello",
        "http+unix://%2Ftmp%2Fsocket/",
        "unix:///tmp/socket",
        "javascript:alert(1)",
        "",
    ],
)
async def test_no_other_scheme_is_spoken(world: World, url: str) -> None:
    outside = await world.host()
    world.name("a.test")
    with pytest.raises(InvalidArgumentError):
        await world.request(url.replace("{port}", str(outside.port)))
    assert (world.lookups, outside.connections) == ([], 0)


async def test_the_transport_opens_no_unix_socket_and_no_other_host(world: World) -> None:
    policy = EgressPolicy(frozenset({"a.test"}))
    backend = CheckedBackend(
        parse_url("https://a.test/"), policy, world.resolve, frozenset, Meter(1)
    )
    for opening in (
        backend.connect_unix_socket("/tmp/socket"),
        backend.connect_tcp("b.test", 443),
        backend.connect_tcp("a.test", 22),
    ):
        with pytest.raises(PermissionDeniedError):
            await opening
    assert world.lookups == []


async def test_plain_http_needs_to_be_allowed(world: World) -> None:
    outside = await world.host()
    world.name("a.test", "8.8.8.8")
    ports = frozenset({outside.port})
    with pytest.raises(PermissionDeniedError) as refused:
        await world.request(
            f"http://a.test:{outside.port}/",
            policy=EgressPolicy(frozenset({"a.test"}), ports=ports),
        )
    assert refused.value.metadata["rule"] == "scheme"
    # Not even a network that is admitted elsewhere changes that for a public address.
    with pytest.raises(PermissionDeniedError):
        await world.request("http://a.test/")


# Row 18: ports.
async def test_an_unlisted_port_gets_no_connection(world: World) -> None:
    outside, other = await world.host(), await world.host()
    world.name("a.test")
    policy = EgressPolicy(
        frozenset({"a.test"}), allow_http=True, ports=frozenset({443, outside.port})
    )
    with pytest.raises(PermissionDeniedError) as refused:
        await world.request(f"http://a.test:{other.port}/", policy=policy)
    assert refused.value.metadata["rule"] == "port"
    world.name("a.test", "8.8.8.8")
    with pytest.raises(PermissionDeniedError):
        await world.request("https://a.test:22/")
    assert (outside.connections, other.connections) == (0, 0)


async def test_a_tool_with_origins_of_its_own_reaches_no_other(world: World) -> None:
    mine, other = await world.host(), await world.host()
    world.name("a.test")
    policy = EgressPolicy(
        frozenset({"a.test"}),
        allowed_origins=frozenset({f"http://a.test:{mine.port}"}),
        allowed_networks=(IPv4Network("127.0.0.1/32"),),
    )
    await world.request(f"http://a.test:{mine.port}/", policy=policy)
    with pytest.raises(PermissionDeniedError):
        await world.request(f"http://a.test:{other.port}/", policy=policy)
    assert (mine.connections, other.connections) == (1, 0)


async def test_a_failed_connection_tells_no_address(world: World) -> None:
    world.name("a.test")
    with pytest.raises(AgentExecutorError) as failed:
        await world.request("http://a.test:1/")
    assert failed.value.reason == "TOOL_EXECUTION_ERROR"
    assert OUTSIDE not in f"{failed.value!r} {failed.value.metadata}"
    assert failed.value.__cause__ is None
