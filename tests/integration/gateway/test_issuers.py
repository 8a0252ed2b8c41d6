"""Tokens of further issuers, whose keys are fetched."""

from __future__ import annotations

import json
import time
from pathlib import Path

import jwt
import pytest

from agent_executor.cli.gateway import write_configuration
from agent_executor.cli.gateway_settings import GatewaySettings
from agent_executor.cli.issuer import new_private_key, public_jwk
from agent_executor.serving.settings import TOKEN_AUDIENCE, IssuerSettings
from agent_executor.serving.startup import StartupError
from tests.integration.gateway.running_gateway import running_gateway, until
from tests.issuer_server import issuer_server


def test_tokens_of_a_further_issuer_are_believed(tmp_path: Path) -> None:
    # The issuer itself is asked where its keys are.
    key = new_private_key()
    jwk = public_jwk(key)
    now = int(time.time())
    with issuer_server() as issuer:
        issuer.keys = [jwk]
        claims = {
            "iss": issuer.url,
            "aud": "their-client",
            "sub": "ada",
            "iat": now,
            "exp": now + 60,
        }
        token = jwt.encode(claims, key, algorithm="ES256", headers={"kid": jwk["kid"]})
        trusted = IssuerSettings(
            issuer=issuer.url, audience="their-client", organization="acme", user_claim="sub"
        )
        with running_gateway(tmp_path, auth_issuers=(trusted,)) as gateway:
            until(lambda: gateway.call("GET", "/api/v1/agents/a", token=token).status == 200)
            assert gateway.call("GET", "/api/v1/agents/a").status == 200
            forged = jwt.encode(claims, new_private_key(), "ES256", {"kid": jwk["kid"]})
            assert gateway.call("GET", "/api/v1/agents/a", token=forged).status == 401


def test_its_callers_have_limits_by_its_own_claims(tmp_path: Path) -> None:
    key = new_private_key()
    jwk = public_jwk(key)
    keys = tmp_path / "their-keys.json"
    keys.write_text(json.dumps({"keys": [jwk]}), encoding="utf-8")
    trusted = IssuerSettings(
        issuer="https://login.example",
        jwks_file=keys,
        organizations=("acme",),
        organization_claim="tenant.id",
        user_claim="email",
    )
    with running_gateway(
        tmp_path, auth_issuers=(trusted,), rate_limit_per_caller=1, rate_limit_per_caller_burst=3
    ) as gateway:

        def status(email: str, organization: str) -> int:
            now = int(time.time())
            claims = {
                "iss": trusted.issuer,
                "aud": TOKEN_AUDIENCE,
                "exp": now + 60,
                "tenant": {"id": organization},
                "email": email,
                # What another issuer's tokens say is nothing here.
                "org": "acme",
                "sub": "the same",
            }
            token = jwt.encode(claims, key, algorithm="ES256", headers={"kid": jwk["kid"]})
            return gateway.call("GET", "/api/v1/agents/a", token=token).status

        until(lambda: status("ada@example.com", "acme") == 429)
        assert status("bob@example.com", "acme") == 200
        assert status("ada@example.com", "other") == 200


def test_an_issuer_that_does_not_say_where_its_keys_are_is_named(tmp_path: Path) -> None:
    with issuer_server() as issuer:
        issuer.says_it_is = "https://another.example"
        trusted = IssuerSettings(issuer=issuer.url, organization="acme")
        settings = GatewaySettings(auth_issuers=(trusted,))
        with pytest.raises(StartupError, match=f"{issuer.url} does not say where its keys are"):
            write_configuration(tmp_path / "envoy.yaml", settings)
