"""How often a caller and an organization may call, as Envoy's rate limit filters are told."""

from __future__ import annotations

from typing import Any

from agent_executor.cli.gateway_issuers import caller_claims
from agent_executor.cli.gateway_settings import GatewaySettings

_JWT_FILTER = "envoy.filters.http.jwt_authn"


def rate_limits(settings: GatewaySettings) -> dict[str, Any]:
    """Returns the template's values for the limits that are on.

    A bucket without a value is made anew for each value that comes, so each caller has its own.

    Returns:
        `rate_limits`, which says what of a token counts, `rate_limit_buckets`, and
        `shared_rate_limits`, which is `rate_limits` with the limits in it, since the tool-runners that
        count for all gateways know them from nowhere else. All are empty if no limit is on, the last
        also if no limit is shared.
    """
    limits: list[dict[str, Any]] = []
    shared: list[dict[str, Any]] = []
    buckets = []
    if settings.rate_limit_per_caller:
        # In two entries, since the users of two organizations may have the same name.
        callers = [
            {"actions": [_claim("caller_organization", organization), _claim("caller", user)]}
            for organization, user in caller_claims(settings)
        ]
        limits += callers
        entries = [{"key": "caller_organization"}, {"key": "caller"}]
        bucket = _bucket(settings.rate_limit_per_caller, settings.rate_limit_per_caller_burst)
        buckets.append({"entries": entries, "token_bucket": bucket})
        shared += _with_limit(callers, bucket)
    if settings.rate_limit_per_organization:
        organizations = [
            {"actions": [_claim("organization", organization)]}
            for organization, _ in caller_claims(settings)
        ]
        limits += organizations
        entries = [{"key": "organization"}]
        bucket = _bucket(
            settings.rate_limit_per_organization, settings.rate_limit_per_organization_burst
        )
        buckets.append({"entries": entries, "token_bucket": bucket})
        shared += _with_limit(organizations, bucket)
    is_shared = settings.rate_limit_scope == "shared"
    return {
        "rate_limits": limits,
        "rate_limit_buckets": buckets,
        "shared_rate_limits": shared if is_shared else [],
        "rate_limit_timeout": f"{settings.rate_limit_timeout_seconds:.3f}s",
    }


def _with_limit(limits: list[dict[str, Any]], bucket: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns limits that say how many requests may come per second, and at once."""
    value = f"{bucket['tokens_per_fill']}/{bucket['max_tokens']}"
    entry = {"generic_key": {"descriptor_key": "limit", "descriptor_value": value}}
    return [{"actions": [*each["actions"], entry]} for each in limits]


def _claim(descriptor: str, names: list[str]) -> dict[str, Any]:
    path = [{"key": name} for name in names]
    return {
        "metadata": {
            "descriptor_key": descriptor,
            "metadata_key": {"key": _JWT_FILTER, "path": path},
            "skip_if_absent": False,
        }
    }


def _bucket(requests_per_second: int, burst: int) -> dict[str, Any]:
    return {
        "max_tokens": max(burst, requests_per_second),
        "tokens_per_fill": requests_per_second,
        "fill_interval": "1s",
    }
