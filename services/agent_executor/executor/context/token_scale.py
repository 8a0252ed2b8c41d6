"""How many tokens a text is taken to be, before its provider has counted them."""

from __future__ import annotations

from typing import Final

from agent_executor.executor.model_calls.purpose import BYTES_PER_ESTIMATED_TOKEN
from agent_executor.executor.models.model import ModelUsage

# Of a short request most is what the provider itself adds, so that it tells nothing.
TELLING_BYTES: Final = 16_384
# A token is a byte at least.
MIN_BYTES_PER_TOKEN: Final = 1.0


class TokenScale:
    """Turns bytes into tokens, by what the provider has counted so far in the same run.

    Text of some scripts has more tokens than others have by its length; once a provider has told so,
    the estimate is not below what it told. It is never below a quarter of the bytes.

    Attributes:
        bytes_per_token: The scale.
        window_tokens: The model's context window, if its provider has told it; else 0.
    """

    def __init__(self) -> None:
        self.bytes_per_token = float(BYTES_PER_ESTIMATED_TOKEN)
        self.window_tokens = 0

    def tokens(self, size_bytes: int) -> int:
        """Returns about how many tokens a text of this length is."""
        return int(size_bytes / self.bytes_per_token)

    def size_bytes(self, tokens: int) -> int:
        """Returns about how long a text of so many tokens is."""
        return int(tokens * self.bytes_per_token)

    def learn(self, size_bytes: int, usage: ModelUsage) -> None:
        """Takes in what a request of this length was counted as."""
        input_tokens = (
            usage.input_tokens
            + usage.cache_read_input_tokens
            + usage.cache_creation_input_tokens_5m
            + usage.cache_creation_input_tokens_1h
        )
        if size_bytes >= TELLING_BYTES:
            self._narrow(size_bytes, input_tokens)

    def learn_refusal(self, size_bytes: int, input_tokens: int, window_tokens: int) -> None:
        """Takes in that a request of this length was too long for the model."""
        self.window_tokens = window_tokens
        self._narrow(size_bytes, input_tokens)

    def _narrow(self, size_bytes: int, input_tokens: int) -> None:
        if input_tokens > 0:
            told = max(MIN_BYTES_PER_TOKEN, size_bytes / input_tokens)
            self.bytes_per_token = min(self.bytes_per_token, told)
