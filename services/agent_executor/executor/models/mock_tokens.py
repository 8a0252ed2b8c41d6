"""Makes tokens of a text in one linear pass: numbers, words, and operators however written."""

from __future__ import annotations

import itertools
import re
from decimal import Decimal
from typing import TypeAlias

from agent_executor.executor.models.mock_numerals import NUMERAL_WORDS, combine_numerals

TOKENS_MAX = 2_048

Token: TypeAlias = Decimal | str

STOP = "."
_OPERATOR_PHRASES = {
    "raised to the power of": "^",
    "to the power of": "^",
    "raised to": "^",
    "multiplied by": "*",
    "divided by": "/",
    "square root of": "√",
    "square root": "√",
    "sqrt": "√",
    "per cent": "%",
    "percent": "%",
    "added to": "+",
    "plus": "+",
    "minus": "-",
    "times": "*",
    "over": "/",
    "squared": "²",
    "cubed": "³",
}
_SYMBOLS = {"**": "^", "×": "*", "·": "*", "÷": "/", "−": "-", "?": STOP, "!": STOP}
_SYMBOLS |= {"\n": STOP, ";": STOP, "-": "- "}

# Each alternative begins differently or ends in a possessive run, so no input makes the
# expression go back over more than a few characters.
_TOKEN = re.compile(
    r"""
      (?P<opaque> [0-9]{4}-[0-9]{2}-[0-9]{2} (?![0-9]) | [0-9]++ (?: \.[0-9]++ ){2,}+ )
    | (?P<number>
        (?: [0-9]{1,3} (?: ,[0-9]{3} )++ (?![0-9]) | [0-9]++ ) (?: \.[0-9]++ )?+
        (?: e[+-]?[0-9]{1,3} (?![0-9a-z]) )?+
      | \.[0-9]++ )
    | (?P<phrase> (?: PHRASES ) (?! [^\W_] ) )
    | (?P<word> [^\W\d_]++ )
    | (?P<hyphen> (?<=[a-z]) - (?=[a-z]) )
    | (?P<sign> (?<![^\W\d_]) - (?=[0-9.(√]) )
    | (?P<symbol> \*\* | [-+*/^%()=,×·÷−√²³.?!;\n] )
    """.replace("PHRASES", "|".join(p.replace(" ", "[ ]{1,3}") for p in _OPERATOR_PHRASES)),
    re.VERBOSE,
)
LOOSE_MINUS = "- "  # A minus with a space after it: never a sign at the start of a sentence.


def tokenize(text: str) -> list[Token]:
    """Numbers as decimals; words, phrases and symbols as their shortest lower-case form."""
    tokens: list[Token] = []
    numerals: list[Token] = []
    for match in itertools.islice(_TOKEN.finditer(text.lower()), TOKENS_MAX):
        kind = match.lastgroup
        text_of_token = match[0]
        token: Token = text_of_token
        if kind == "number":
            token = Decimal(text_of_token.replace(",", ""))
        elif kind == "phrase":
            token = _OPERATOR_PHRASES[" ".join(text_of_token.split())]
        elif kind == "symbol":
            token = _SYMBOLS.get(text_of_token, text_of_token)
        elif kind == "hyphen":
            continue
        if kind == "number" or token in NUMERAL_WORDS:
            numerals.append(token)
            continue
        if numerals:
            tokens += combine_numerals(numerals)
            numerals.clear()
        tokens.append(token)
    if numerals:
        tokens += combine_numerals(numerals)
    return tokens
