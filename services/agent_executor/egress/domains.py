"""Names of hosts that tools may reach, compared label by label."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from agent_executor.errors import InvalidArgumentError

DOMAIN_CHARACTERS_MAX: Final = 253
_WILDCARD: Final = "*."
# A label of letters, digits, hyphens and underscores, without a hyphen at either end.
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
# A last label that some resolvers take for a part of an IPv4 address.
_NUMERIC_LABEL: Final = re.compile(r"\d+|0x[0-9a-f]*", re.ASCII)


def normalise_domain(domain: str) -> str:
    """Returns a domain in lower case without its final dot; ``*.`` in front is kept.

    Raises:
        InvalidArgumentError: It is no domain: an address, a URL, or not in ASCII, where the form
            that begins with ``xn--`` is the one to give.
    """
    if not isinstance(domain, str):
        raise InvalidArgumentError("A domain is a string.")
    name = domain.lower().removesuffix(".")
    labels = name.removeprefix(_WILDCARD).split(".")
    if not name.isascii():
        raise InvalidArgumentError(
            "A domain is given in ASCII; one with other letters has a form that begins with xn--."
        )
    if len(name) > DOMAIN_CHARACTERS_MAX or not all(map(_LABEL.fullmatch, labels)):
        raise InvalidArgumentError(
            "A domain is a name like api.example.com, without a scheme, a port or a path; "
            "*.example.com stands for every name below example.com."
        )
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        raise InvalidArgumentError("A domain is a name, not an IP address.")
    return name


def is_within(host: str, domains: Iterable[str]) -> bool:
    """Tells whether a host is one of the domains, which are normalised, or below a wildcard."""
    try:
        name = normalise_domain(host)
    except InvalidArgumentError:
        return False
    if name.startswith(_WILDCARD):
        return False
    for domain in domains:
        if domain.startswith(_WILDCARD):
            if name.endswith(domain[1:]):
                return True
        elif name == domain:
            return True
    return False
