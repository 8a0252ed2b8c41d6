from __future__ import annotations

import pytest

from agent_executor.egress.urls import join_url, parse_url
from agent_executor.errors import InvalidArgumentError


@pytest.mark.parametrize(
    ("text", "origin", "sent"),
    [
        ("https://a.test", "https://a.test", "https://a.test/"),
        ("HTTPS://A.TEST:443/", "https://a.test", "https://a.test/"),
        ("https://a.test.:8443/x", "https://a.test:8443", "https://a.test:8443/x"),
        ("http://a.test:80/x?y=1#z", "http://a.test", "http://a.test/x?y=1"),
        ("https://a.test:80/", "https://a.test:80", "https://a.test:80/"),
        ("https://bücher.test/é", "https://xn--bcher-kva.test", None),
        ("https://[2606:4700:0::1]/", "https://[2606:4700::1]", "https://[2606:4700::1]/"),
        ("https://8.8.8.8/", "https://8.8.8.8", "https://8.8.8.8/"),
        ("https://a_b.test?x=%20#", "https://a_b.test", "https://a_b.test/?x=%20"),
        ("https://a.test/%2e%2E/x/../y", "https://a.test", "https://a.test/%2e%2E/y"),
    ],
)
def test_an_origin_has_one_spelling(text: str, origin: str, sent: str | None) -> None:
    target = parse_url(text)
    assert target.origin == origin
    line = target.url.raw_path.decode()
    shown = f"{target.url.scheme}://{target.url.netloc.decode()}{line}"
    assert shown == (sent or f"{origin}/%C3%A9")


def test_parameters_are_added_to_those_of_the_url() -> None:
    target = parse_url("https://a.test/?a=1&b=%2f", [("a", "2"), ("c", "x y")])
    assert target.url.raw_path == b"/?a=1&b=%2f&a=2&c=x+y"
    assert parse_url("https://a.test/#f", [("a", "1")]).url.raw_path == b"/?a=1"
    with pytest.raises(InvalidArgumentError):
        parse_url("https://a.test/", [("a", "x" * 8_192)])


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/x", "https://a.test/x"),
        ("x?y=1", "https://a.test/dir/x?y=1"),
        ("../x", "https://a.test/x"),
        ("?y=1", "https://a.test/dir/page?y=1"),
        ("#z", "https://a.test/dir/page"),
        ("//b.test/x", "https://b.test/x"),
        ("http://b.test", "http://b.test"),
        ("", "https://a.test/dir/page"),
    ],
)
def test_a_redirect_is_read_from_where_it_came(location: str, url: str) -> None:
    target = join_url(parse_url("https://a.test/dir/page"), location)
    assert str(target.url) == url


@pytest.mark.parametrize(
    "location", ["https:b.test", "https:/b.test", "mailto:a@b.test", "//a@b.test/", "///b.test/"]
)
def test_a_redirect_that_readers_differ_about_is_none(location: str) -> None:
    with pytest.raises(InvalidArgumentError):
        join_url(parse_url("https://a.test/"), location)


def test_a_url_is_a_text() -> None:
    with pytest.raises(InvalidArgumentError):
        parse_url(b"https://a.test/")  # type: ignore[arg-type]  # what a program may pass
    with pytest.raises(InvalidArgumentError):
        parse_url("https://a.test/\ud800")
