"""Tokens of further issuers: their keys over HTTP, and what their claims may say here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agent_executor.errors import UnauthenticatedError, UnavailableError
from agent_executor.serving.authentication import TokenVerifier
from agent_executor.serving.key_sets import (
    MAX_AGE_SECONDS,
    MIN_SECONDS_BETWEEN_FETCHES,
    UriKeySet,
    fetch_discovered_key_set,
)
from agent_executor.serving.settings import IssuerSettings, ServiceSettings
from tests.issuer_server import IssuerServer, issuer_server
from tests.unit.serving.tokens import REMOVED, Issuer

KEY = Issuer(key_id="first")
NEW_KEY = Issuer(key_id="second")


@pytest.fixture
def server() -> Iterator[IssuerServer]:
    with issuer_server() as running:
        running.keys = [KEY.jwk]
        yield running


def verifier_of(tmp_path: Path, server: IssuerServer, **trusted: Any) -> TokenVerifier:
    """Trusts the issuer, which is asked where its keys are."""
    issuer = IssuerSettings(issuer=server.url, **trusted)
    return TokenVerifier.from_settings(ServiceSettings(data_dir=tmp_path, auth_issuers=(issuer,)))


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """Returns the seconds."""
        return self.now


class TestKeys:
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def verifier(self, server: IssuerServer, clock: Clock) -> TokenVerifier:
        keys = UriKeySet(server.url, clock, fetch_discovered_key_set)
        issuer = IssuerSettings(issuer=server.url, organizations=("*",))
        return TokenVerifier({server.url: keys}, clock_skew_seconds=30, issuers=(issuer,))

    async def test_the_issuer_says_where_they_are(
        self, server: IssuerServer, verifier: TokenVerifier
    ) -> None:
        for user in ("ada", "bob"):
            security = await verifier.verify(KEY.bearer(iss=server.url, sub=user))
            assert security.user_id == user
        # Once for both.
        assert server.asked == ["/.well-known/openid-configuration", "/keys"]

    async def test_a_new_key_is_fetched_and_a_withdrawn_one_is_not_kept(
        self, server: IssuerServer, verifier: TokenVerifier, clock: Clock
    ) -> None:
        await verifier.verify(KEY.bearer(iss=server.url))
        server.keys = [NEW_KEY.jwk]
        with pytest.raises(UnauthenticatedError, match="does not publish"):
            await verifier.verify(NEW_KEY.bearer(iss=server.url))
        clock.now += MIN_SECONDS_BETWEEN_FETCHES
        await verifier.verify(NEW_KEY.bearer(iss=server.url))
        with pytest.raises(UnauthenticatedError, match="does not publish"):
            await verifier.verify(KEY.bearer(iss=server.url, sub="another"))

    async def test_those_of_before_are_in_force_while_it_is_away(
        self, server: IssuerServer, verifier: TokenVerifier, clock: Clock
    ) -> None:
        await verifier.verify(KEY.bearer(iss=server.url))
        server.is_away = True
        clock.now += MAX_AGE_SECONDS
        await verifier.verify(KEY.bearer(iss=server.url, sub="another"))
        assert len(server.asked) == 3

    async def test_without_any_nobody_can_tell(
        self, server: IssuerServer, verifier: TokenVerifier, clock: Clock
    ) -> None:
        server.is_away = True
        with pytest.raises(UnavailableError):
            await verifier.verify(KEY.bearer(iss=server.url))
        server.is_away = False
        clock.now += MIN_SECONDS_BETWEEN_FETCHES
        await verifier.verify(KEY.bearer(iss=server.url))

    async def test_the_configuration_of_another_issuer_does_not_count(
        self, server: IssuerServer, verifier: TokenVerifier
    ) -> None:
        server.says_it_is = "https://another.example"
        with pytest.raises(UnavailableError):
            await verifier.verify(KEY.bearer(iss=server.url))
        assert "/keys" not in server.asked

    async def test_clocks_may_differ_a_little(
        self, server: IssuerServer, verifier: TokenVerifier
    ) -> None:
        now = int(time.time())
        await verifier.verify(KEY.bearer(iss=server.url, iat=now + 20, exp=now + 60))
        await verifier.verify(KEY.bearer(iss=server.url, exp=now - 20))
        for times in ({"iat": now + 45, "exp": now + 90}, {"exp": now - 45}):
            with pytest.raises(UnauthenticatedError):
                await verifier.verify(KEY.bearer(iss=server.url, **times))


class TestClaims:
    async def test_roles_and_words_are_permissions(
        self, tmp_path: Path, server: IssuerServer
    ) -> None:
        verifier = verifier_of(
            tmp_path,
            server,
            audience="their-client",
            organization_claim="https://acme.example/tenant",
            organizations=["acme"],
            user_claim="email",
            permissions_claim="scope",
            roles_claim="realm_access.roles",
            roles={"author": ["agent:read", "agent:write"], "accountant": ["ledger:read"]},
        )
        token = KEY.bearer(
            iss=server.url,
            aud=["their-client", "another"],
            org="another",
            sub=REMOVED,
            email="ada@acme.example",
            permissions=["*"],
            scope="openid run:read",
            realm_access={"roles": ["author", "admin"]},
            **{"https://acme.example/tenant": "acme"},
        )
        security = await verifier.verify(token)
        assert (security.organization_id, security.user_id) == ("acme", "ada@acme.example")
        expected = {"openid", "run:read", "agent:read", "agent:write"}
        assert security.permissions == expected

    async def test_an_issuer_speaks_for_its_own_organizations_only(
        self, tmp_path: Path, server: IssuerServer
    ) -> None:
        verifier = verifier_of(tmp_path, server, organizations=["acme", "globex"])
        assert (await verifier.verify(KEY.bearer(iss=server.url, org="globex"))).organization_id
        for organization in ("default", "ACME", "acme ", "*", ["acme"], 1, ""):
            with pytest.raises(UnauthenticatedError):
                await verifier.verify(KEY.bearer(iss=server.url, org=organization))

    async def test_an_issuer_of_one_organization_cannot_name_another(
        self, tmp_path: Path, server: IssuerServer
    ) -> None:
        verifier = verifier_of(tmp_path, server, organization="acme")
        security = await verifier.verify(KEY.bearer(iss=server.url, org="default"))
        assert security.organization_id == "acme"

    @pytest.mark.parametrize(
        ("claims", "said"),
        [
            ({"org": REMOVED}, 'no claim "org"'),
            ({"sub": REMOVED}, 'no claim "sub"'),
            ({"sub": ["ada"]}, "malformed"),
            ({"aud": "another"}, "not meant for this platform"),
            ({"exp": REMOVED}, 'no claim "exp"'),
            ({"permissions": {"run:read": True}}, "neither a list nor a text"),
            ({"permissions": [1]}, "not a text"),
            ({"permissions": ["x"] * 257}, "at most 256"),
        ],
    )
    async def test_claims_that_are_no_good_are_refused(
        self, tmp_path: Path, server: IssuerServer, claims: dict[str, Any], said: str
    ) -> None:
        verifier = verifier_of(tmp_path, server, organizations=["*"])
        with pytest.raises(UnauthenticatedError, match=said):
            await verifier.verify(KEY.bearer(iss=server.url, **claims))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"issuer": "https://a.example"}, "either organization"),
        ({"issuer": "https://a.example", "organization": "a", "organizations": ["b"]}, "either"),
        ({"issuer": "somebody", "organization": "a"}, "no URL"),
        ({"issuer": "agent-executor", "organization": "a", "jwks_file": "/keys"}, "local one"),
        (
            {
                "issuer": "x",
                "organization": "a",
                "jwks_file": "/keys",
                "jwks_uri": "https://a.example",
            },
            "either jwks_file or",
        ),
    ],
)
def test_issuers_that_cannot_be_trusted_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        IssuerSettings(**fields)
