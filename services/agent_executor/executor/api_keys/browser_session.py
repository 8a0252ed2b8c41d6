"""What the gateway lets in under a browser's cookie, and the cookie itself. Pure.

A browser sends its cookie along whoever made it call. SameSite=Strict keeps it back when another
site did; what is here holds also where a browser does not know that, and against other hosts of
the same site.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

COOKIE_NAME: Final = "agent_executor_session"

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class ShownRequest:
    """A request as it came to the gateway.

    Attributes:
        method: Its HTTP method.
        host: The host that it was sent to, with its port if that is not the default.
        headers: Its headers, by their names in lower case.
    """

    method: str
    host: str
    headers: Mapping[str, str]

    @property
    def authorization(self) -> str | None:
        """The header; None if there is none."""
        return self.headers.get("authorization")

    @property
    def session_secrets(self) -> list[str]:
        """The values of the cookie; more than one if another host of the site set one, too."""
        pairs = (pair.strip().partition("=") for pair in self.headers.get("cookie", "").split(";"))
        return [value for name, _, value in pairs if name == COOKIE_NAME]

    @property
    def changes_something(self) -> bool:
        """Whether it may do more than read: a stream in both directions can, whatever its method."""
        return (
            self.method not in _SAFE_METHODS
            or "upgrade" in self.headers
            or self.headers.get("content-type", "").startswith("application/grpc")
        )


def why_not_of_origin(request: ShownRequest, further_origins: Collection[str]) -> str:
    """Returns why a request under a cookie is refused, in one sentence; empty if it is not.

    Args:
        request: The request.
        further_origins: Origins beside the gateway's own from which it may come, as
            ``https://console.example.com``.
    """
    if request.headers.get("sec-fetch-site") == "cross-site":
        return "A session is not accepted in a request that another site made."
    origin = request.headers.get("origin")
    if origin is None:
        if request.changes_something:
            return "A session is accepted only with the header `origin`, but for reading."
        return ""
    if origin in further_origins or _is_of_host(origin, request.host):
        return ""
    return "A session is not accepted in a request of another origin."


def session_cookie(secret: str, max_age_seconds: int, *, is_secure: bool) -> str:
    """Returns the header ``set-cookie`` that begins a session, or ends it if its age is 0."""
    cookie = f"{COOKIE_NAME}={secret}; Max-Age={max_age_seconds}; Path=/; HttpOnly; SameSite=Strict"
    return f"{cookie}; Secure" if is_secure else cookie


def _is_of_host(origin: str, host: str) -> bool:
    """Whether an origin is that of a host.

    The scheme is the origin's: TLS may end before the gateway, which then cannot know it.
    """
    try:
        parts, named = urlsplit(origin), urlsplit(f"//{host}")
        default_port = _DEFAULT_PORTS.get(parts.scheme)
        if default_port is None or not parts.hostname:
            return False
        ports = (parts.port or default_port, named.port or default_port)
    except ValueError:
        return False
    return parts.hostname == named.hostname and ports[0] == ports[1]
