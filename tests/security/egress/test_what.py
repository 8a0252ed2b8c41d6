"""What is sent and taken in: rows 13, 14, 16 and 19 to 22 of the ways round an address check."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from agent_executor.egress.exchange import EgressResponse
from agent_executor.egress.policy import EgressPolicy
from agent_executor.egress.transport import EgressTransport
from agent_executor.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    LimitExceededError,
    PermissionDeniedError,
    ToolExecutionError,
)
from tests.security.egress.world import (
    ADMITTED,
    OUTSIDE,
    Answer,
    Host,
    Received,
    World,
    answer,
    redirect,
)

MEBIBYTE = 1_048_576
# Far more than any of these tests takes, far less than their time limits.
SOON_SECONDS = 0.5


@pytest.fixture
async def host(world: World) -> AsyncIterator[Host]:
    world.name("a.test")
    host = await world.host()
    yield host
    # Whatever happened, the client has closed its connection.
    if host.connections:
        await asyncio.wait_for(host.closed.wait(), 60)


# Row 13: line breaks.
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-a", "1\r\nHost: evil"),
        ("x-a", "1\nevil: 1"),
        ("x-a", "1\revil: 1"),
        ("x-a", "1\x00"),
        ("x-a", "1\x0b"),
        ("x-a", "\u560a"),
        ("x-a\r\nHost", "evil"),
        ("x-a: 1\r\nx-b", "evil"),
        ("x a", "1"),
        ("x-a:", "1"),
        ("", "1"),
        ("x-é", "1"),
    ],
)
async def test_no_header_breaks_its_line(world: World, host: Host, name: str, value: str) -> None:
    with pytest.raises(InvalidArgumentError):
        await world.request(f"http://a.test:{host.port}/", headers={name: value})
    assert host.connections == 0


async def test_no_parameter_breaks_its_line(world: World, host: Host) -> None:
    await world.request(
        f"http://a.test:{host.port}/?x=%0d%0aX:1",
        params=(("a\r\nb", "c\r\nX-Evil: 1 HTTP/1.1"), ("#", "&=é")),
    )
    expected = "/?x=%0d%0aX:1&a%0D%0Ab=c%0D%0AX-Evil%3A+1+HTTP%2F1.1&%23=%26%3D%C3%A9"
    assert host.received[0].line == f"GET {expected} HTTP/1.1"
    assert host.received[0].header("x-evil") is None


# Row 14: headers that frame or re-address the request.
@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "HOST",
        "Content-Length",
        "Transfer-Encoding",
        "Transfer_Encoding",
        "Connection",
        "Keep-Alive",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "Via",
        "Proxy-Authorization",
        "Proxy-Connection",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X_Forwarded_For",
        "Forwarded",
        "X-Real-IP",
        "Metadata",
        "Metadata-Flavor",
        "X-aws-ec2-metadata-token",
        "X-aws-ec2-metadata-token-ttl-seconds",
        "X-Google-Metadata-Request",
        "X-Metadata-Token",
        "X-HTTP-Method-Override",
        "X-Original-URL",
    ],
)
async def test_no_header_of_the_caller_frames_or_readdresses(
    world: World, host: Host, name: str
) -> None:
    with pytest.raises(InvalidArgumentError):
        await world.request(f"http://a.test:{host.port}/", "POST", headers={name: "1"})
    assert host.connections == 0


async def test_the_body_has_one_length_and_the_request_one_host(world: World, host: Host) -> None:
    await world.request(f"http://a.test:{host.port}/", "POST", content=b"x" * 10)
    received = host.received[0]
    assert received.header("content-length") == "10"
    assert received.header("transfer-encoding") is None
    assert received.header("host") == f"a.test:{host.port}"
    assert received.body == b"x" * 10


async def test_headers_are_not_without_end(world: World, host: Host) -> None:
    for headers in ({f"x-{n}": "1" for n in range(65)}, {"x-a": "1" * 17_000}):
        with pytest.raises(LimitExceededError):
            await world.request(f"http://a.test:{host.port}/", headers=headers)
    with pytest.raises(InvalidArgumentError):
        await world.request(f"http://a.test:{host.port}/", headers={"X-A": "1", "x-a": "2"})
    with pytest.raises(LimitExceededError):
        await world.request(f"http://a.test:{host.port}/", "PUT", content=b"1" * 2_097_153)
    assert host.connections == 0


async def test_a_client_on_the_transport_cannot_readdress_it(world: World, host: Host) -> None:
    policy = EgressPolicy(frozenset({"a.test"}), allowed_networks=ADMITTED)
    transport = EgressTransport(
        policy,
        ssl_context=ssl.create_default_context(),
        body_bytes_max=1_000,
        resolver=world.resolve,
    )
    url = f"http://a.test:{host.port}/"
    async with httpx2.AsyncClient(transport=transport) as client:
        for headers in (
            {"Host": "b.test"},
            {"Transfer-Encoding": "chunked", "Content-Length": "1"},
        ):
            with pytest.raises(InvalidArgumentError):
                await client.post(url, headers=headers, content=b"1")
        with pytest.raises(PermissionDeniedError):
            await client.get("http://b.other/")
        assert host.connections == 0
        response = await client.get(
            url, extensions={"target": b"http://b.test/", "sni_hostname": "b.test"}
        )
        assert response.text == "hello"
    assert host.received[0].line == "GET / HTTP/1.1"


# Row 16: proxies and files of the environment.
async def test_no_proxy_or_netrc_of_the_environment_is_used(
    world: World, host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proxy = await world.host()
    netrc = tmp_path / "netrc"
    netrc.write_text("machine a.test login user password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    await world.request(f"http://a.test:{host.port}/")
    assert (proxy.connections, host.connections) == (0, 1)
    assert host.received[0].header("authorization") is None


# Row 19: bombs.
def coded(body: bytes, coding: str) -> Answer:
    return answer(body, Content_Encoding=coding)


async def limited(world: World, host: Host, bytes_max: int = MEBIBYTE) -> EgressResponse:
    return await world.request(f"http://a.test:{host.port}/", response_bytes_max=bytes_max)


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "GZIP"])
async def test_a_bomb_is_cut_off_where_it_is_decoded(world: World, host: Host, coding: str) -> None:
    plain = bytes(100 * MEBIBYTE)
    bomb = zlib.compress(plain, 9) if coding == "deflate" else gzip.compress(plain, 9)
    del plain
    host.default = coded(bomb, coding)
    tracemalloc.start()
    try:
        response = await limited(world, host)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (len(response.body), response.truncated) == (MEBIBYTE, True)
    assert peak_bytes < 8 * MEBIBYTE


async def test_many_small_bombs_are_one(world: World, host: Host) -> None:
    host.default = coded(gzip.compress(bytes(50_000), 9) * 1_000, "gzip")
    response = await limited(world, host)
    assert (len(response.body), response.truncated) == (MEBIBYTE, True)


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, gzip", "gzip;q=1", "x"])
async def test_a_coding_that_was_not_asked_for_is_refused(
    world: World, host: Host, coding: str
) -> None:
    host.default = coded(gzip.compress(gzip.compress(bytes(MEBIBYTE))), coding)
    with pytest.raises(ToolExecutionError):
        await limited(world, host)
    assert host.received[0].header("accept-encoding") == "gzip, deflate"


async def test_the_caller_does_not_choose_the_coding(world: World, host: Host) -> None:
    await world.request(f"http://a.test:{host.port}/", headers={"Accept-Encoding": "br, zstd"})
    assert host.received[0].header("accept-encoding") == "gzip, deflate"


async def test_what_is_coded_honestly_is_decoded(world: World, host: Host) -> None:
    raw = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    for body, coding in (
        (gzip.compress(b"hello"), "gzip"),
        (gzip.compress(b"hel") + gzip.compress(b"lo") + b"\0\0", "gzip"),
        (zlib.compress(b"hello"), "deflate"),
        (raw.compress(b"hello") + raw.flush(), "deflate"),
        (b"hello", "identity"),
    ):
        host.default = coded(body, coding)
        response = await limited(world, host)
        assert (response.body, response.truncated) == (b"hello", False)
        assert "content-encoding" not in response.headers


async def test_what_is_not_in_its_coding_is_an_error(world: World, host: Host) -> None:
    for body, coding in (
        (b"hello", "gzip"),
        (b"hello", "deflate"),
        (gzip.compress(b"hello")[:-6], "gzip"),
    ):
        host.default = coded(body, coding)
        with pytest.raises(ToolExecutionError):
            await limited(world, host)


def endless(start: bytes, chunk: bytes) -> Answer:
    async def respond(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + start)
        for _ in range(100_000):
            writer.write(chunk)
            await writer.drain()

    return respond


async def test_a_body_that_decodes_to_nothing_without_end_is_refused(
    world: World, host: Host
) -> None:
    start = zlib.compressobj(wbits=31).compress(b"")
    # Empty stored blocks: five bytes each, and never a byte of content.
    blocks = b"\x00\x00\x00\xff\xff" * 13_000
    host.default = endless(b"Content-Encoding: gzip\r\n\r\n" + start, blocks)
    with pytest.raises(LimitExceededError):
        await limited(world, host, 100_000)


async def test_framing_without_end_is_refused(world: World, host: Host) -> None:
    extension = b"1;" + b"x" * 60_000 + b"\r\nx\r\n"
    host.default = endless(b"Transfer-Encoding: chunked\r\n\r\n", extension)
    with pytest.raises(LimitExceededError):
        await limited(world, host, 100_000)


# Row 20: slow and endless answers, and floods of headers.
async def test_an_endless_body_is_cut_off_and_its_connection_closed(
    world: World, host: Host
) -> None:
    async def respond(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()
            host.bytes_sent += 65_536

    host.default = respond
    response = await limited(world, host)
    assert (len(response.body), response.truncated) == (MEBIBYTE, True)
    await asyncio.wait_for(host.closed.wait(), 60)
    # What the kernel buffers on both sides comes on top.
    assert host.bytes_sent < 64 * MEBIBYTE


async def test_a_body_of_exactly_the_limit_is_whole(world: World, host: Host) -> None:
    host.default = answer(b"x" * 1_000)
    response = await limited(world, host, 1_000)
    assert (len(response.body), response.truncated) == (1_000, False)


def drip(start: bytes, drop: bytes) -> Answer:
    async def respond(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        if not drop:
            await received.reader.read()
            return
        while not writer.is_closing():
            writer.write(drop)
            await writer.drain()
            await asyncio.sleep(0.02)

    return respond


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"", b""),
        (b"HTTP/1.1 200 OK\r\nX-A: ", b"x"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b""),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    ],
)
async def test_one_deadline_covers_slow_headers_and_bodies(
    world: World, host: Host, start: bytes, drop: bytes
) -> None:
    host.default = drip(start, drop)
    with pytest.raises(DeadlineExceededError):
        await world.request(f"http://a.test:{host.port}/", timeout_seconds=SOON_SECONDS)
    await asyncio.wait_for(host.closed.wait(), 60)


async def test_one_deadline_covers_names_connections_tls_and_all_hops(
    world: World, host: Host
) -> None:
    silent = asyncio.Event()

    async def never(name: str, port: int) -> list[object]:
        await silent.wait()
        return []

    async def slowly(received: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(SOON_SECONDS / 4)
        await redirect("/")(received, writer)

    resolve = world.client._resolver
    world.client._resolver = never  # type: ignore[assignment]  # it never returns
    with pytest.raises(DeadlineExceededError):
        await world.request("https://a.test/", timeout_seconds=SOON_SECONDS)
    world.client._resolver = resolve
    host.default = slowly
    with pytest.raises(DeadlineExceededError):
        await world.request(
            f"http://a.test:{host.port}/", timeout_seconds=SOON_SECONDS, max_redirects=10
        )


async def test_a_handshake_that_does_not_go_on_is_closed_at_the_deadline(world: World) -> None:
    closed = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        closed.set()

    world.name("a.test")
    async with await asyncio.start_server(mute, OUTSIDE, 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(DeadlineExceededError):
            await world.request(f"https://a.test:{port}/", timeout_seconds=SOON_SECONDS)
        await asyncio.wait_for(closed.wait(), 60)


async def test_a_cancelled_request_closes_its_connection(world: World, host: Host) -> None:
    host.default = drip(b"HTTP/1.1 200 OK\r\n\r\n", b"x")
    request = asyncio.create_task(world.request(f"http://a.test:{host.port}/"))
    await host.reached.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    await asyncio.wait_for(host.closed.wait(), 60)


@pytest.mark.parametrize(
    "flood",
    [
        b"X-A: " + b"x" * 1_000 + b"\r\n",
        b"X-A: " + b"x" * 100_000,
        b"a:b\r\n",
    ],
)
async def test_a_flood_of_headers_is_refused(world: World, host: Host, flood: bytes) -> None:
    async def respond(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        for _ in range(100_000):
            writer.write(flood)
            await writer.drain()
            host.bytes_sent += len(flood)

    host.default = respond
    with pytest.raises(LimitExceededError):
        await world.request(f"http://a.test:{host.port}/")
    await asyncio.wait_for(host.closed.wait(), 60)
    assert host.bytes_sent < 64 * MEBIBYTE


async def test_a_flood_of_provisional_responses_is_refused(world: World, host: Host) -> None:
    async def respond(received: Received, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100)
            await writer.drain()

    host.default = respond
    with pytest.raises(LimitExceededError):
        await world.request(f"http://a.test:{host.port}/")


async def test_too_many_small_headers_are_refused(world: World, host: Host) -> None:
    host.default = answer(b"", **{f"X_{n}": "1" for n in range(200)})
    with pytest.raises(LimitExceededError):
        await world.request(f"http://a.test:{host.port}/")


# Row 21: connections of others.
async def test_no_connection_is_used_twice(world: World, host: Host) -> None:
    host.default = answer(b"hello", Connection="keep-alive")
    host.answers["/"] = redirect("/next")
    await world.request(f"http://a.test:{host.port}/")
    await world.request(f"http://a.test:{host.port}/next")
    assert (len(host.received), host.connections) == (3, 3)


async def test_a_second_response_on_the_connection_is_given_to_nobody(
    world: World, host: Host
) -> None:
    async def respond(received: Received, writer: asyncio.StreamWriter) -> None:
        one = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
        writer.write(one + b"first" + one + b"other")
        await writer.drain()

    host.default = respond
    assert (await world.request(f"http://a.test:{host.port}/")).body == b"first"
    host.default = answer(b"third")
    assert (await world.request(f"http://a.test:{host.port}/")).body == b"third"


# Row 22: what is told of a response.
async def test_cookies_and_headers_of_the_connection_are_not_told(world: World, host: Host) -> None:
    host.default = answer(
        b"x",
        Set_Cookie="session=secret",
        set_cookie2="secret",
        Connection="close",
        Proxy_Authenticate="Basic",
        X_A="1\r\nx-a: 2",
        Content_Type="text/plain",
    )
    response = await world.request(f"http://a.test:{host.port}/")
    assert response.headers == {"x-a": "1, 2", "content-type": "text/plain"}


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nX-A: 1\x00\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16",
    ],
)
async def test_what_is_not_one_response_is_an_error(world: World, host: Host, start: bytes) -> None:
    async def respond(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        await writer.drain()

    host.default = respond
    with pytest.raises(ToolExecutionError) as failed:
        await world.request(f"http://a.test:{host.port}/")
    assert "SSH" not in failed.value.message


# TLS.
async def test_tls_keeps_the_name_that_was_asked_for(world: World) -> None:
    host = await world.host(tls=True)
    world.name("a.test")
    response = await world.request(f"https://a.test:{host.port}/")
    assert response.body == b"hello"
    assert host.server_names == ["a.test"]
    assert host.received[0].header("host") == f"a.test:{host.port}"


async def test_a_certificate_of_another_name_is_refused(world: World) -> None:
    host = await world.host(tls=True)
    world.name("other.test")
    with pytest.raises(ToolExecutionError) as failed:
        await world.request(f"https://other.test:{host.port}/")
    assert "certificate" in failed.value.message
    assert host.received == []


async def test_an_unknown_authority_is_refused_unless_it_is_not_looked_at(world: World) -> None:
    host = await world.host(tls=True)
    world.name("a.test")
    world.client._given_ssl_context = ssl.create_default_context()
    with pytest.raises(ToolExecutionError):
        await world.request(f"https://a.test:{host.port}/")
    assert host.received == []
    response = await world.request(f"https://a.test:{host.port}/", verify_ssl=False)
    assert response.body == b"hello"
