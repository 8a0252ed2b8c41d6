"""Texts as providers send them."""

from __future__ import annotations

from collections.abc import Iterable


def whole_text(pieces: Iterable[str]) -> str:
    """Returns pieces as one text that can be stored and sent on.

    JSON can hold half a surrogate pair, which is no text; each becomes U+FFFD. Two halves that came
    in two pieces are one character.
    """
    text = "".join(pieces)
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
