"""Hides what looks like a credential, in lines of the log and in what spans show of content.

It is the last line of defence and no filter of personal data: what a person typed stays.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import msgspec

REDACTED: Final = "[redacted]"

CONTENT_MAX_CHARS: Final = 4_096
"""How much a span shows of one text."""

_NAMES_MAX: Final = 1_024

_SECRET_NAMES: Final = re.compile(
    r"authorization|api_?key|password|passwd|secret|credential|private_key|^token$|_token$",
    re.IGNORECASE,
)
# Bearer headers, JSON Web Tokens, our own API keys and sessions, provider keys as sk-..., and what
# URLs name as user and password.
_SECRET_TEXTS: Final = re.compile(
    r"(?i:bearer)\s+[\w.~+/=-]{8,}|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*|\bsk-[\w-]{16,}|\bae[ks]_\w{16,}"
    r"|(?<=://)[^\s/@:?#\"]{0,256}:[^\s/@\"]{1,256}(?=@)"
)
# One of these is in each of them; to look for them first takes a twentieth of the time.
_MARKS: Final = ("eyJ", "sk-", "aek_", "aes_", "://")


@lru_cache(_NAMES_MAX)
def is_secret_name(name: str) -> bool:
    """Tells whether a name says that its value is a secret."""
    return _SECRET_NAMES.search(name) is not None


def redacted_text(text: str) -> str:
    """Returns the text without what looks like a credential."""
    if any(mark in text for mark in _MARKS) or "bearer" in text.lower():
        return _SECRET_TEXTS.sub(REDACTED, text)
    return text


def redacted_names(value: Any) -> Any:
    """Returns JSON-like data without the values, at any depth, whose names say they are secret."""
    if isinstance(value, dict):
        return {
            name: REDACTED if is_secret_name(str(name)) else redacted_names(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted_names(inner) for inner in value]
    return value


def cut(text: str) -> str:
    """Returns the beginning of a text that is too long for a span, and says how much is missing."""
    missing = len(text) - CONTENT_MAX_CHARS
    return f"{text[:CONTENT_MAX_CHARS]}... [{missing} more characters]" if missing > 0 else text


def redacted_json(text: str) -> str:
    """Returns JSON text without either; of a text that is no JSON, without what looks like one."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return redacted_text(text)
    return redacted_text(msgspec.json.encode(redacted_names(value)).decode())
