"""Verifies bearer tokens: JSON Web Tokens of the local issuer and of those that are configured.

A token's content never appears in an error, and so in no log and no answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import jwt

from agent_executor.errors import UnauthenticatedError
from agent_executor.serving.claims import local_claims
from agent_executor.serving.key_sets import (
    ACCEPTED_ALGORITHMS,
    FileKeySet,
    KeySet,
    UriKeySet,
    fetch_discovered_key_set,
)
from agent_executor.serving.security import SecurityContext
from agent_executor.serving.settings import (
    LOCAL_ISSUER,
    TOKEN_AUDIENCE,
    IssuerSettings,
    ServiceSettings,
)
from agent_executor.serving.token_signing import API_KEY_CLAIM
from agent_executor.serving.verified_cache import VerifiedCache

MAX_TOKEN_BYTES: Final = 16_384
MAX_CACHED_TOKENS: Final = 4_096
# So that a key which its issuer withdraws stops working within this time.
MAX_CACHE_SECONDS: Final = 60.0

# How far clocks may differ for a token that was made of an API key, whatever else is allowed: such a
# token holds for 15 s, and what is made of a revoked key is to be dead after 30.
API_KEY_CLOCK_SKEW_SECONDS: Final = 5.0

# The limits of agent_executor.api.call.v1.SecurityContext, into which the claims go.
MAX_NAME_BYTES: Final = 128
MAX_PERMISSIONS: Final = 256

_REQUIRED_CLAIMS: Final = ["iss", "aud", "sub", "org", "iat", "exp"]
# Those that every issuer calls the same.
_STANDARD_CLAIMS: Final = ["iss", "aud", "iat", "exp"]


class TokenVerifier:
    """Turns an ``authorization`` header into the caller that it proves.

    Args:
        key_sets: The keys of each issuer that is trusted, by the ``iss`` of its tokens.
        clock_skew_seconds: How far the issuer's clock may be off.
        issuers: What is said of those that are not the local one.
        clock: Seconds since 1970-01-01 UTC.
    """

    def __init__(
        self,
        key_sets: Mapping[str, KeySet],
        *,
        clock_skew_seconds: float,
        issuers: Iterable[IssuerSettings] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._key_sets = dict(key_sets)
        self._issuers = {issuer.issuer: issuer for issuer in issuers}
        self._clock_skew_seconds = clock_skew_seconds
        self._clock = clock
        self._verified: VerifiedCache[str, SecurityContext] = VerifiedCache(MAX_CACHED_TOKENS)

    @classmethod
    def from_settings(cls, settings: ServiceSettings) -> TokenVerifier:
        """Trusts the local issuer and those of the settings."""
        key_sets: dict[str, KeySet] = {LOCAL_ISSUER: FileKeySet(settings.jwks_file)}
        for issuer in settings.auth_issuers:
            key_sets[issuer.issuer] = _key_set_of(issuer)
        return cls(
            key_sets,
            clock_skew_seconds=settings.auth_clock_skew_seconds,
            issuers=settings.auth_issuers,
        )

    async def verify(self, authorization: str) -> SecurityContext:
        """Returns the caller that the header ``Bearer <token>`` proves.

        Raises:
            UnauthenticatedError: The header is missing or malformed, or the token does not hold.
            UnavailableError: The issuer's keys cannot be had at present.
        """
        now = self._clock()
        security = self._verified.get(authorization, now)
        if security is not None:
            return security
        claims = await self._verified_claims(_bearer_token(authorization))
        security = _security_context(claims)
        skew_seconds = self._clock_skew_seconds
        if security.api_key_id:
            skew_seconds = min(skew_seconds, API_KEY_CLOCK_SKEW_SECONDS)
            _check_times(claims, now, skew_seconds)
        ends_at = security.expires_at + skew_seconds
        self._verified.put(authorization, security, min(ends_at, now + MAX_CACHE_SECONDS))
        return security

    async def _verified_claims(self, token: str) -> dict[str, Any]:
        header, issuer = _unverified(token)
        algorithm = header.get("alg")
        if algorithm not in ACCEPTED_ALGORITHMS:
            accepted = ", ".join(ACCEPTED_ALGORITHMS)
            raise UnauthenticatedError(
                f"The token is not signed with an accepted algorithm: {accepted}."
            )
        key_set = self._key_sets.get(issuer) if isinstance(issuer, str) else None
        if key_set is None:
            raise UnauthenticatedError("The token's issuer is not trusted here.")
        keys = await key_set.find(header.get("kid"))
        # The key says which algorithm it is for; a token cannot choose another one for it.
        fitting = [key for key in keys if key.algorithm_name == algorithm]
        if not fitting:
            raise UnauthenticatedError(
                "The token is signed with a key its issuer does not publish."
            )
        if len(fitting) > 1:
            raise UnauthenticatedError(
                "The token does not say which of its issuer's keys it needs."
            )
        further = self._issuers.get(str(issuer))
        if further is None:
            return self._decode(token, fitting[0], str(issuer), TOKEN_AUDIENCE, _REQUIRED_CLAIMS)
        claims = self._decode(token, fitting[0], further.issuer, further.audience, _STANDARD_CLAIMS)
        return local_claims(claims, further)

    def _decode(
        self, token: str, key: jwt.PyJWK, issuer: str, audience: str, required: list[str]
    ) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=audience,
                issuer=issuer,
                leeway=self._clock_skew_seconds,
                options={"require": required},
            )
        except jwt.InvalidSignatureError:
            raise UnauthenticatedError("The token's signature does not hold.") from None
        except jwt.ExpiredSignatureError:
            raise UnauthenticatedError("The token has expired.") from None
        except jwt.ImmatureSignatureError:
            raise UnauthenticatedError("The token is not valid yet.") from None
        except jwt.InvalidAudienceError:
            raise UnauthenticatedError(
                f'The token is not meant for this platform: its audience is not "{audience}".'
            ) from None
        except jwt.MissingRequiredClaimError as error:
            # The claim is one of our own list, not of the token.
            raise UnauthenticatedError(f'The token has no claim "{error.claim}".') from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
            raise UnauthenticatedError("The token's claims are malformed.") from None


def _key_set_of(issuer: IssuerSettings) -> KeySet:
    if issuer.jwks_file is not None:
        return FileKeySet(issuer.jwks_file)
    if issuer.is_discovered:
        return UriKeySet(issuer.issuer, fetch=fetch_discovered_key_set)
    return UriKeySet(issuer.jwks_uri)


def _bearer_token(authorization: str) -> str:
    if not authorization:
        raise UnauthenticatedError(
            "The call carries no credentials: send the header `authorization: Bearer <token>`."
        )
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise UnauthenticatedError("The authorization header is not of the form `Bearer <token>`.")
    if len(token) > MAX_TOKEN_BYTES:
        raise UnauthenticatedError(f"The token is longer than {MAX_TOKEN_BYTES} bytes.")
    return token


def _unverified(token: str) -> tuple[dict[str, Any], object]:
    """Returns the header and the issuer that the token claims, to find its key by."""
    try:
        decoded = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise UnauthenticatedError("The token is not a JSON Web Token.") from None
    return decoded["header"], decoded["payload"].get("iss")


def _check_times(claims: Mapping[str, Any], now: float, skew_seconds: float) -> None:
    """Holds a token of an API key to its own times, which are narrower than those of others."""
    if now >= float(claims["exp"]) + skew_seconds:
        raise UnauthenticatedError("The token has expired.")
    if now < float(claims["iat"]) - skew_seconds:
        raise UnauthenticatedError("The token is not valid yet.")


def _security_context(claims: Mapping[str, Any]) -> SecurityContext:
    """Maps the claims of a verified token; a missing list of permissions is an empty one."""
    permissions = claims.get("permissions", [])
    if not isinstance(permissions, list) or len(permissions) > MAX_PERMISSIONS:
        raise UnauthenticatedError(
            f'The token\'s claim "permissions" is not a list of at most {MAX_PERMISSIONS}.'
        )
    return SecurityContext(
        organization_id=_name(claims["org"], "org"),
        user_id=_name(claims["sub"], "sub"),
        permissions=frozenset(_name(permission, "permissions") for permission in permissions),
        api_key_id=_api_key_id(claims),
        expires_at=float(claims["exp"]),
    )


def _api_key_id(claims: Mapping[str, Any]) -> str:
    """Returns the key behind a token; only the local issuer knows of API keys."""
    if claims["iss"] != LOCAL_ISSUER or API_KEY_CLAIM not in claims:
        return ""
    return _name(claims[API_KEY_CLAIM], API_KEY_CLAIM)


def _name(value: object, claim: str) -> str:
    if isinstance(value, str) and value.strip() and len(value.encode()) <= MAX_NAME_BYTES:
        return value
    raise UnauthenticatedError(
        f'The token\'s claim "{claim}" holds something that is not a text of '
        f"1 to {MAX_NAME_BYTES} bytes."
    )
