"""Every kind of credentials that must not let anybody in."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization

from agent_executor.api.call.v1 import grant_pb2
from agent_executor.cli.issuer import TokenClaims, issue_token, new_private_key, public_jwk
from agent_executor.serving.grants import GRANT_METADATA_KEY, ServiceKey
from tests.platforms import RunningPlatform

Shown = tuple[tuple[str, str | bytes], ...]


def bearer(token: str) -> Shown:
    return (("authorization", f"Bearer {token}"),)


def claims_of(platform: RunningPlatform, **changes: Any) -> dict[str, Any]:
    """Returns the claims of a good token with changes; None removes one."""
    claims = jwt.decode(platform.token(), options={"verify_signature": False}) | changes
    return {name: value for name, value in claims.items() if value is not None}


def with_claims(platform: RunningPlatform, **changes: Any) -> str:
    """Returns a token of the local issuer whose claims are changed; None removes one."""
    return signed(platform, claims_of(platform, **changes))


def with_header(platform: RunningPlatform, **changes: Any) -> str:
    """Returns a token of the local issuer whose header is changed."""
    return signed(platform, claims_of(platform), **changes)


def signed(platform: RunningPlatform, claims: Mapping[str, Any], **header: Any) -> str:
    own = {"kid": jwt.get_unverified_header(platform.token())["kid"]}
    key = platform.keys.issuer.read_bytes()
    return jwt.encode(dict(claims), key, algorithm="ES256", headers={**own, **header})


def unsigned(platform: RunningPlatform, algorithm: str) -> str:
    """Returns a token that says that it needs no signature, or has none of its kind."""
    _, claims, _ = platform.token().split(".")
    header = base64.urlsafe_b64encode(f'{{"alg":"{algorithm}","typ":"JWT"}}'.encode())
    return f"{header.rstrip(b'=').decode()}.{claims}."


def signed_with_the_public_key(platform: RunningPlatform) -> str:
    """The classic trick: HS256, with the public key as its secret."""
    private = serialization.load_pem_private_key(platform.keys.issuer.read_bytes(), password=None)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    kid = jwt.get_unverified_header(platform.token())["kid"]
    signing = jwt.PyJWS()
    # PyJWT itself refuses to sign with a public key.
    signing.get_algorithm_by_name("HS256").prepare_key = lambda key: key  # type: ignore[method-assign]
    payload = jwt.encode(claims_of(platform), "x" * 32, algorithm="HS256").split(".")[1]
    content = base64.urlsafe_b64decode(payload + "==")
    return signing.encode(content, public, algorithm="HS256", headers={"kid": kid})


def of_another_platform(platform: RunningPlatform, **header: Any) -> str:
    """Returns a token of an issuer of the same name, which has another key."""
    key = new_private_key()
    header.setdefault("kid", public_jwk(key)["kid"])
    return jwt.encode(claims_of(platform), key, algorithm="ES256", headers=header)


def with_its_own_key(platform: RunningPlatform) -> str:
    """Returns a token that brings the key by which it is to be verified."""
    key = new_private_key()
    jwk = public_jwk(key)
    header = {"kid": jwk["kid"], "jwk": jwk, "jku": "http://127.0.0.1:1/keys"}
    return jwt.encode(claims_of(platform), key, algorithm="ES256", headers=header)


def grant(platform: RunningPlatform) -> Shown:
    """Returns what only services show each other."""
    caller = grant_pb2.SecurityContext(organization_id="o", user_id="u", permissions=["*"])
    made = grant_pb2.Grant(
        audience="executor",
        security_context=caller,
        expires_at_unix_ms=int((time.time() + 60) * 1000),
    )
    key = ServiceKey.load(platform.keys.service)
    return ((GRANT_METADATA_KEY, key.sign_grant(made).SerializeToString()),)


def two(platform: RunningPlatform, *tokens: str) -> Shown:
    return tuple(shown for token in tokens for shown in bearer(token))


def api_key(platform: RunningPlatform, *, is_revoked: bool = False) -> str:
    """Returns an API key that there is not any more, or never was."""
    if not is_revoked:
        return "aek_" + "A" * 43
    client = platform.client()
    made = client.post("/api/v1/api-keys", {"name": "lost"}).body
    key: str = made["key"]
    assert platform.client(key).get("/api/v1/caller").status == 200
    assert client.delete(f"/api/v1/api-keys/{made['api_key']['id']}").status == 200
    return key


@dataclass(frozen=True, slots=True)
class Kind:
    """Credentials of one kind, and how the gateway refuses them; services say UNAUTHENTICATED.

    Attributes:
        make: Makes the headers.
        status: The gateway's HTTP status.
        code: The code in its answer.
    """

    make: Callable[[RunningPlatform], Shown]
    status: int = 401
    code: str = "UNAUTHENTICATED"


def _token(make: Callable[[RunningPlatform], str], *refusal: Any) -> Kind:
    return Kind(lambda platform: bearer(make(platform)), *refusal)


def _changed(**claims: Any) -> Kind:
    return _token(lambda platform: with_claims(platform, **claims))


def _now(seconds: int = 0) -> int:
    return int(time.time()) + seconds


BAD_CREDENTIALS: dict[str, Kind] = {
    "nothing": Kind(lambda _: ()),
    "an empty token": Kind(lambda _: (("authorization", "Bearer "),)),
    "another scheme": Kind(lambda platform: (("authorization", f"Basic {platform.token()}"),)),
    "no scheme": Kind(lambda platform: (("authorization", platform.token()),)),
    "no token at all": _token(lambda _: "abc"),
    "almost a token": _token(lambda _: "e30.e30.e30"),
    "cut off": _token(lambda platform: platform.token()[:-10]),
    "expired": _token(lambda platform: with_claims(platform, exp=_now(-120))),
    "not valid yet": _token(lambda platform: with_claims(platform, nbf=_now(3600))),
    "issued in the future": _token(lambda platform: with_claims(platform, iat=_now(3600))),
    "without expiry": _changed(exp=None),
    "without issuer": _changed(iss=None),
    "without time of issue": _changed(iat=None),
    "without user": _changed(sub=None),
    "without organization": _changed(org=None),
    "with an empty organization": _changed(org=" "),
    "with an organization that is no text": _changed(org=["default"]),
    "with permissions that are no list": _changed(permissions="*"),
    "of another issuer": _changed(iss="https://issuer.example"),
    "for another audience": _token(
        lambda platform: with_claims(platform, aud="another-platform"), 403, "PERMISSION_DENIED"
    ),
    "for no audience": _token(
        lambda platform: with_claims(platform, aud=None), 403, "PERMISSION_DENIED"
    ),
    "of another platform's issuer": _token(of_another_platform),
    "of another key under our key's id": _token(
        lambda platform: of_another_platform(
            platform, kid=jwt.get_unverified_header(platform.token())["kid"]
        )
    ),
    "with its own key": _token(with_its_own_key),
    "of a key id that is unknown": _token(lambda platform: with_header(platform, kid="unknown")),
    "of a key id that is a path": _token(
        lambda platform: with_header(platform, kid="../../../../dev/null")
    ),
    "not signed": _token(lambda platform: unsigned(platform, "none")),
    "not signed, in another spelling": _token(lambda platform: unsigned(platform, "NoNe")),
    "signed with nothing": _token(lambda platform: unsigned(platform, "ES256")),
    "signed with what is public": _token(signed_with_the_public_key),
    "issued by nobody": _token(lambda _: issue_token(new_private_key(), TokenClaims())),
    "a grant": Kind(grant),
    "a bad token before a good one": Kind(
        lambda platform: two(platform, "e30.e30.e30", platform.token())
    ),
    "a good token before a bad one": Kind(
        lambda platform: two(platform, platform.token(), "e30.e30.e30")
    ),
    "a good token twice": Kind(lambda platform: two(platform, platform.token(), platform.token())),
    "an API key that never was": _token(api_key),
    "a revoked API key": _token(lambda platform: api_key(platform, is_revoked=True)),
}

# What is shown to every route and method. The others, which are refused at the same place, are shown
# to one of each service.
ESSENTIAL = (
    *("nothing", "of another key under our key's id", "expired", "for another audience"),
    *("of another issuer", "not signed", "a revoked API key"),
)
