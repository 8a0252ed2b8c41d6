"""Reads what the Chat Completions API says about the usage of a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent_executor.executor.models.model import ModelUsage
from agent_executor.executor.models.provider_counts import count_of


def read_usage(reported: Mapping[str, Any]) -> ModelUsage:
    """Returns the usage of a call from the API's ``usage`` object.

    The API counts what was read from the cache, and what was written to it, within the prompt, and
    the model's reasoning within the completion. Some endpoints count the reasoning in the total
    alone, so the larger is taken.
    """
    details = reported.get("prompt_tokens_details")
    prompt_tokens = count_of(reported, "prompt_tokens")
    read_tokens = min(count_of(details, "cached_tokens"), prompt_tokens)
    written_tokens = min(count_of(details, "cache_write_tokens"), prompt_tokens - read_tokens)
    return ModelUsage(
        input_tokens=prompt_tokens - read_tokens - written_tokens,
        output_tokens=max(
            count_of(reported, "completion_tokens"),
            count_of(reported, "total_tokens") - prompt_tokens,
        ),
        cache_read_input_tokens=read_tokens,
        cache_creation_input_tokens_5m=written_tokens,
    )
