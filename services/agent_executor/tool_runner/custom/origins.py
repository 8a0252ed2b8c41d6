"""Origins in their normal form: scheme, host and, unless the scheme has it anyway, port."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from agent_executor.egress.domains import normalise_domain
from agent_executor.errors import InvalidArgumentError

WEB_SCHEMES: Final = ("https", "http")
# Where a credential may go: to a mail server as well.
CREDENTIAL_SCHEMES: Final = (*WEB_SCHEMES, "smtp", "smtps")

_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
_PORT_MAX: Final = 65_535
_ORIGIN: Final = re.compile(
    r"([a-z]+)://(\[[0-9a-f:.]+\]|[^/?#@%:\[\]\\]+)(?::([0-9]{1,5}))?/?", re.ASCII
)


def normalise_origins(origins: Iterable[str], schemes: tuple[str, ...]) -> tuple[str, ...]:
    """Returns origins in normal form, sorted and each once.

    Plain ``http`` is of use only where the operator lets requests go without TLS, and an origin
    of a mail server always has its port.

    Raises:
        InvalidArgumentError: One is no origin of these schemes.
    """
    return tuple(sorted({_normalise(origin, schemes) for origin in origins}))


def _normalise(origin: str, schemes: tuple[str, ...]) -> str:
    match = _ORIGIN.fullmatch(origin.lower())
    if match is None or match[1] not in schemes:
        raise _refused()
    scheme, host = match[1], _normalise_host(match[2])
    port = int(match[3] or _DEFAULT_PORTS.get(scheme, 0))
    if not 0 < port <= _PORT_MAX:
        raise _refused()
    return f"{scheme}://{host}" + ("" if port == _DEFAULT_PORTS.get(scheme) else f":{port}")


def _normalise_host(host: str) -> str:
    try:
        if host.startswith("["):
            return f"[{IPv6Address(host[1:-1])}]"
        return str(IPv4Address(host))
    except AddressValueError:
        if host.startswith(("[", "*")):
            raise _refused() from None
        return normalise_domain(host)


def _refused() -> InvalidArgumentError:
    message = "An origin is like https://api.example.com or https://api.example.com:8443."
    return InvalidArgumentError(message, field_violations=(("allowed_origins", message),))
