"""Requests that are wrong, and connections that are."""

from __future__ import annotations

from tests.security.gateway import http2_frames as h2

# What a front that is fooled would take for a second request.
HIDDEN = b"GET /api/v1/agents/smuggled HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n"
LARGE = b"x" * 100_000


def malformed_http1(token: str) -> dict[str, bytes]:
    """Returns requests that must not be answered with more than one refusal, by what is wrong."""
    auth = b"Authorization: Bearer " + token.encode()
    head = b"POST /api/v1/agents HTTP/1.1\r\nHost: a\r\n" + auth + b"\r\n"
    hidden = HIDDEN % auth
    chunked = b"Transfer-Encoding: chunked\r\n"
    return {
        "length and chunked": head + b"Content-Length: 5\r\n" + chunked + b"\r\n0\r\n\r\n" + hidden,
        "chunked and length": head + chunked + b"Content-Length: 5\r\n\r\n0\r\n\r\n" + hidden,
        "two lengths": head + b"Content-Length: 0\r\nContent-Length: 9\r\n\r\n" + hidden,
        "a list of lengths": head + b"Content-Length: 0, 9\r\n\r\n" + hidden,
        "a signed length": head + b"Content-Length: +0\r\n\r\n" + hidden,
        "a negative length": head + b"Content-Length: -1\r\n\r\n" + hidden,
        "a hexadecimal length": head + b"Content-Length: 0x0\r\n\r\n" + hidden,
        "an unknown coding": head + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden,
        "a coding after chunked": head
        + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"
        + hidden,
        "two codings": head + chunked + b"Transfer-Encoding: x\r\n\r\n0\r\n\r\n" + hidden,
        "a space before the colon": head + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + hidden,
        "a tab in the coding": head + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n" + hidden,
        "a folded header": head + b"X-A: b\r\n Content-Length: 9\r\n\r\n" + hidden,
        "a folded length": head + b"Content-Length:\r\n 9\r\n\r\n" + hidden,
        "CR in a header": head + b"X-A: b\rContent-Length: 9\r\n\r\n" + hidden,
        "NUL in a header": head + b"X-A: b\0c\r\n\r\n",
        "no colon": head + b"nonsense\r\n\r\n",
        "no name": head + b": nameless\r\n\r\n",
        "a chunk that is no number": head + chunked + b"\r\nzz\r\n\r\n" + hidden,
        "a negative chunk": head + chunked + b"\r\n-1\r\n\r\n" + hidden,
        "an endless chunk": head + chunked + b"\r\nfffffffffffffffff\r\n" + hidden,
        "a chunk without its end": head + chunked + b"\r\n1\r\nxy\r\n0\r\n\r\n" + hidden,
        "no host": b"GET /api/v1/agents/a HTTP/1.1\r\n" + auth + b"\r\n\r\n",
        "two hosts": b"GET /api/v1/agents/a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "no such version": b"GET /api/v1/agents/a HTTP/9.9\r\nHost: a\r\n\r\n",
        "no version": b"GET /api/v1/agents/a\r\n\r\n",
        "no such method": b"G\0T /api/v1/agents/a HTTP/1.1\r\nHost: a\r\n\r\n",
        "a space in the path": b"GET /api/v1/agents/a b HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT": b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n" + auth + b"\r\n\r\n",
        "an upgrade to HTTP/2": b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings"
        b"\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        "a long path": b"GET /" + LARGE + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        "a long header": head + b"X-A: " + LARGE + b"\r\n\r\n",
        "many headers": head + b"".join(b"X-%d: b\r\n" % number for number in range(500)) + b"\r\n",
        "nonsense": bytes(range(256)) * 8,
        "TLS": bytes.fromhex("16030100500100004c0303") + b"\0" * 200,
        "half of a preface": h2.PREFACE[:-4] + b"XXXX",
    }


def malformed_http2(token: str) -> dict[str, bytes]:
    """Returns connections that must end, or their stream must, by what is wrong."""
    good = h2.request("/api/v1/agents/a", token)
    start = h2.hello()
    block = h2.encoded(good)
    return {
        "no settings": h2.PREFACE + h2.opened(1, good),
        "data of no stream": start + h2.frame(h2.DATA, h2.END_STREAM, 0, b"x"),
        "data before headers": start + h2.frame(h2.DATA, h2.END_STREAM, 1, b"x"),
        "an even stream": start + h2.opened(2, good),
        "a stream that goes back": start + h2.opened(5, good) + h2.opened(3, good),
        "headers that are none": start + h2.frame(h2.HEADERS, 5, 1, b"\xff" * 40),
        "an index out of the table": start + h2.frame(h2.HEADERS, 5, 1, b"\xff\xff\xff\x0f"),
        "a frame too large": start + (1 << 20).to_bytes(3, "big") + b"\0\0\0\0\0\1" + LARGE,
        "a settings frame of 5 bytes": start + h2.frame(h2.SETTINGS, payload=b"12345"),
        "a window of 2^32": start + h2.frame(h2.SETTINGS, payload=b"\0\4\xff\xff\xff\xff"),
        "a window update of 0": start + h2.frame(h2.WINDOW_UPDATE, payload=bytes(4)),
        "a window that overflows": start
        + h2.frame(h2.WINDOW_UPDATE, payload=b"\x7f\xff\xff\xff") * 2,
        "a ping of 3 bytes": start + h2.frame(h2.PING, payload=b"123"),
        "a push from a client": start + h2.frame(h2.PUSH, 4, 1, bytes(4) + block),
        "headers cut by data": start
        + h2.frame(h2.HEADERS, 0, 1, block)
        + h2.frame(h2.DATA, 1, 1, b"x"),
        "a continuation of nothing": start + h2.frame(h2.CONTINUATION, 4, 1, block),
        "padding longer than the frame": start + h2.frame(h2.HEADERS, 0xD, 1, b"\xff" + block),
        "a stream that depends on itself": start
        + h2.frame(h2.PRIORITY, 0, 1, b"\0\0\0\1\0")
        + h2.frame(h2.DATA, 0, 0, b""),
        "a name in upper case": start + h2.opened(1, [*good, ("X-Upper", "b")]),
        "CR LF in a value": start + h2.opened(1, [*good, ("x-a", "b\r\nc: d")]),
        "no path": start + h2.opened(1, [each for each in good if each[0] != ":path"]),
        "two paths": start + h2.opened(1, [(":path", "/x"), *good]),
        "a pseudo-header at the end": start + h2.opened(1, [*good, (":method", "GET")]),
        "a length that is wrong": start
        + h2.opened(1, [*h2.request("/api/v1/agents", token, "POST"), ("content-length", "9")], 4)
        + h2.frame(h2.DATA, h2.END_STREAM, 1, b"{}"),
        "transfer-encoding": start + h2.opened(1, [*good, ("transfer-encoding", "chunked")]),
        "headers of 4 MiB": start
        + h2.frame(h2.HEADERS, 1, 1, block)
        + h2.frame(h2.CONTINUATION, 0, 1, h2.encoded([("x-a", "b" * 16_000)])) * 256,
    }
