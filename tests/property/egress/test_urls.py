"""What is checked of a URL is what is sent, whatever the text."""

from __future__ import annotations

import asyncio
import ipaddress
from urllib.parse import urlsplit

import httpcore2
import httpx2
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent_executor.egress.domains import normalise_domain
from agent_executor.egress.urls import join_url, parse_url
from agent_executor.errors import InvalidArgumentError

PIECES = st.sampled_from(
    [
        *("http", "https", "ftp", ":", "/", "//", "@", "\\", "#", "?", "%", "[", "]", ".", " "),
        *("a.test", "b.test", "127.0.0.1", "0x7f", "2130706433", "::1", "::ffff:1.2.3.4", "443"),
        *(
            "%2f",
            "%40",
            "%00",
            "\t",
            "\r\n",
            "\x00",
            "。",
            "①",
            "\u00ad",
            "é",
            "A",
            "-",
            "_",
            "xn--",
        ),
        *(";", ",", "&", "=", "'", '"', "<", "|", "~", "+", "*", "$", "(", "0", "65536"),
    ]
)
TEXTS = st.one_of(
    st.lists(PIECES, max_size=12).map("".join),
    st.lists(PIECES, max_size=8).map(lambda pieces: "https://" + "".join(pieces)),
    st.lists(PIECES, max_size=6).map(lambda pieces: "https://a.test" + "".join(pieces)),
    st.text(max_size=40).map(lambda text: "https://" + text),
)


def host_on_the_wire(url: httpx2.URL) -> tuple[str, int, bytes]:
    """Sends a request into a transport that only notes where it would connect to, and what."""
    seen: list[tuple[str, int]] = []
    written: list[bytes] = []

    class Stream(httpcore2.AsyncMockStream):
        async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 -- the library's signature
            written.append(buffer)

        async def start_tls(self, *arguments: object, **options: object) -> Stream:
            return self

    class Backend(httpcore2.AsyncMockBackend):
        async def connect_tcp(self, host: str, port: int, **options: object) -> Stream:  # type: ignore[override]  # the rest is of no interest
            seen.append((host, port))
            return Stream([b"HTTP/1.1 204 No Content\r\n\r\n"])

    async def send() -> None:
        request = httpx2.Request("GET", url)
        async with httpcore2.AsyncConnectionPool(network_backend=Backend([])) as pool:
            target = httpcore2.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
            )
            headers = request.headers.raw
            response = await pool.handle_async_request(
                httpcore2.Request("GET", target, headers=headers)
            )
            await response.aclose()

    asyncio.run(send())
    return *seen[0], b"".join(written)


@settings(max_examples=300)
@given(TEXTS)
@example("https://a.test@127.0.0.1/")
@example("https://a.test\\@127.0.0.1/")
@example("https://a.test#@127.0.0.1/")
@example("https://a.test.:443/?#")
@example("https://[::FFFF:1.2.3.4]:8443/")
@example("https://[0::1]")
def test_the_host_that_is_checked_is_the_host_that_is_sent(text: str) -> None:
    try:
        target = parse_url(text)
    except InvalidArgumentError:
        return
    host, port, written = host_on_the_wire(target.url)
    assert (host, port) == (target.host, target.port)
    lines = written.split(b"\r\n")
    shown = target.origin.partition("://")[2].encode()
    assert [line for line in lines if line.lower().startswith(b"host:")] == [b"Host: " + shown]
    assert lines[0].startswith(b"GET /")
    assert lines[0].count(b" ") == 2
    # A host is a canonical address, or a name that is compared as it is.
    if target.address is None:
        assert normalise_domain(target.host) == target.host
    else:
        assert str(ipaddress.ip_address(target.host)) == target.host
    # Another reader sees the same, and reading it again changes nothing.
    other = urlsplit(str(target.url))
    assert (other.hostname, other.username, other.password) == (target.host, None, None)
    assert parse_url(str(target.url)) == target


@given(TEXTS)
@example("//b.test")
@example("/\\b.test")
@example("https:b.test")
def test_a_redirect_leads_to_what_is_checked_too(location: str) -> None:
    base = parse_url("https://a.test/dir/")
    try:
        target = join_url(base, location)
    except InvalidArgumentError:
        return
    assert parse_url(str(target.url)) == target
    relative = not location.startswith("//") and ":" not in location.partition("/")[0]
    assert not relative or target.origin == base.origin
