"""Redirects: rows 2 and 15 of the ways round an address check."""

from __future__ import annotations

from typing import Any

import pytest

from agent_executor.egress.exchange import AttachedHeader
from agent_executor.errors import (
    LimitExceededError,
    PermissionDeniedError,
    ToolExecutionError,
)
from tests.security.egress.world import INSIDE, Host, World, answer, redirect

SECRET = "sk-live-0123456789"


async def three_hosts(world: World, *, tls: bool = False) -> tuple[Host, Host, Host]:
    for name in ("a.test", "b.test", "c.test"):
        world.name(name)
    return await world.host(tls=tls), await world.host(tls=tls), await world.host(tls=tls)


# Row 2: a redirect to the inside.
@pytest.mark.parametrize("status", ["301 X", "302 X", "303 X", "307 X", "308 X"])
@pytest.mark.parametrize(
    ("location", "rule"),
    [
        ("http://{inside}/", "domain"),
        ("//{inside}/", "domain"),
        ("http://inside.test:{inside_port}/", "address"),
        ("http://mapped.test/", "address"),
        ("http://b.other:{port}/", "domain"),
    ],
)
async def test_a_redirect_leads_nowhere_inside(
    world: World, status: str, location: str, rule: str
) -> None:
    outside, inside = await world.host(), await world.host(address=INSIDE)
    world.name("a.test")
    world.name("inside.test", INSIDE)
    world.name("mapped.test", f"::ffff:{INSIDE}")
    outside.default = redirect(
        location.format(
            inside=f"{INSIDE}:{inside.port}", inside_port=inside.port, port=outside.port
        ),
        status,
    )
    with pytest.raises(PermissionDeniedError) as refused:
        await world.request(f"http://a.test:{outside.port}/")
    assert refused.value.metadata["rule"] == rule
    assert (outside.connections, inside.connections) == (1, 0)


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "gopher://a.test/",
        "http://a.test@{inside}/",
        "http://{inside}\\@a.test/",
        "http://a.test%2f@{inside}/",
        "\\\\{inside}/",
        "/\\{inside}/",
        "http:///{inside}/",
        "http://2130706434:{port}/",
        "http://[a.test]/",
        "http://a b.test/",
        "http://a.test:port/",
    ],
)
async def test_a_redirect_with_two_readings_is_not_followed(world: World, location: str) -> None:
    outside, inside = await world.host(), await world.host(address=INSIDE)
    world.name("a.test")
    outside.default = redirect(location.format(inside=f"{INSIDE}:{inside.port}", port=inside.port))
    with pytest.raises((ToolExecutionError, PermissionDeniedError)):
        await world.request(f"http://a.test:{outside.port}/")
    assert (outside.connections, inside.connections) == (1, 0)


async def test_a_chain_is_checked_at_its_last_hop_as_at_its_first(world: World) -> None:
    a, b, inside = await world.host(), await world.host(), await world.host(address=INSIDE)
    world.name("a.test")
    world.name("b.test")
    world.name("c.test", INSIDE)
    a.default = redirect(f"http://b.test:{b.port}/x")
    b.default = redirect(f"http://c.test:{inside.port}/")
    with pytest.raises(PermissionDeniedError):
        await world.request(f"http://a.test:{a.port}/")
    assert (a.connections, b.connections, inside.connections) == (1, 1, 0)


async def test_https_is_not_left_for_http(world: World) -> None:
    a = await world.host(tls=True)
    b = await world.host()
    world.name("a.test")
    a.default = redirect(f"http://a.test:{b.port}/")
    with pytest.raises(PermissionDeniedError) as refused:
        await world.request(f"https://a.test:{a.port}/")
    assert refused.value.metadata["rule"] == "redirect"
    assert (a.connections, b.connections) == (1, 0)


@pytest.mark.parametrize(("max_redirects", "requests"), [(0, 1), (1, 2), (5, 6), (10, 11)])
async def test_a_loop_ends_at_the_limit(world: World, max_redirects: int, requests: int) -> None:
    a, _, _ = await three_hosts(world)
    a.default = redirect("/again")
    with pytest.raises(LimitExceededError):
        await world.request(f"http://a.test:{a.port}/", max_redirects=max_redirects)
    assert len(a.received) == requests


async def test_as_many_redirects_as_allowed_are_followed_and_told(world: World) -> None:
    a, b, _ = await three_hosts(world)
    a.default = redirect(f"http://b.test:{b.port}/x?y=1#fragment")
    response = await world.request(f"http://a.test:{a.port}/", max_redirects=1)
    assert response.url == f"http://b.test:{b.port}/x?y=1"
    assert response.redirects == (f"http://a.test:{a.port}/",)
    assert b.received[0].line == "GET /x?y=1 HTTP/1.1"


async def test_a_redirect_is_a_response_to_one_who_follows_none(world: World) -> None:
    a, b, _ = await three_hosts(world)
    a.default = redirect(f"http://b.test:{b.port}/")
    response = await world.request(f"http://a.test:{a.port}/", follow_redirects=False)
    assert response.status_code == 302
    assert response.headers["location"] == f"http://b.test:{b.port}/"
    assert b.connections == 0


async def test_two_locations_are_not_chosen_between(world: World) -> None:
    a, b, _ = await three_hosts(world)
    a.default = answer(
        b"", "302 Found", Location=f"http://b.test:{b.port}/\r\nLocation: http://c.test/"
    )
    response = await world.request(f"http://a.test:{a.port}/")
    assert response.status_code == 302
    assert b.connections == 0


@pytest.mark.parametrize(
    ("method", "status", "then"),
    [
        ("POST", "301 X", "GET"),
        ("POST", "302 X", "GET"),
        ("POST", "303 X", "GET"),
        ("POST", "307 X", "POST"),
        ("POST", "308 X", "POST"),
        ("PUT", "301 X", "PUT"),
        ("PUT", "302 X", "PUT"),
        ("DELETE", "303 X", "GET"),
        ("PATCH", "307 X", "PATCH"),
        ("HEAD", "303 X", "HEAD"),
        ("HEAD", "302 X", "HEAD"),
    ],
)
async def test_the_method_follows_the_standard(
    world: World, method: str, status: str, then: str
) -> None:
    a, _, _ = await three_hosts(world)
    a.answers["/"] = redirect("/next", status)
    content = None if method == "HEAD" else b"body"
    headers = {"content-type": "text/plain", "idempotency-key": "k"}
    await world.request(f"http://a.test:{a.port}/", method, content=content, headers=headers)
    second = a.received[1]
    assert second.line == f"{then} /next HTTP/1.1"
    keeps = then == method and content is not None
    assert second.body == (b"body" if keeps else b"")
    if then != method:
        assert second.header("content-type") is None
        assert second.header("idempotency-key") is None
        assert second.header("content-length") in {None, "0"}


# Row 15: credentials across origins.
def attached(*origins: str) -> AttachedHeader:
    return AttachedHeader("x-api-key", lambda: SECRET, frozenset(origins))


@pytest.mark.parametrize("status", ["302 X", "307 X"])
async def test_no_secret_of_the_caller_crosses_to_another_origin(world: World, status: str) -> None:
    a, b, _ = await three_hosts(world)
    a.answers["/"] = redirect("/same", status)
    a.answers["/same"] = redirect(f"http://b.test:{b.port}/", status)
    headers = {
        "Authorization": "Bearer secret",
        "Cookie": "session=secret",
        "X-Api-Key": "secret",
        "X-Anything": "secret",
        "Private-Token": "secret",
        "Idempotency-Key": "secret",
        "Accept": "application/json",
        "User-Agent": "mine",
    }
    await world.request(f"http://a.test:{a.port}/", headers=headers)
    assert [received.head.count(b"secret") for received in a.received] == [6, 6]
    assert b"secret" not in b.received[0].head
    assert b.received[0].header("accept") == "application/json"
    assert b.received[0].header("user-agent") == "mine"


async def test_another_port_or_scheme_is_another_origin(world: World) -> None:
    a, other_port, _ = await three_hosts(world)
    a.default = redirect(f"http://a.test:{other_port.port}/")
    secure = await world.host(tls=True)
    other_port.default = redirect(f"https://a.test:{secure.port}/")
    await world.request(f"http://a.test:{a.port}/", headers={"Authorization": "Bearer secret"})
    assert b"secret" in a.received[0].head
    assert b"secret" not in other_port.received[0].head
    assert b"secret" not in secure.received[0].head


async def test_a_credential_goes_to_its_own_origin_at_each_hop_and_to_no_other(
    world: World,
) -> None:
    a, b, c = await three_hosts(world)
    a.answers["/"] = redirect(f"http://b.test:{b.port}/")
    b.default = redirect(f"http://c.test:{c.port}/")
    c.default = redirect(f"http://a.test:{a.port}/end")
    credential = attached(f"http://a.test:{a.port}", f"http://c.test:{c.port}")
    await world.request(f"http://a.test:{a.port}/", attached=credential)
    sent: list[Any] = [host.received[0].header("x-api-key") for host in (a, b, c)]
    assert sent == [SECRET, None, SECRET]
    assert a.received[1].header("x-api-key") == SECRET


async def test_a_credential_takes_the_place_of_the_callers_header_everywhere(
    world: World,
) -> None:
    a, b, _ = await three_hosts(world)
    a.default = redirect("/end")
    a.answers["/end"] = redirect(f"http://b.test:{b.port}/")
    await world.request(
        f"http://a.test:{a.port}/",
        headers={"X-API-KEY": "mine"},
        attached=attached(f"http://a.test:{a.port}"),
    )
    assert [received.header("x-api-key") for received in a.received] == [SECRET, SECRET]
    assert b.received[0].header("x-api-key") is None


async def test_a_credential_is_not_sent_to_a_host_that_was_not_verified(world: World) -> None:
    a, _, _ = await three_hosts(world, tls=True)
    with pytest.raises(PermissionDeniedError):
        await world.request(
            f"https://a.test:{a.port}/",
            verify_ssl=False,
            attached=attached(f"https://a.test:{a.port}"),
        )
    assert a.received == []


async def test_a_credential_that_is_no_header_is_told_nowhere(world: World) -> None:
    a, _, _ = await three_hosts(world)
    header = AttachedHeader(
        "x-api-key", lambda: f"{SECRET}\r\nX: y", frozenset({f"http://a.test:{a.port}"})
    )
    with pytest.raises(ToolExecutionError) as failed:
        await world.request(f"http://a.test:{a.port}/", attached=header)
    assert SECRET not in f"{failed.value!r}{header!r}"
    assert a.received == []


async def test_cookies_are_not_kept(world: World) -> None:
    a, _, _ = await three_hosts(world)
    a.answers["/"] = answer(b"", "302 Found", Location="/end", Set_Cookie="session=1; Path=/")
    await world.request(f"http://a.test:{a.port}/")
    await world.request(f"http://a.test:{a.port}/end")
    assert [received.header("cookie") for received in a.received] == [None, None, None]
