"""A vault of credentials in memory."""

from __future__ import annotations

from agent_executor.errors import CredentialNotFoundError
from agent_executor.tool_runner.credentials.credential import Credential


class Vault:
    """Holds credentials of the organization ``acme`` and remembers who asked for which."""

    def __init__(self, *credentials: Credential) -> None:
        self.credentials = {credential.name: credential for credential in credentials}
        self.opened: list[tuple[str, str]] = []

    async def open(self, organization_id: str, name: str) -> Credential:
        self.opened.append((organization_id, name))
        if organization_id != "acme" or name not in self.credentials:
            raise CredentialNotFoundError("There is no such credential.")
        return self.credentials[name]
