"""The provider's SDK, with our own transport under it and every retry of its own switched off."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import httpx2
from anthropic import AsyncAnthropic
from cryptography.exceptions import InvalidTag
from pydantic import SecretStr

from agent_executor.egress.addresses import Network
from agent_executor.egress.kept_transport import IDENTITY, KeptEgressTransport
from agent_executor.egress.policy import EgressPolicy
from agent_executor.egress.urls import parse_url
from agent_executor.executor.models.anthropic.errors import refused_call
from agent_executor.executor.models.model import ModelAccess

# More than any model can answer; a host that sends more is not a model.
RESPONSE_BYTES_MAX: Final = 64 * 1024 * 1024

# Turns the ciphertext of an agent's key, and the agent's id, into the key.
Decrypt = Callable[[bytes, str], str]


@dataclass(frozen=True, slots=True)
class ProviderNetworks:
    """Which networks a provider may be in.

    Attributes:
        allowed: Internal networks that the operator admits, such as loopback for mock Claude.
        denied: Networks that are never reached, in addition to all internal ones.
    """

    allowed: tuple[Network, ...] = ()
    denied: tuple[Network, ...] = ()


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
            http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(_unreachable)),
        )
        self._http = self._http_client(str(found.base_url))
        self._operator = found.with_options(http_client=self._http)

    @asynccontextmanager
    async def account(self, access: ModelAccess) -> AsyncIterator[Account]:
        """Covers one call.

        Raises:
            ModelError: There is no key, it cannot be decrypted, or there is a base URL without a
                key of its own.
        """
        key = self._key(access)
        if access.base_url:
            async with self._http_client(access.base_url) as http:
                yield Account(self._own_provider(access, key, http), key)
        elif key.get_secret_value():
            yield Account(self._operator.with_options(api_key=key.get_secret_value()), key)
        elif self._has_operator_key():
            yield Account(self._operator, key)
        else:
            raise refused_call(
                "There is no API key for the model's provider: the agent has none, and "
                "ANTHROPIC_API_KEY is not set.",
                "authentication_error",
            )

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    def _key(self, access: ModelAccess) -> SecretStr:
        try:
            return SecretStr(self._decrypt(access.api_key_ciphertext, access.agent_id))
        except InvalidTag:
            raise refused_call(
                "The agent's API key cannot be decrypted; it was encrypted with another key. "
                "Set it again.",
                "authentication_error",
            ) from None

    def _own_provider(
        self, access: ModelAccess, key: SecretStr, http: httpx2.AsyncClient
    ) -> AsyncAnthropic:
        if not key.get_secret_value():
            raise refused_call(
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

    def _http_client(self, base_url: str) -> httpx2.AsyncClient:
        policy = EgressPolicy(
            allowed_domains=None,
            allowed_origins=frozenset({parse_url(base_url).origin}),
            allowed_networks=self._networks.allowed,
            denied_networks=self._networks.denied,
        )
        transport = KeptEgressTransport(
            base_url,
            policy,
            body_bytes_max=RESPONSE_BYTES_MAX,
            ssl_context=self._ssl_context,
        )
        # The caller sets deadlines; a redirect would take the key and the prompt elsewhere.
        return httpx2.AsyncClient(
            transport=transport,
            headers={"accept-encoding": IDENTITY},
            trust_env=False,
            follow_redirects=False,
            timeout=None,
        )


def _unreachable(request: httpx2.Request) -> httpx2.Response:
    raise httpx2.ConnectError("This client has no connections.", request=request)
