"""The tokens of one model call, by the classes that have prices of their own."""

from __future__ import annotations

from typing import Final

import msgspec

from agent_executor.errors import InvalidArgumentError

MAX_TOKENS: Final = 2**31 - 1


class TokenCounts(msgspec.Struct, frozen=True):
    """Tokens by class. The classes do not overlap, as in Anthropic's API.

    Of an entry that corrects another one they are differences, and may be negative.

    Attributes:
        input_tokens: Input neither read from nor written to the prompt cache.
        output_tokens: Output, thinking included.
        cache_read_input_tokens: Input read from the prompt cache.
        cache_creation_input_tokens_5m: Input written to the prompt cache for 5 minutes.
        cache_creation_input_tokens_1h: Input written to the prompt cache for 1 hour.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens_5m: int = 0
    cache_creation_input_tokens_1h: int = 0

    @property
    def total_input_tokens(self) -> int:
        """All input, cached or not: what price tiers and genai-prices mean by input."""
        return (
            self.input_tokens
            + self.cache_read_input_tokens
            + self.cache_creation_input_tokens_5m
            + self.cache_creation_input_tokens_1h
        )

    @property
    def tokens_used(self) -> int:
        """The sum of all classes."""
        return self.total_input_tokens + self.output_tokens

    def plus(self, other: TokenCounts) -> TokenCounts:
        """Returns both together."""
        return TokenCounts(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_input_tokens + other.cache_read_input_tokens,
            self.cache_creation_input_tokens_5m + other.cache_creation_input_tokens_5m,
            self.cache_creation_input_tokens_1h + other.cache_creation_input_tokens_1h,
        )

    def minus(self, other: TokenCounts) -> TokenCounts:
        """Returns the difference, whose counts may be negative."""
        return TokenCounts(
            self.input_tokens - other.input_tokens,
            self.output_tokens - other.output_tokens,
            self.cache_read_input_tokens - other.cache_read_input_tokens,
            self.cache_creation_input_tokens_5m - other.cache_creation_input_tokens_5m,
            self.cache_creation_input_tokens_1h - other.cache_creation_input_tokens_1h,
        )


class TokenUsage(TokenCounts, frozen=True):
    """What one model call used.

    Raises:
        InvalidArgumentError: A count is no integer, negative, or above ``MAX_TOKENS``.
    """

    def __post_init__(self) -> None:
        """Refuses counts that cannot be."""
        counts = msgspec.structs.astuple(self)
        for count in counts:
            # It is made for every call, and nearly always of what can be.
            if type(count) is not int or not 0 <= count <= MAX_TOKENS:
                for name, each in zip(self.__struct_fields__, counts, strict=True):
                    check_token_count(name, each)


def check_token_count(name: str, count: int, minimum: int = 0) -> None:
    """Refuses a number of tokens that cannot be.

    Raises:
        InvalidArgumentError: It is no integer, below ``minimum`` or above ``MAX_TOKENS``.
    """
    # A bool is an int to isinstance, and a float would end up in a price.
    if type(count) is not int or not minimum <= count <= MAX_TOKENS:
        msg = f"{name} must be an integer between {minimum} and {MAX_TOKENS}."
        raise InvalidArgumentError(msg, field_violations=((name, msg),))
