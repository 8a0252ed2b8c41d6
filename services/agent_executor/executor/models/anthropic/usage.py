"""Reads what the Messages API says about the usage of a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent_executor.executor.models.model import ModelUsage
from agent_executor.executor.models.provider_counts import count_of


def read_usage(reported: Mapping[str, Any]) -> ModelUsage:
    """Returns the usage of a call from the API's ``usage`` object.

    What was written to the cache without a lifetime was written for 5 minutes, the API's default
    and all that we ask for: a stream's last event may raise the sum and say nothing of lifetimes.
    """
    by_lifetime = reported.get("cache_creation")
    one_hour = count_of(by_lifetime, "ephemeral_1h_input_tokens")
    five_minutes = count_of(by_lifetime, "ephemeral_5m_input_tokens")
    written = count_of(reported, "cache_creation_input_tokens")
    server_tools = reported.get("server_tool_use")
    return ModelUsage(
        input_tokens=count_of(reported, "input_tokens"),
        output_tokens=count_of(reported, "output_tokens"),
        cache_read_input_tokens=count_of(reported, "cache_read_input_tokens"),
        cache_creation_input_tokens_5m=max(five_minutes, written - one_hour),
        cache_creation_input_tokens_1h=one_hour,
        web_search_requests=count_of(server_tools, "web_search_requests"),
        web_fetch_requests=count_of(server_tools, "web_fetch_requests"),
    )


def merge_usage(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a stream's usage after one more event, whose counts are sums from its start on."""
    return {**earlier, **{name: value for name, value in later.items() if value is not None}}
