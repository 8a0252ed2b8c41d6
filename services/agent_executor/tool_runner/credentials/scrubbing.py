"""Takes known secrets out of a text, in the forms in which programs write them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from agent_executor.tool_runner.credentials.secret import Secret

MASK: Final = "**********"
SECRET_CHARACTERS_MIN: Final = 8
"""A shorter secret is in too many words that are none."""

# What different programs leave as it is in the parts of a URL.
_UNQUOTED: Final = ("", "/", "!$&'()*+,;=:@/?")
_BYTE_BITS: Final = 8
_BASE64_BITS: Final = 6


def scrub(text: str, secrets: Iterable[Secret]) -> str:
    """Returns a text with a mask in place of each secret.

    A secret is found as it is, escaped as in JSON, percent-encoded as in URLs and forms, in
    hexadecimal, and in base64 and base64url wherever it begins in what is encoded, so also after
    a user's name. It is not found in pieces, or in base64 that is broken into lines.

    A secret of less than ``SECRET_CHARACTERS_MIN`` characters is masked only where it is the
    whole text. The time is linear in the length of the text.
    """
    forms: set[str] = set()
    for secret in secrets:
        value = secret.reveal()
        if len(value) >= SECRET_CHARACTERS_MIN:
            forms.update(_forms_of(value))
        elif value and text == value:
            return MASK
    return _with_mask(text, sorted(_places_of(text, forms)))


def scrub_value(value: Any, secrets: Sequence[Secret]) -> Any:
    """Returns a JSON value in whose texts and keys each secret is masked, as ``scrub`` does it."""
    if isinstance(value, str):
        return scrub(value, secrets)
    if isinstance(value, list):
        return [scrub_value(item, secrets) for item in value]
    if isinstance(value, Mapping):
        return {scrub(key, secrets): scrub_value(item, secrets) for key, item in value.items()}
    return value


def _places_of(text: str, forms: Iterable[str]) -> Iterator[tuple[int, int]]:
    for form in forms:
        start = text.find(form)
        while start >= 0:
            end = start + len(form)
            yield start, end
            start = text.find(form, end)


def _with_mask(text: str, places: Iterable[tuple[int, int]]) -> str:
    """Returns the text with one mask for each stretch of places, which are in order."""
    pieces: list[str] = []
    masked_to = 0
    for start, end in places:
        # Secrets can overlap; what is left of one is a part of a secret all the same.
        if start >= masked_to:
            pieces += (text[masked_to:start], MASK)
        masked_to = max(masked_to, end)
    return "".join((*pieces, text[masked_to:]))


def _forms_of(value: str) -> Iterator[str]:
    data = value.encode(errors="surrogatepass")
    yield value
    for ensure_ascii in (True, False):
        escaped = json.dumps(value, ensure_ascii=ensure_ascii)[1:-1]
        yield escaped
        yield escaped.replace("/", "\\/")
    for safe in _UNQUOTED:
        quoted = quote(data, safe=safe)
        for form in (quoted, _with_lower_escapes(quoted)):
            yield form
            yield form.replace("%20", "+")
    yield data.hex()
    yield data.hex().upper()
    for offset in range(3):
        for altchars in (b"+/", b"-_"):
            yield _base64_at(data, offset, altchars)


def _with_lower_escapes(quoted: str) -> str:
    first, *others = quoted.split("%")
    return "%".join((first, *(other[:2].lower() + other[2:] for other in others)))


def _base64_at(data: bytes, offset: int, altchars: bytes) -> str:
    """Returns the digits that stand for nothing but the data, so many bytes after a start."""
    text = base64.b64encode(bytes(offset) + data, altchars).decode()
    first = -(-offset * _BYTE_BITS // _BASE64_BITS)
    return text[first : (offset + len(data)) * _BYTE_BITS // _BASE64_BITS]
