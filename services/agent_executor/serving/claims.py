"""What the claims of an issuer mean here: whose organization, which user, which permissions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agent_executor.errors import UnauthenticatedError
from agent_executor.serving.settings import IssuerSettings

_ANY: Final = "*"


def local_claims(claims: Mapping[str, Any], issuer: IssuerSettings) -> dict[str, Any]:
    """Returns the claims of a verified token of a further issuer as a token of our own has them.

    Raises:
        UnauthenticatedError: A claim is missing or malformed, or the issuer may not speak for the
            organization.
    """
    organization = issuer.organization or _value(claims, issuer.organization_claim)
    if organization is None:
        raise _missing(issuer.organization_claim)
    user = _value(claims, issuer.user_claim)
    if user is None:
        raise _missing(issuer.user_claim)
    allowed = issuer.organizations
    if not issuer.organization and organization not in allowed and _ANY not in allowed:
        raise UnauthenticatedError("The token's issuer may not speak for this organization.")
    return {
        "iss": issuer.issuer,
        "exp": claims["exp"],
        "org": organization,
        "sub": user,
        "permissions": _permissions(claims, issuer),
    }


def _permissions(claims: Mapping[str, Any], issuer: IssuerSettings) -> list[object]:
    permissions: list[object] = []
    if issuer.permissions_claim:
        permissions += _words(claims, issuer.permissions_claim)
    if issuer.roles:
        for role in _words(claims, issuer.roles_claim):
            permissions += issuer.roles.get(role, ()) if isinstance(role, str) else ()
    return permissions


def _words(claims: Mapping[str, Any], name: str) -> list[object]:
    """Returns a claim that is a list, or a text of words as `scope` is; nothing if it is missing."""
    value = _value(claims, name)
    if value is None:
        return []
    if isinstance(value, str):
        return list(value.split())
    if isinstance(value, list):
        return value
    raise UnauthenticatedError(f'The token\'s claim "{name}" is neither a list nor a text.')


def _value(claims: Mapping[str, Any], name: str) -> Any:
    """Returns a claim of this very name, or what dots lead to; None if there is neither."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _missing(name: str) -> UnauthenticatedError:
    return UnauthenticatedError(f'The token has no claim "{name}".')
