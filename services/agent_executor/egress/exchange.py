"""A request to the outside and its response, as plain objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

DEFAULT_TIMEOUT_SECONDS: Final = 30.0
DEFAULT_REDIRECTS_MAX: Final = 5
REDIRECTS_MAX: Final = 10
DEFAULT_RESPONSE_BYTES_MAX: Final = 1_048_576
REQUEST_BYTES_MAX: Final = 2_097_152


@dataclass(frozen=True, slots=True)
class EgressRequest:
    """What to send.

    Attributes:
        method: In capitals.
        url: Absolute.
        headers: By name, in any case.
        params: Pairs that are added to the URL's query.
        content: The body; None for none.
        timeout_seconds: For everything: names, connections, every redirect, the whole body.
        max_redirects: How many redirects are followed; more are an error. At most 10.
        follow_redirects: False gives the redirect itself as the response.
        verify_ssl: False takes any certificate.
        response_bytes_max: So much of the decoded body is read; the rest is cut off.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    params: tuple[tuple[str, str], ...] = ()
    content: bytes | None = None
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    max_redirects: int = DEFAULT_REDIRECTS_MAX
    follow_redirects: bool = True
    verify_ssl: bool = True
    response_bytes_max: int = DEFAULT_RESPONSE_BYTES_MAX


@dataclass(frozen=True, slots=True)
class AttachedHeader:
    """A header that the host adds, and where it may go.

    Attributes:
        name: In lower case. It takes the place of the request's own header of that name.
        value: Gives the value at the moment when it is sent.
        origins: It is sent to these and to no other, whatever the redirects say.
    """

    name: str
    value: Callable[[], str] = field(repr=False)
    origins: frozenset[str]


@dataclass(frozen=True, slots=True)
class EgressResponse:
    """What came back.

    Attributes:
        status_code: Of the last response.
        headers: By name in lower case; several of one name are joined by a comma. Without those
            of the connection, of the body's coding, and without cookies.
        body: Decoded, and cut off at the request's limit.
        url: Where it came from in the end.
        truncated: The body went on.
        redirects: The URLs of the responses that led on from one to the next.
    """

    status_code: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    truncated: bool
    redirects: tuple[str, ...]
