"""Whose pages may call the API from a browser, as Envoy's `cors` filter is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

PREFLIGHT_SECONDS = 600
ALLOWED_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ALLOWED_HEADERS = (
    "authorization",
    "content-type",
    "grpc-timeout",
    "idempotency-key",
    "last-event-id",
    "traceparent",
    "x-grpc-web",
    "x-request-id",
    "x-user-agent",
)
EXPOSED_HEADERS = (
    "allow",
    "grpc-message",
    "grpc-status",
    "grpc-status-details-bin",
    "retry-after",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-request-id",
)


def allowed_origins(origins: Sequence[str]) -> dict[str, Any]:
    """Returns the template's values for the origins that may call; without any, nothing is said.

    Cookies are not for other origins: a page of one sends a bearer token or nothing.

    Returns:
        `cors_policy`, `virtual_host_filters` with it, and `preflight_routes`, which give a preflight
        a route that the filter looks at; it answers them all itself.
    """
    if not origins:
        return {"cors_policy": None, "virtual_host_filters": None, "preflight_routes": []}
    policy = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
        "allow_origin_string_match": [_matcher(origin) for origin in origins],
        "allow_methods": ", ".join(ALLOWED_METHODS),
        "allow_headers": ", ".join(ALLOWED_HEADERS),
        "expose_headers": ", ".join(EXPOSED_HEADERS),
        "max_age": str(PREFLIGHT_SECONDS),
        "allow_credentials": False,
        "forward_not_matching_preflights": False,
    }
    preflight = {
        "match": {
            "prefix": "/",
            "headers": [
                {"name": ":method", "string_match": {"exact": "OPTIONS"}},
                {"name": "origin", "present_match": True},
                {"name": "access-control-request-method", "present_match": True},
            ],
        },
        "route": {"cluster": "executor"},
    }
    return {
        "cors_policy": policy,
        "virtual_host_filters": {"envoy.filters.http.cors": policy},
        "preflight_routes": [preflight],
    }


def _matcher(origin: str) -> dict[str, Any]:
    return {"safe_regex": {"regex": ".*"}} if origin == "*" else {"exact": origin}
