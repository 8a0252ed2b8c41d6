"""E-mail addresses, read strictly, and the list of those that may be written to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from agent_executor.egress.domains import is_within, normalise_domain
from agent_executor.errors import InvalidArgumentError

ADDRESS_CHARACTERS_MAX: Final = 254
LOCAL_PART_CHARACTERS_MAX: Final = 64

# A dot-atom: no quotes, no comments, nothing that a mail server reads in two ways. "%" and "!" are
# left out: addresses once named a route through other hosts with them.
_ATOM: Final = r"[A-Za-z0-9#$&'*+/=?^_`{|}~-]+"
_LOCAL_PART: Final = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
# What the older standard of international names maps to other letters or drops, so that the name
# that is meant and the one that is asked for are two.
_AMBIGUOUS: Final = re.compile(
    "[\u00ad\u00df\u034f\u03c2\u1806\u180b-\u180d\u1e9e\u200b-\u200d\u2060\ufe00-\ufe0f\ufeff]"
)


def parse_address(text: object, field: str) -> str:
    """Returns one e-mail address in the form in which it is sent.

    The part before the ``@`` is kept as it is and is ASCII; the domain is put in lower case and,
    if it has other letters, in its form that begins with ``xn--``.

    Args:
        text: ``local@domain`` and nothing else: no name, no brackets, no list.
        field: The argument or setting that holds it, for the error.

    Raises:
        InvalidArgumentError: It is not one such address.
    """
    if not isinstance(text, str) or len(text) > ADDRESS_CHARACTERS_MAX:
        raise _not_an_address(field)
    local, at, domain = text.rpartition("@")
    if not at or len(local) > LOCAL_PART_CHARACTERS_MAX or not _LOCAL_PART.fullmatch(local):
        raise _not_an_address(field)
    address = f"{local}@{_normalise(domain, field)}"
    if len(address) > ADDRESS_CHARACTERS_MAX:
        raise _not_an_address(field)
    return address


class RecipientAllowList:
    """The addresses that e-mail may be sent to.

    Args:
        entries: ``ada@example.com`` for one address, whatever the case of its letters;
            ``@example.com`` for every address of a domain; ``@*.example.com`` for every address
            of the domains below it.

    Raises:
        InvalidArgumentError: An entry is none of these.
    """

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self._addresses: set[str] = set()
        self._domains: set[str] = set()
        for entry in entries:
            try:
                if entry.startswith("@"):
                    self._domains.add(normalise_domain(entry[1:]))
                else:
                    self._addresses.add(parse_address(entry, "an allowed recipient").lower())
            except InvalidArgumentError:
                raise InvalidArgumentError(
                    "An allowed recipient is an address like ada@example.com, or a domain like "
                    "@example.com or @*.example.com."
                ) from None

    def allows(self, address: str) -> bool:
        """Tells whether an address, as ``parse_address`` returns it, is on the list."""
        domain = address.rpartition("@")[2]
        return address.lower() in self._addresses or is_within(domain, self._domains)


def _normalise(domain: str, field: str) -> str:
    if domain.startswith("*") or _AMBIGUOUS.search(domain):
        raise _not_an_address(field)
    try:
        name = normalise_domain(domain if domain.isascii() else domain.encode("idna").decode())
    except (UnicodeError, InvalidArgumentError):
        raise _not_an_address(field) from None
    if "." not in name:
        raise _not_an_address(field)
    return name


def _not_an_address(field: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{field} must be an e-mail address like ada@example.com, without a name or brackets.",
        field_violations=((field, "not an e-mail address"),),
    )
