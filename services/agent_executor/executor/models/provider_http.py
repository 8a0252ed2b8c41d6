"""What every provider over HTTP shares: its connections, whose key it gets, and how calls fail."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from typing import Final, TypeAlias

import httpx2
import msgspec
from cryptography.exceptions import InvalidTag
from pydantic import SecretStr

from agent_executor.egress.kept_transport import IDENTITY, KeptEgressTransport
from agent_executor.egress.urls import parse_url
from agent_executor.errors import AgentExecutorError, PermissionDeniedError
from agent_executor.executor.models.model import ModelAccess, ModelRequest, ModelUsage
from agent_executor.executor.models.provider_errors import (
    BYTES_PER_ESTIMATED_TOKEN,
    ProviderErrors,
)
from agent_executor.executor.models.provider_networks import ProviderNetworks

# More than any model can answer; a host that sends more is not a model.
RESPONSE_BYTES_MAX: Final = 64 * 1024 * 1024

# Turns the ciphertext of an agent's key, and the agent's id, into the key.
Decrypt: TypeAlias = Callable[[bytes, str], str]

_REFUSED_ADDRESS: Final = (
    "The model's provider is at an address that may not be reached; the operator can admit it by "
    "EXECUTOR_EGRESS_ALLOWED_CIDRS."
)


def http_client(
    base_url: str, networks: ProviderNetworks, ssl_context: ssl.SSLContext | None
) -> httpx2.AsyncClient:
    """Returns a client that calls one provider. Close it.

    Raises:
        InvalidArgumentError: The base URL is none.
    """
    # At INFO it tells of every call; the executor does so by spans and metrics.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    transport = KeptEgressTransport(
        base_url,
        networks.policy(parse_url(base_url)),
        body_bytes_max=RESPONSE_BYTES_MAX,
        ssl_context=ssl_context,
    )
    # The caller sets deadlines; a redirect would take the key and the prompt elsewhere.
    return httpx2.AsyncClient(
        transport=transport,
        headers={"accept-encoding": IDENTITY},
        trust_env=False,
        follow_redirects=False,
        timeout=None,
    )


def unconnected_client() -> httpx2.AsyncClient:
    """Returns a client that has no connections."""
    return httpx2.AsyncClient(transport=httpx2.MockTransport(_unreachable))


def key_of(access: ModelAccess, decrypt: Decrypt, errors: ProviderErrors) -> SecretStr:
    """Returns the agent's own key; an empty one if it has none.

    Raises:
        ModelError: It cannot be decrypted.
    """
    try:
        return SecretStr(decrypt(access.api_key_ciphertext, access.agent_id))
    except InvalidTag:
        raise errors.refused(
            "The agent's API key cannot be decrypted; it was encrypted with another key. "
            "Set it again.",
            "authentication_error",
        ) from None


def unreached(
    cause: BaseException | None, request: ModelRequest, errors: ProviderErrors
) -> AgentExecutorError:
    """Returns the error of a call that got no answer."""
    if isinstance(cause, PermissionDeniedError):
        return errors.refused(_REFUSED_ADDRESS, "permission_error")
    if isinstance(cause, AgentExecutorError):
        return errors.refused(cause.message, "invalid_request_error")
    if isinstance(cause, httpx2.ConnectError):
        return errors.connection(str(cause), None)
    # It was sent, and may have been answered and billed: its input is booked, as an estimate.
    return errors.connection(
        "The connection failed.", ModelUsage(estimated_input_tokens(request), 0)
    )


def unsendable(error: Exception, errors: ProviderErrors) -> AgentExecutorError:
    """Returns the error of a request that an SDK refuses; its words may hold what it was given."""
    return errors.refused(
        f"The request cannot be sent to the model's provider ({type(error).__name__}).",
        "invalid_request_error",
    )


def estimated_input_tokens(request: ModelRequest) -> int:
    """Returns about how many tokens a request has, at least 1."""
    return len(msgspec.json.encode(request)) // BYTES_PER_ESTIMATED_TOKEN + 1


def _unreachable(request: httpx2.Request) -> httpx2.Response:
    raise httpx2.ConnectError("This client has no connections.", request=request)
