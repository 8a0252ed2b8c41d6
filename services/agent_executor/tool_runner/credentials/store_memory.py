"""Credentials in memory, for tests and for the library."""

from __future__ import annotations

from collections import defaultdict

from agent_executor.tool_runner.credentials.store import StoredCredential


class MemoryCredentialStore:
    """``CredentialStore`` that ends with the process."""

    def __init__(self) -> None:
        self._credentials: defaultdict[str, dict[str, StoredCredential]] = defaultdict(dict)

    async def put(
        self, organization_id: str, credential: StoredCredential, *, credentials_max: int
    ) -> bool:
        """See ``CredentialStore``."""
        credentials = self._credentials[organization_id]
        if credential.name not in credentials and len(credentials) >= credentials_max:
            return False
        credentials[credential.name] = credential
        return True

    async def find(self, organization_id: str, name: str) -> StoredCredential | None:
        """See ``CredentialStore``."""
        return self._credentials[organization_id].get(name)

    async def list_credentials(
        self, organization_id: str, limit: int, after: str = ""
    ) -> list[StoredCredential]:
        """See ``CredentialStore``."""
        credentials = self._credentials[organization_id]
        return [credentials[name] for name in sorted(credentials) if name > after][:limit]

    async def delete(self, organization_id: str, name: str) -> bool:
        """See ``CredentialStore``."""
        return self._credentials[organization_id].pop(name, None) is not None
