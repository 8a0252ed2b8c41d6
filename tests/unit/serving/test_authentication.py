from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from agent_executor.errors import UnauthenticatedError, UnavailableError
from agent_executor.serving.authentication import (
    API_KEY_CLOCK_SKEW_SECONDS,
    MAX_CACHE_SECONDS,
    TokenVerifier,
)
from agent_executor.serving.security import SecurityContext
from agent_executor.serving.settings import LOCAL_ISSUER, IssuerSettings, ServiceSettings
from tests.unit.serving.tokens import REMOVED, FixedKeySet, Issuer, standard_claims

ISSUER = Issuer()
OTHER = Issuer(key_id="key-1")


def verifier_of(*issuers: Issuer, clock_skew_seconds: float = 30) -> TokenVerifier:
    return TokenVerifier(
        {LOCAL_ISSUER: FixedKeySet(*issuers)}, clock_skew_seconds=clock_skew_seconds
    )


def encode_part(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def unsigned_token(algorithm: str, **claims: object) -> str:
    header = encode_part({"alg": algorithm, "typ": "JWT", "kid": "key-1"})
    return f"{header}.{encode_part({**standard_claims(), **claims})}."


def token_signed_with_the_public_key() -> str:
    """The classic confusion: the public key, which everyone has, taken as a shared secret."""
    secret = ISSUER.private_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    header = encode_part({"alg": "HS256", "typ": "JWT", "kid": "key-1"})
    signed = f"{header}.{encode_part(standard_claims())}"
    signature = hmac.digest(secret, signed.encode(), hashlib.sha256)
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def tampered(token: str) -> str:
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return f"{header}.{encode_part({**claims, 'permissions': ['*']})}.{signature}"


NOW = int(time.time())

REFUSED = {
    "no header": ("", "carries no credentials"),
    "another scheme": ("Basic dXNlcjpwYXNz", "not of the form"),
    "no token": ("Bearer ", "not of the form"),
    "no scheme": (ISSUER.token(), "not of the form"),
    "no token at all": ("Bearer abc", "not a JSON Web Token"),
    "three parts of nothing": ("Bearer a.b.c", "not a JSON Web Token"),
    "deeply nested": (
        f"Bearer {encode_part({'alg': 'ES256'})}.{base64.urlsafe_b64encode(b'[' * 9000).decode()}.",
        "not a JSON Web Token",
    ),
    "too long": ("Bearer " + "a" * 20_000, "longer than"),
    "algorithm none": (f"Bearer {unsigned_token('none')}", "accepted algorithm"),
    "algorithm None": (f"Bearer {unsigned_token('None')}", "accepted algorithm"),
    "HS256 with the public key": (
        f"Bearer {token_signed_with_the_public_key()}",
        "accepted algorithm",
    ),
    "ES256 without a signature": (f"Bearer {unsigned_token('ES256')}", "signature"),
    "changed claims": (f"Bearer {tampered(ISSUER.token())}", "signature"),
    "another key of the same id": (OTHER.bearer(), "signature"),
    "a key id that is unknown": (ISSUER.bearer(header={"kid": "key-9"}), "does not publish"),
    "another algorithm than the key's": (
        Issuer("EdDSA", "key-1").bearer(),
        "does not publish",
    ),
    "another issuer": (ISSUER.bearer(iss="https://elsewhere.example"), "issuer is not trusted"),
    "no issuer": (ISSUER.bearer(iss=REMOVED), "issuer is not trusted"),
    "an issuer that is a list": (
        f"Bearer {unsigned_token('ES256', iss=[LOCAL_ISSUER])}",
        "issuer is not trusted",
    ),
    "a key id that is a list": (
        f"Bearer {encode_part({'alg': 'ES256', 'kid': ['key-1']})}.{encode_part({})}.AAAA",
        "not a JSON Web Token",
    ),
    "an algorithm that is a list": (
        f"Bearer {encode_part({'alg': ['ES256']})}.{encode_part(standard_claims())}.AAAA",
        "accepted algorithm",
    ),
    "another audience": (ISSUER.bearer(aud="another-platform"), "audience"),
    "no audience": (ISSUER.bearer(aud=REMOVED), 'no claim "aud"'),
    "expired": (ISSUER.bearer(exp=NOW - 31), "has expired"),
    "no expiry": (ISSUER.bearer(exp=REMOVED), 'no claim "exp"'),
    "an expiry that is no number": (ISSUER.bearer(exp="soon"), "malformed"),
    "an infinite expiry": (ISSUER.bearer(exp=float("inf")), "malformed"),
    "issued in the future": (ISSUER.bearer(iat=NOW + 3600), "not valid yet"),
    "not valid yet": (ISSUER.bearer(nbf=NOW + 3600), "not valid yet"),
    "no issue time": (ISSUER.bearer(iat=REMOVED), 'no claim "iat"'),
    "no organization": (ISSUER.bearer(org=REMOVED), 'no claim "org"'),
    "an empty organization": (ISSUER.bearer(org=""), '"org"'),
    "a blank organization": (ISSUER.bearer(org="  "), '"org"'),
    "an organization that is no text": (ISSUER.bearer(org=["organization-1"]), '"org"'),
    "an organization that is too long": (ISSUER.bearer(org="ü" * 65), '"org"'),
    "no user": (ISSUER.bearer(sub=REMOVED), 'no claim "sub"'),
    "an empty user": (ISSUER.bearer(sub=""), '"sub"'),
    "permissions that are a text": (ISSUER.bearer(permissions="*"), '"permissions"'),
    "a permission that is no text": (ISSUER.bearer(permissions=[{"a": 1}]), '"permissions"'),
    "too many permissions": (
        ISSUER.bearer(permissions=[f"tool:{number}" for number in range(257)]),
        '"permissions"',
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_token_that_does_not_hold_is_refused_with_a_sentence(case: str) -> None:
    authorization, sentence = REFUSED[case]
    with pytest.raises(UnauthenticatedError, match=sentence) as refusal:
        await verifier_of(ISSUER).verify(authorization)
    message = refusal.value.message
    assert message.endswith(".")
    for content in ("organization-1", "user-1", "elsewhere", "another-platform", "key-9"):
        assert content not in message
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
async def test_a_token_that_holds_names_its_caller(algorithm: str) -> None:
    issuer = Issuer(algorithm)
    security = await verifier_of(issuer).verify(issuer.bearer())
    assert security == SecurityContext(
        "organization-1", "user-1", frozenset({"run:execute", "tool:*"})
    )


async def test_the_scheme_may_be_written_in_any_case() -> None:
    security = await verifier_of(ISSUER).verify(f"bearer {ISSUER.token()}")
    assert security.user_id == "user-1"


async def test_a_missing_list_of_permissions_is_an_empty_one() -> None:
    security = await verifier_of(ISSUER).verify(ISSUER.bearer(permissions=REMOVED))
    assert security.permissions == frozenset()


async def test_one_of_several_audiences_is_enough() -> None:
    authorization = ISSUER.bearer(aud=["another-platform", "agent-executor"])
    security = await verifier_of(ISSUER).verify(authorization)
    assert security.user_id == "user-1"


async def test_the_clocks_may_differ_by_the_skew() -> None:
    authorization = ISSUER.bearer(exp=int(time.time()) - 10)
    security = await verifier_of(ISSUER, clock_skew_seconds=30).verify(authorization)
    assert security.user_id == "user-1"
    with pytest.raises(UnauthenticatedError, match="expired"):
        await verifier_of(ISSUER, clock_skew_seconds=5).verify(authorization)


async def test_a_token_without_a_key_id_is_verified_if_there_is_one_key() -> None:
    token = jwt.encode(standard_claims(), ISSUER.private_key, algorithm="ES256")
    security = await verifier_of(ISSUER).verify(f"Bearer {token}")
    assert security.user_id == "user-1"
    with pytest.raises(UnauthenticatedError, match="does not say which"):
        await verifier_of(ISSUER, Issuer(key_id="key-2")).verify(f"Bearer {token}")


async def test_a_repeated_token_is_verified_again_after_a_minute_and_not_before() -> None:
    key_set, now = FixedKeySet(ISSUER), [time.time()]
    verifier = TokenVerifier({LOCAL_ISSUER: key_set}, clock_skew_seconds=0, clock=lambda: now[0])
    authorization = ISSUER.bearer()
    first = await verifier.verify(authorization)
    now[0] += MAX_CACHE_SECONDS - 1
    assert await verifier.verify(authorization) is first
    assert key_set.asked == 1
    now[0] += 1
    await verifier.verify(authorization)
    assert key_set.asked == 2


async def test_a_kept_token_ends_with_its_expiry() -> None:
    key_set, start = FixedKeySet(ISSUER), time.time()
    now = [start]
    verifier = TokenVerifier({LOCAL_ISSUER: key_set}, clock_skew_seconds=0, clock=lambda: now[0])
    authorization = ISSUER.bearer(exp=int(start) + 20)
    await verifier.verify(authorization)
    now[0] = int(start) + 20
    await verifier.verify(authorization)
    assert key_set.asked == 2


async def test_the_issuers_of_the_settings_are_trusted_beside_the_local_one(
    tmp_path: Path,
) -> None:
    local, further = Issuer(), Issuer("RS256")
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "jwks.json").write_bytes(local.key_set())
    further_file = tmp_path / "further.json"
    further_file.write_bytes(further.key_set())
    issuer = "https://login.example"
    settings = ServiceSettings(
        data_dir=tmp_path,
        auth_issuers=(IssuerSettings(issuer=issuer, jwks_file=further_file, organizations=("*",)),),
    )
    verifier = TokenVerifier.from_settings(settings)
    assert (await verifier.verify(local.bearer(sub="ada"))).user_id == "ada"
    assert (await verifier.verify(further.bearer(iss=issuer, sub="bob"))).user_id == "bob"
    # Each issuer's keys are good for its own tokens only.
    with pytest.raises(UnauthenticatedError, match="does not publish"):
        await verifier.verify(further.bearer())


async def test_without_a_key_set_the_service_says_that_it_cannot_tell(tmp_path: Path) -> None:
    verifier = TokenVerifier.from_settings(ServiceSettings(data_dir=tmp_path))
    with pytest.raises(UnavailableError, match="cannot be read"):
        await verifier.verify(ISSUER.bearer())


class TestTokensOfApiKeys:
    """The key that a token was made of is known, and the token held to narrower times."""

    async def test_the_key_is_known_and_no_part_of_who_the_caller_is(self) -> None:
        exp = int(time.time()) + 15
        security = await verifier_of(ISSUER).verify(ISSUER.bearer(key="key-id", exp=exp))
        assert (security.api_key_id, security.expires_at) == ("key-id", exp)
        plain = await verifier_of(ISSUER).verify(ISSUER.bearer())
        assert (plain.api_key_id, plain == security) == ("", True)

    async def test_it_ends_soon_after_its_time(self) -> None:
        def ended(seconds: float) -> int:
            return int(time.time()) - int(seconds)

        late = API_KEY_CLOCK_SKEW_SECONDS + 2
        verifier = verifier_of(ISSUER)
        await verifier.verify(ISSUER.bearer(exp=ended(late)))
        await verifier.verify(ISSUER.bearer(exp=ended(1), key="key-id"))
        with pytest.raises(UnauthenticatedError, match="has expired"):
            await verifier.verify(ISSUER.bearer(exp=ended(late), key="key-id"))
        # Nor is it taken by a service whose clock is so slow that it would take it for longer.
        with pytest.raises(UnauthenticatedError, match="not valid yet"):
            await verifier.verify(ISSUER.bearer(iat=time.time() + late, key="key-id"))
        with pytest.raises(UnauthenticatedError, match="has expired"):
            await verifier_of(ISSUER, clock_skew_seconds=0).verify(
                ISSUER.bearer(exp=ended(1), key="key-id")
            )

    async def test_only_the_local_issuer_knows_of_keys(self) -> None:
        issuer = "https://login.example"
        verifier = TokenVerifier({issuer: FixedKeySet(OTHER)}, clock_skew_seconds=30)
        assert (await verifier.verify(OTHER.bearer(iss=issuer, key="key-id"))).api_key_id == ""

    @pytest.mark.parametrize("key", ["", " ", 7, None, ["key-id"], "x" * 129])
    async def test_a_claim_that_names_no_key_is_refused(self, key: object) -> None:
        with pytest.raises(UnauthenticatedError, match='"key"'):
            await verifier_of(ISSUER).verify(ISSUER.bearer(key=key))
