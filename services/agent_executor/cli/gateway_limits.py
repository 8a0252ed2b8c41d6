"""How often a caller and an organization may call, as Envoy's `local_ratelimit` filter is told."""

from __future__ import annotations

from typing import Any

from agent_executor.cli.gateway_issuers import caller_claims
from agent_executor.cli.gateway_settings import GatewaySettings

_JWT_FILTER = "envoy.filters.http.jwt_authn"


def rate_limits(settings: GatewaySettings) -> dict[str, Any]:
    """Returns the template's values for the limits that are on.

    A bucket without a value is made anew for each value that comes, so each caller has its own.

    Returns:
        `rate_limits`, which says what of a token counts, and `rate_limit_buckets`; both empty if no
        limit is on.
    """
    limits = []
    buckets = []
    if settings.rate_limit_per_caller:
        # In two entries, since the users of two organizations may have the same name.
        limits += [
            {"actions": [_claim("caller_organization", organization), _claim("caller", user)]}
            for organization, user in caller_claims(settings)
        ]
        entries = [{"key": "caller_organization"}, {"key": "caller"}]
        bucket = _bucket(settings.rate_limit_per_caller, settings.rate_limit_per_caller_burst)
        buckets.append({"entries": entries, "token_bucket": bucket})
    if settings.rate_limit_per_organization:
        limits += [
            {"actions": [_claim("organization", organization)]}
            for organization, _ in caller_claims(settings)
        ]
        entries = [{"key": "organization"}]
        bucket = _bucket(
            settings.rate_limit_per_organization, settings.rate_limit_per_organization_burst
        )
        buckets.append({"entries": entries, "token_bucket": bucket})
    return {"rate_limits": limits, "rate_limit_buckets": buckets}


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
