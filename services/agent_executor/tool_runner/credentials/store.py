"""The port to where credentials are kept, their secrets encrypted."""

from __future__ import annotations

from typing import Protocol

import msgspec


class StoredCredential(msgspec.Struct, frozen=True, kw_only=True):
    """A credential as it is kept.

    Attributes:
        name: Unique in the organization.
        ciphertext: The secret, encrypted and bound to all other fields but the time.
        header_name: The request header that carries it, in lower case.
        header_prefix: What stands before it in the header.
        allowed_origins: Where it may be sent, in normal form, sorted.
        tools: The tools that may name it, sorted.
        updated_at_ms: When it was stored, in milliseconds since 1970-01-01 UTC.
    """

    name: str
    ciphertext: bytes
    header_name: str
    header_prefix: str
    allowed_origins: tuple[str, ...]
    tools: tuple[str, ...]
    updated_at_ms: int


class CredentialStore(Protocol):
    """Keeps credentials. All methods see one organization only.

    A write is durable, and seen by every later read, once its method has returned. Every method
    raises UnavailableError if the storage failed.
    """

    async def put(
        self, organization_id: str, credential: StoredCredential, *, credentials_max: int
    ) -> bool:
        """Stores a credential, in place of the one of its name.

        Returns:
            False, and stores nothing, if the organization has ``credentials_max`` others.
        """
        ...

    async def find(self, organization_id: str, name: str) -> StoredCredential | None:
        """Returns a credential, or None."""
        ...

    async def list_credentials(
        self, organization_id: str, limit: int, after: str = ""
    ) -> list[StoredCredential]:
        """Returns credentials by name, by code points.

        Args:
            organization_id: Whose credentials.
            limit: How many at most.
            after: Only those whose name comes after this one.
        """
        ...

    async def delete(self, organization_id: str, name: str) -> bool:
        """Deletes a credential; returns False if there is none."""
        ...
