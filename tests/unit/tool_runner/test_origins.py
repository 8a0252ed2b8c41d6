from __future__ import annotations

import pytest

from agent_executor.errors import InvalidArgumentError
from agent_executor.tool_runner.custom.origins import (
    CREDENTIAL_SCHEMES,
    WEB_SCHEMES,
    normalise_origins,
)


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("https://api.example.com", "https://api.example.com"),
        ("HTTPS://API.Example.com./", "https://api.example.com"),
        ("https://api.example.com:443", "https://api.example.com"),
        ("https://api.example.com:08443", "https://api.example.com:8443"),
        ("http://api.example.com:80", "http://api.example.com"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://[2001:DB8:0:0::1]", "https://[2001:db8::1]"),
        ("smtp://mail.example.com:587", "smtp://mail.example.com:587"),
        ("smtps://mail.example.com:465", "smtps://mail.example.com:465"),
    ],
)
def test_an_origin_has_one_form(given: str, normal: str) -> None:
    assert normalise_origins([given, normal], CREDENTIAL_SCHEMES) == (normal,)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "api.example.com",
        "https://",
        "https:///x",
        "https://api.example.com/path",
        "https://api.example.com?q",
        "https://api.example.com#f",
        "https://ada@api.example.com",
        "https://api.example.com:",
        "https://api.example.com:0",
        "https://api.example.com:65536",
        "https://api.example.com:443:443",
        "https://*.example.com",
        "https://api.example.com\\x",
        "https://api example.com",
        "https://api.example.com\n",
        "https://api.example.com\0",
        "https://127.1",
        "https://0x7f000001",
        "https://2130706433",
        "https://[::1",
        "https://[::g]",
        "https://exämple.com",
        "https://%61.example.com",
        "ftp://api.example.com",
        "smtp://mail.example.com",
    ],
)
def test_what_is_no_origin_is_refused(given: str) -> None:
    with pytest.raises(InvalidArgumentError):
        normalise_origins([given], CREDENTIAL_SCHEMES)


def test_a_tool_reaches_web_servers_only() -> None:
    with pytest.raises(InvalidArgumentError):
        normalise_origins(["smtp://mail.example.com:25"], WEB_SCHEMES)
