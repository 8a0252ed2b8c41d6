"""Credentials: secrets of an organization that the host attaches to what its tools send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from agent_executor.tool_runner.credentials.secret import Secret

DEFAULT_HEADER_NAME: Final = "authorization"
DEFAULT_HEADER_PREFIX: Final = "Bearer "


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret and where it may go.

    Attributes:
        name: Unique in the organization.
        secret: The secret.
        header_name: The request header that carries it, in lower case.
        header_prefix: What stands before it in the header.
        allowed_origins: The origins that it may be sent to, as ``https://api.example.com``.
        tools: The tools that may name it.
    """

    name: str
    secret: Secret
    header_name: str = DEFAULT_HEADER_NAME
    header_prefix: str = DEFAULT_HEADER_PREFIX
    allowed_origins: frozenset[str] = frozenset()
    tools: frozenset[str] = frozenset()


class CredentialVault(Protocol):
    """Opens credentials at the last moment before they are sent."""

    async def open(self, organization_id: str, name: str) -> Credential:
        """Returns a credential of an organization.

        Raises:
            CredentialNotFoundError: The organization has none of that name.
            FailedPreconditionError: It cannot be decrypted.
            UnavailableError: The storage failed.
        """
        ...
