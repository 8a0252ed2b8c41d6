"""Which headers may be sent, survive a change of origin, and are shown of a response."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from agent_executor.errors import InvalidArgumentError, LimitExceededError

REQUEST_HEADERS_MAX: Final = 64
REQUEST_HEADER_BYTES_MAX: Final = 16_384
RESPONSE_HEADERS_MAX: Final = 128

# The whole of it, since a name in JSON may be anything.
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+", re.ASCII)
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

# What frames the message, speaks to proxies, or claims another sender, host or method. Some
# servers take an underscore for a hyphen, so both are compared as hyphens.
_REFUSED: Final = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "forwarded",
        "host",
        "http2-settings",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-original-url",
        "x-real-ip",
        "x-rewrite-url",
    }
)
_REFUSED_PREFIXES: Final = (
    "metadata",
    "proxy-",
    "x-aws-ec2-metadata-token",
    "x-forwarded-",
    "x-google-metadata",
    "x-metadata",
)
# Bodies come back decoded, so the coding is ours to choose.
_OWN: Final = frozenset({"accept-encoding"})
_SAFE_ACROSS_ORIGINS: Final = frozenset(
    {"accept", "accept-language", "content-language", "content-type", "user-agent"}
)
_OF_A_BODY: Final = ("content-", "idempotency-key")
_NOT_SHOWN: Final = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "set-cookie",
        "set-cookie2",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def request_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Returns a caller's headers by their names in lower case.

    ``Accept-Encoding`` is left out: the host chooses it and decodes what comes.

    Raises:
        InvalidArgumentError: A name or a value is none, a name comes twice, or it is not the
            caller's to set.
        LimitExceededError: They are too many or too large.
    """
    if len(headers) > REQUEST_HEADERS_MAX:
        raise LimitExceededError(f"A request has at most {REQUEST_HEADERS_MAX} headers.")
    checked: dict[str, str] = {}
    for given_name, given_value in headers.items():
        name, value = given_name.lower(), given_value.strip(" \t")
        _check(name, value)
        if name in checked:
            raise InvalidArgumentError(f'The header "{name}" is given twice.')
        alike = name.replace("_", "-")
        if alike in _REFUSED or alike.startswith(_REFUSED_PREFIXES):
            raise InvalidArgumentError(f'The header "{name}" cannot be set.')
        if alike not in _OWN:
            checked[name] = value
    if sum(len(name) + len(value) for name, value in checked.items()) > REQUEST_HEADER_BYTES_MAX:
        raise LimitExceededError(
            f"The headers of a request have at most {REQUEST_HEADER_BYTES_MAX} bytes."
        )
    return checked


def _check(name: str, value: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidArgumentError("A header's name holds a character that it cannot hold.")
    if not _VALUE.fullmatch(value):
        raise InvalidArgumentError(
            f'The value of the header "{name}" holds a character that it cannot hold.'
        )


def headers_for_redirect(
    headers: Mapping[str, str], *, same_origin: bool, keeps_body: bool
) -> dict[str, str]:
    """Returns the headers that go along with a redirect; to another origin, only harmless ones."""
    return {
        name: value
        for name, value in headers.items()
        if (same_origin or name in _SAFE_ACROSS_ORIGINS)
        and (keeps_body or not name.startswith(_OF_A_BODY))
    }


def shown_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Returns a response's headers for a reader: names in lower case, several values joined.

    Left out are those of the connection and of the body's coding, and cookies, which are secrets
    of a session that no tool keeps.
    """
    shown: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name not in _NOT_SHOWN:
            shown[name] = f"{shown[name]}, {value}" if name in shown else value
    return shown
