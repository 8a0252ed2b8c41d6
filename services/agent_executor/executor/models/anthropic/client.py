"""The provider's SDK, with our own transport under it and every retry of its own switched off."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx2
from anthropic import AsyncAnthropic
from pydantic import SecretStr

from agent_executor.executor.models.anthropic.errors import ERRORS
from agent_executor.executor.models.model import ModelAccess
from agent_executor.executor.models.provider_http import (
    Decrypt,
    http_client,
    key_of,
    unconnected_client,
)
from agent_executor.executor.models.provider_networks import ProviderNetworks


@dataclass(frozen=True, slots=True)
class Account:
    """A client that calls on one account.

    Attributes:
        client: The SDK's client.
        key: The agent's own key, to be kept out of what is told; empty for the operator's.
    """

    client: AsyncAnthropic
    key: SecretStr


class AnthropicAccounts:
    """Gives a client for the account that a call is to be made on.

    The operator's key and base URL are what the SDK itself finds, in ``ANTHROPIC_API_KEY`` and
    ``ANTHROPIC_BASE_URL`` above all. Connections to that base URL are kept and shared; those to
    an agent's own end with the call.

    Args:
        decrypt: Decrypts agents' keys.
        networks: Where providers may be.
        ssl_context: What certificates are accepted. Default: the system's.

    Raises:
        InvalidArgumentError: The operator's base URL is none.
    """

    def __init__(
        self,
        decrypt: Decrypt,
        networks: ProviderNetworks,
        *,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        # At DEBUG the SDK logs whole requests, and prompts go into no log.
        logging.getLogger("anthropic").setLevel(logging.INFO)
        self._decrypt = decrypt
        self._networks = networks
        self._ssl_context = ssl_context
        # It has no connections, and is here to find out what the environment says.
        found = AsyncAnthropic(
            max_retries=0,
            timeout=httpx2.Timeout(None),
            open_telemetry=False,
            http_client=unconnected_client(),
        )
        self._http = http_client(str(found.base_url), networks, ssl_context)
        self._operator = found.with_options(http_client=self._http)

    @asynccontextmanager
    async def account(self, access: ModelAccess) -> AsyncIterator[Account]:
        """Covers one call.

        Raises:
            ModelError: There is no key, it cannot be decrypted, or there is a base URL without a
                key of its own.
        """
        key = key_of(access, self._decrypt, ERRORS)
        if access.base_url:
            async with http_client(access.base_url, self._networks, self._ssl_context) as http:
                yield Account(self._own_provider(access, key, http), key)
        elif key.get_secret_value():
            yield Account(self._operator.with_options(api_key=key.get_secret_value()), key)
        elif self._has_operator_key():
            yield Account(self._operator, key)
        else:
            raise ERRORS.refused(
                "There is no API key for the model's provider: the agent has none, and "
                "ANTHROPIC_API_KEY is not set.",
                "authentication_error",
            )

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    def _own_provider(
        self, access: ModelAccess, key: SecretStr, http: httpx2.AsyncClient
    ) -> AsyncAnthropic:
        if not key.get_secret_value():
            raise ERRORS.refused(
                "An agent with a base URL of its own needs an API key of its own.",
                "authentication_error",
            )
        client = self._operator.with_options(
            api_key=key.get_secret_value(), base_url=access.base_url, http_client=http
        )
        # What the operator adds to requests, by ANTHROPIC_CUSTOM_HEADERS, may be a secret too,
        # and the SDK has no public way to leave it out.
        client._custom_headers = {}  # noqa: SLF001 -- see above
        return client

    def _has_operator_key(self) -> bool:
        operator = self._operator
        return bool(operator.api_key or operator.auth_token or operator.credentials)
