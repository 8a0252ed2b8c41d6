"""Whose tokens the gateway believes, as Envoy's `jwt_authn` filter is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agent_executor.cli.gateway_settings import GatewaySettings
from agent_executor.cli.gateway_tls import transport_socket
from agent_executor.serving.key_sets import discovered_jwks_uri
from agent_executor.serving.settings import LOCAL_ISSUER, TOKEN_AUDIENCE
from agent_executor.serving.startup import StartupError

# The claims of a verified token, among what the filter `jwt_authn` tells the filters after it.
_LOCAL = "local"
TOKEN_CACHE_SIZE = 1_000
JWKS_CACHE_SECONDS = 300
JWKS_TIMEOUT_SECONDS = 5


def token_issuers(settings: GatewaySettings) -> dict[str, Any]:
    """Returns the template's values for the local issuer and the further ones.

    Returns:
        `token_providers` and `token_requirement` for the filter, and `jwks_clusters`, one for each
        issuer whose keys are fetched.

    Raises:
        StartupError: An issuer does not say where its keys are.
    """
    local_keys = _local_keys(settings.jwks_file)
    providers = {_LOCAL: _provider(settings, LOCAL_ISSUER, local_keys, TOKEN_AUDIENCE)}
    clusters = []
    for index, issuer in enumerate(settings.auth_issuers):
        name = _name(index)
        if issuer.jwks_file is None:
            jwks_uri = issuer.jwks_uri or _discovered(issuer.issuer)
            clusters.append(_cluster(name, jwks_uri, settings.ca_file))
            keys = _remote_keys(name, jwks_uri)
        else:
            keys = _local_keys(issuer.jwks_file)
        providers[name] = _provider(settings, issuer.issuer, keys, issuer.audience)
    for name, provider in providers.items():
        # Where the rate limits find who calls.
        provider["payload_in_metadata"] = name
    return {
        "token_providers": providers,
        "token_requirement": _any_of(providers),
        "jwks_clusters": clusters,
    }


def caller_claims(settings: GatewaySettings) -> Iterator[tuple[list[str], list[str]]]:
    """Yields where a verified token of each issuer says its organization and its user.

    Each is a path in the metadata of `jwt_authn`. The tokens of an issuer with one organization for
    all have none of their own; they share the issuer's name.
    """
    yield [_LOCAL, "org"], [_LOCAL, "sub"]
    for index, issuer in enumerate(settings.auth_issuers):
        organization = "iss" if issuer.organization else issuer.organization_claim
        yield (
            [_name(index), *_claim_path(organization)],
            [_name(index), *_claim_path(issuer.user_claim)],
        )


def _claim_path(claim: str) -> list[str]:
    # A claim that is named by a URL has dots of its own.
    return [claim] if "/" in claim else claim.split(".")


def _name(index: int) -> str:
    return f"issuer-{index}"


def _any_of(providers: Mapping[str, Any]) -> dict[str, Any]:
    names = [{"provider_name": name} for name in providers]
    return names[0] if len(names) == 1 else {"requires_any": {"requirements": names}}


def _discovered(issuer: str) -> str:
    """Asks an issuer where its keys are, since Envoy has to know that from the start.

    Raises:
        StartupError: It does not say.
    """
    try:
        return discovered_jwks_uri(issuer)
    except (OSError, ValueError) as error:
        raise StartupError(
            f"The issuer {issuer} does not say where its keys are ({error}); set its jwks_uri."
        ) from error


def _provider(
    settings: GatewaySettings, issuer: str, keys: Mapping[str, Any], audience: str
) -> dict[str, Any]:
    return {
        "issuer": issuer,
        "audiences": [audience],
        "require_expiration": True,
        "clock_skew_seconds": settings.auth_clock_skew_seconds,
        "forward": True,
        # Without this a token in the query string counts too, and would end up in access logs.
        "from_headers": [{"name": "authorization", "value_prefix": "Bearer "}],
        "jwt_cache_config": {"jwt_cache_size": TOKEN_CACHE_SIZE},
        **keys,
    }


def _local_keys(jwks_file: Path) -> dict[str, Any]:
    return {"local_jwks": {"filename": str(jwks_file)}}


def _remote_keys(cluster: str, jwks_uri: str) -> dict[str, Any]:
    uri = {"uri": jwks_uri, "cluster": cluster, "timeout": f"{JWKS_TIMEOUT_SECONDS}s"}
    # The listener opens at once: an issuer that is away concerns only its own tokens.
    return {
        "remote_jwks": {
            "http_uri": uri,
            "cache_duration": f"{JWKS_CACHE_SECONDS}s",
            "async_fetch": {"fast_listener": True},
        }
    }


def _cluster(name: str, jwks_uri: str, ca_file: Path) -> dict[str, Any]:
    parts = urlsplit(jwks_uri)
    host = parts.hostname or ""
    is_encrypted = parts.scheme == "https"
    port = parts.port or (443 if is_encrypted else 80)
    endpoint = {"address": {"socket_address": {"address": host, "port_value": port}}}
    cluster: dict[str, Any] = {
        "name": name,
        "type": "STRICT_DNS",
        "connect_timeout": f"{JWKS_TIMEOUT_SECONDS}s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
        },
    }
    if is_encrypted:
        cluster["transport_socket"] = transport_socket(host, ca_file)
    return cluster
