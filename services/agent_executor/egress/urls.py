"""URLs, parsed once by the parser that also sends them, and refused if two readers could differ."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from agent_executor.egress.addresses import Address
from agent_executor.egress.domains import normalise_domain
from agent_executor.errors import InvalidArgumentError

if TYPE_CHECKING:
    import httpx2

URL_CHARACTERS_MAX: Final = 8_192
DEFAULT_PORTS: Final = {"https": 443, "http": 80}
_PORT_MAX: Final = 65_535

# No user, no password, no port that is not plain digits, nothing after a bracket but a port. What
# follows the scheme up to the first of / ? # is what the parser takes for the authority, too.
_URL: Final = re.compile(
    r"""(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://
        (?P<host>\[[0-9A-Fa-f:.]+\] | [^/?\#@%:\[\]]+)
        (?::(?P<port>[0-9]{1,5}))?
        (?:[/?\#].*)?""",
    re.VERBOSE | re.DOTALL,
)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that has one reading.

    Attributes:
        url: As it is sent, without a fragment.
        scheme: ``https`` or ``http``.
        host: A name in ASCII and lower case without a final dot, or an IP address in its
            canonical form and without brackets.
        address: The host if it is an IP address, else None.
        port: Also if it is the scheme's own.
        origin: As ``https://api.example.com`` or ``https://api.example.com:8443``.
    """

    url: httpx2.URL = field(repr=False)
    scheme: str
    host: str
    address: Address | None
    port: int
    origin: str


def parse_url(text: str, params: Iterable[tuple[str, str]] = ()) -> Target:
    """Returns the target that a URL and further query parameters name.

    Raises:
        InvalidArgumentError: It is not an absolute http or https URL, or it holds something that
            readers of URLs disagree about.
    """
    if not isinstance(text, str):
        raise InvalidArgumentError("A URL is a string.")
    check_characters(text)
    match = _URL.fullmatch(text)
    if match is None:
        raise InvalidArgumentError(
            "A URL is like https://api.example.com/path, without a user, a password or an "
            "escaped host."
        )
    if match["scheme"].lower() not in DEFAULT_PORTS:
        raise InvalidArgumentError("A URL begins with https:// or http://.")
    url = _parse(text)
    query = urlencode(list(params))
    if query:
        url = url.copy_with(query=b"&".join(filter(None, (url.query, query.encode()))))
    return _target(url)


def join_url(base: Target, location: str) -> Target:
    """Returns the target of a redirect.

    Raises:
        InvalidArgumentError: As ``parse_url``.
    """
    import httpx2

    check_characters(location)
    # Readers differ about one that has a scheme or an authority and lacks the other.
    if _SCHEME.match(location):
        return parse_url(location)
    if location.startswith("//"):
        return parse_url(f"{base.scheme}:{location}")
    try:
        joined = base.url.join(location)
    except (httpx2.InvalidURL, ValueError):
        raise InvalidArgumentError("A redirect's URL cannot be read.") from None
    return parse_url(str(joined))


def check_characters(text: str) -> None:
    """Raises unless a URL is short enough and without spaces, backslashes and control characters.

    Raises:
        InvalidArgumentError: It is not.
    """
    if len(text) > URL_CHARACTERS_MAX:
        raise InvalidArgumentError(f"A URL has at most {URL_CHARACTERS_MAX} characters.")
    if "\\" in text or not text.isprintable() or any(map(str.isspace, text)):
        raise InvalidArgumentError(
            "A URL holds no spaces, backslashes and control characters; escape them with %."
        )


def _parse(text: str) -> httpx2.URL:
    import httpx2

    try:
        return httpx2.URL(text).copy_with(fragment=None)
    except (httpx2.InvalidURL, ValueError):
        raise InvalidArgumentError("The URL cannot be read.") from None


def _target(url: httpx2.URL) -> Target:
    raw_host = url.raw_host.decode("ascii")
    address = _address(raw_host)
    host = normalise_domain(raw_host) if address is None else str(address)
    if host != raw_host:
        # A final dot, or a longer spelling of an IPv6 address.
        url = url.copy_with(host=host)
    port = DEFAULT_PORTS[url.scheme] if url.port is None else url.port
    sent_host = url.raw_host.decode("ascii")
    if not 0 < port <= _PORT_MAX or sent_host != host or len(str(url)) > URL_CHARACTERS_MAX:
        raise InvalidArgumentError("The URL cannot be read.")
    shown = f"[{host}]" if isinstance(address, IPv6Address) else host
    suffix = "" if port == DEFAULT_PORTS[url.scheme] else f":{port}"
    return Target(url, url.scheme, host, address, port, f"{url.scheme}://{shown}{suffix}")


def _address(host: str) -> Address | None:
    """Returns the address that a host is; only a canonical dotted quad is an IPv4 address."""
    try:
        return IPv6Address(host) if ":" in host else IPv4Address(host)
    except AddressValueError:
        return None
