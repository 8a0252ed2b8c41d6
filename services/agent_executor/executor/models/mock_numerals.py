"""Numbers written in English words: "twenty-seven", "two hundred thousand", "2.5 million"."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

_UNIT_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen"),
)
_TEN_WORDS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_UNITS = {word: number for number, word in enumerate(_UNIT_WORDS)}
_TENS = {word: 10 * number for number, word in enumerate(_TEN_WORDS, start=2)}
_SMALL = _UNITS | _TENS
_DIGITS = frozenset(_UNIT_WORDS[:10])
_SCALE_DIGITS = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
NUMERAL_WORDS = frozenset({*_SMALL, *_SCALE_DIGITS})


def combine_numerals(run: Sequence[Decimal | str]) -> list[Decimal]:
    """The numbers of a run of digits and numeral words with nothing else between them."""
    numbers: list[Decimal] = []
    words: list[str] = []
    for item in run:
        if isinstance(item, Decimal):
            numbers += _read_words(words)
            words.clear()
            numbers.append(item)
        elif numbers and not words and item in _SCALE_DIGITS:
            numbers[-1] = _shift(numbers[-1], _SCALE_DIGITS[item])
        else:
            words.append(item)
    return numbers + _read_words(words)


def _shift(number: Decimal, places: int) -> Decimal:
    """The number times a power of ten, exactly, whatever the thread's decimal context."""
    sign, digits, exponent = number.as_tuple()
    return Decimal((sign, digits, int(exponent) + places))


def _read_words(words: Sequence[str]) -> list[Decimal]:
    numbers: list[Decimal] = []
    # ``total`` holds the finished thousands, ``group`` the part below the next scale word.
    total = group = 0
    for word in words:
        if word in _SMALL:
            value = _SMALL[word]
            # "forty two" is one number, "two two" are two.
            if group % (10 if word in _DIGITS else 100) or (group and not value):
                numbers.append(Decimal(total + group))
                total = group = 0
            group += value
        elif word == "hundred":
            group = (group or 1) * 100
        else:
            total += (group or 1) * 10 ** _SCALE_DIGITS[word]
            group = 0
    return [*numbers, Decimal(total + group)] if words else numbers
