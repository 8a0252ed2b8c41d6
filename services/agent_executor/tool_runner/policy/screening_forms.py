"""The forms of a text that an attack may hide in: decoded, in plain letters, without comments."""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Final
from urllib.parse import unquote

# An attack is encoded once for each program that decodes it on the way.
_DECODINGS_MAX: Final = 2
_PERCENT: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_ENTITY: Final = re.compile(r"&(?:#|lt|gt|quot|apos|amp|lpar|colon|tab|newline)", re.IGNORECASE)
_SPACES: Final = re.compile(r"\s+")
# MySQL runs what stands in such a comment.
_CONDITIONAL_COMMENT: Final = re.compile(r"!\d{0,6}")
_LAST_WORD: Final = re.compile(r"[a-z]+$")
_WORDS: Final = re.compile(
    r"all|and|by|delete|distinct|drop|exec|from|group|having|in|insert|into|is|like|not|null|or"
    r"|order|select|set|table|truncate|union|update|values|where|xor"
)


def forms_of(text: str) -> tuple[str, ...]:
    """Returns the text and what it becomes where it is decoded, each form once."""
    forms = {text: None}
    form = text if text.isascii() else unicodedata.normalize("NFKC", text)
    forms[form] = None
    for _ in range(_DECODINGS_MAX):
        if not _PERCENT.search(form):
            break
        form = unquote(form, errors="replace")
        forms[form] = None
    if _ENTITY.search(form):
        form = html.unescape(form)
        forms[form] = None
    if "+" in form and " " not in form:
        forms[form.replace("+", " ")] = None
    return tuple(forms)


def as_sql(text: str) -> str:
    """Returns a text as a database reads it: in lower case, single spaces, without comments."""
    text = text.lower()
    if "*/" in text:
        text = _without_comments(text)
    return _SPACES.sub(" ", text).strip()


def _without_comments(text: str) -> str:
    pieces: list[str] = []
    position = 0
    while (start := text.find("/*", position)) >= 0:
        end = text.find("*/", start + 2)
        if end < 0:
            break
        pieces.append(text[position:start])
        inside = text[start + 2 : end]
        if inside.startswith("!"):
            pieces.append(_CONDITIONAL_COMMENT.sub(" ", inside, count=1))
        elif not _splits_a_word(text, start, end + 2):
            pieces.append(" ")
        position = end + 2
    pieces.append(text[position:])
    return "".join(pieces)


def _splits_a_word(text: str, start: int, end: int) -> bool:
    """Tells whether a comment without content has letters at both sides, as in UN/**/ION.

    Where it stands for the space between two words, as in UNION/**/SELECT, it does too; but a
    keyword is split only to be put together again.
    """
    if end - start > len("/**/"):
        return False
    before = _LAST_WORD.search(text, max(0, start - 16), start)
    return before is not None and not _WORDS.fullmatch(before[0]) and text[end : end + 1].isalpha()
