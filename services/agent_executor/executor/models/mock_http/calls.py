"""Counts what a caller would be billed for, as a witness that no caller can talk over."""

from __future__ import annotations

from typing import Any

import msgspec

from agent_executor.executor.models.model import ModelUsage


class Calls(msgspec.Struct):
    """The calls so far. A call is billed from the moment at which the model answers.

    Attributes:
        requests: Requests for a message, refused ones included.
        billed: Those that the model answered, whether the answer arrived or not.
        billed_by_model: The same by model.
        input_tokens: Of the billed calls, read from and written to the cache included.
        output_tokens: Of the billed calls, also where the caller did not wait for all.
        batches: Message batches that were made.
        disconnected: Calls whose caller went away before the end of the answer.
        open: Calls that are being answered now.
        errors: Answers with an error's status, by status.
    """

    requests: int = 0
    billed: int = 0
    billed_by_model: dict[str, int] = {}
    input_tokens: int = 0
    output_tokens: int = 0
    batches: int = 0
    disconnected: int = 0
    open: int = 0
    errors: dict[str, int] = {}

    def bill(self, model: str, usage: ModelUsage) -> None:
        """Counts an answer of the model."""
        self.billed += 1
        self.billed_by_model[model] = self.billed_by_model.get(model, 0) + 1
        self.output_tokens += usage.output_tokens
        self.input_tokens += (
            usage.input_tokens
            + usage.cache_read_input_tokens
            + usage.cache_creation_input_tokens_5m
            + usage.cache_creation_input_tokens_1h
        )

    def fail(self, status_code: int) -> None:
        """Counts an answer with an error's status."""
        self.errors[str(status_code)] = self.errors.get(str(status_code), 0) + 1

    def shown(self) -> dict[str, Any]:
        """Returns the counts as JSON's types."""
        counts: dict[str, Any] = msgspec.to_builtins(self)
        return counts
