"""The official SDK, with our own transport under it and every retry of its own switched off."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import httpx2
from openai import AsyncOpenAI, OpenAIError
from pydantic import SecretStr

from agent_executor.executor.models.model import ModelAccess
from agent_executor.executor.models.openai.errors import ERRORS
from agent_executor.executor.models.openai.request import OPENAI_HOST
from agent_executor.executor.models.provider_http import (
    Decrypt,
    http_client,
    key_of,
    unconnected_client,
)
from agent_executor.executor.models.provider_networks import ProviderNetworks

_NO_KEY: Final = (
    "There is no API key for the model's provider: the agent has none, and OPENAI_API_KEY is not "
    "set. Only an endpoint of one's own, by OPENAI_BASE_URL, may do without."
)

# The SDK calls nobody without a key. Endpoints that need none do not look at it.
_PLACEHOLDER: Final = "none"


@dataclass(frozen=True, slots=True)
class Account:
    """A client that calls on one account.

    Attributes:
        client: The SDK's client.
        key: The key that is used, to be kept out of what is told; empty if there is none.
    """

    client: AsyncOpenAI
    key: SecretStr

    @property
    def host(self) -> str:
        """The host that is called."""
        return self.client.base_url.host


class OpenAIAccounts:
    """Gives a client for the account that a call is to be made on.

    The operator's key and base URL are what the SDK itself finds, in ``OPENAI_API_KEY`` and
    ``OPENAI_BASE_URL`` above all. Connections to that base URL are kept and shared; those to an
    agent's own end with the call. A key may be missing but for OpenAI itself: vLLM and Ollama need
    none.

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
        logging.getLogger("openai").setLevel(logging.INFO)
        self._decrypt = decrypt
        self._networks = networks
        self._ssl_context = ssl_context
        found = _found()
        self._operator_key = SecretStr(found.api_key)
        self._http = http_client(str(found.base_url), networks, ssl_context)
        self._operator = found.with_options(
            api_key=found.api_key or _PLACEHOLDER, http_client=self._http
        )

    @asynccontextmanager
    async def account(self, access: ModelAccess) -> AsyncIterator[Account]:
        """Covers one call.

        Raises:
            ModelError: There is no key where one is needed, or it cannot be decrypted.
        """
        key = key_of(access, self._decrypt, ERRORS)
        if access.base_url:
            async with http_client(access.base_url, self._networks, self._ssl_context) as http:
                yield self._account(_foreign(http, key, access.base_url), key)
        elif key.get_secret_value():
            # Their organization is not the operator's, whose base URL it is all the same.
            yield self._account(_foreign(self._http, key, str(self._operator.base_url)), key)
        else:
            yield self._account(self._operator, self._operator_key)

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    def _account(self, client: AsyncOpenAI, key: SecretStr) -> Account:
        account = Account(client, key)
        if account.host == OPENAI_HOST and not key.get_secret_value():
            raise ERRORS.refused(_NO_KEY, "authentication_error")
        return account


def _found() -> AsyncOpenAI:
    """Returns a client without connections, which says what the SDK finds in its environment."""
    try:
        return _client(unconnected_client())
    except OpenAIError:
        found = _client(unconnected_client(), _PLACEHOLDER)
        found.api_key = ""
        return found


def _client(
    http: httpx2.AsyncClient, key: str | None = None, base_url: str | None = None
) -> AsyncOpenAI:
    return AsyncOpenAI(
        api_key=key,
        base_url=base_url,
        max_retries=0,
        timeout=httpx2.Timeout(None),
        http_client=http,
    )


def _foreign(http: httpx2.AsyncClient, key: SecretStr, base_url: str) -> AsyncOpenAI:
    """Returns a client that has nothing of the operator's."""
    client = _client(http, key.get_secret_value() or _PLACEHOLDER, base_url)
    client.organization = None
    client.project = None
    client.admin_api_key = None
    # What the operator adds to requests, by OPENAI_CUSTOM_HEADERS, may be a secret too, and the
    # SDK has no public way to leave it out.
    client._custom_headers = {}  # noqa: SLF001 -- see above
    return client
