"""Which token a request goes on with that came to the gateway with a key or a session."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import SecretStr

from agent_executor.errors import UnauthenticatedError
from agent_executor.executor.api_keys.api_key import KEY, SESSION
from agent_executor.executor.api_keys.browser_session import ShownRequest, why_not_of_origin
from agent_executor.executor.api_keys.exchange import KeyExchange


class GatewayRequests:
    """Admits requests on the gateway's behalf.

    Args:
        exchange: Exchanges what they show.
        further_origins: See ``why_not_of_origin``.
    """

    def __init__(self, exchange: KeyExchange, further_origins: Collection[str]) -> None:
        self._exchange = exchange
        self._further_origins = frozenset(further_origins)

    async def token_for(self, request: ShownRequest, client: str) -> str:
        """Returns the token; a header counts and a cookie beside it does not.

        Raises:
            LimitExceededError: The client has shown too many wrong keys.
            UnauthenticatedError: What the request shows does not hold.
            UnavailableError: It cannot be exchanged at present.
        """
        if request.authorization is not None:
            scheme, _, secret = request.authorization.partition(" ")
            if scheme.lower() != "bearer":
                raise UnauthenticatedError(
                    "The authorization header is not of the form `Bearer <key>`."
                )
            token = await self._exchange.exchange(SecretStr(secret.strip()), KEY, client)
            return token.token
        secrets = request.session_secrets
        if len(secrets) != 1:
            raise UnauthenticatedError("The request shows no session, or more than one.")
        if why_not := why_not_of_origin(request, self._further_origins):
            raise UnauthenticatedError(why_not)
        token = await self._exchange.exchange(SecretStr(secrets[0]), SESSION, client)
        return token.token
