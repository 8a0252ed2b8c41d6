"""Takes known secrets out of text."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus

from agent_executor.tool_runner.secret import Secret

MASK: Final = "[secret]"


def scrub(text: str, secrets: Iterable[Secret]) -> str:
    """Returns a text with every secret in it masked, also in base64 or escaped for a URL."""
    spellings = {form for secret in secrets for form in _spellings(secret.reveal()) if form}
    for spelling in sorted(spellings, key=len, reverse=True):
        text = text.replace(spelling, MASK)
    return text


def _spellings(secret: str) -> set[str]:
    raw = secret.encode()
    return {
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        base64.b64encode(raw).decode().rstrip("="),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
    }
