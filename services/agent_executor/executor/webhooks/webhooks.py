"""What callers may ask of webhooks: that one is told, and what became of it."""

from __future__ import annotations

from typing import Final

from agent_executor.egress.interfaces import own_addresses
from agent_executor.egress.policy import EgressPolicy
from agent_executor.egress.urls import Target, parse_url
from agent_executor.errors import InvalidArgumentError, PermissionDeniedError
from agent_executor.executor.identifiers import new_id
from agent_executor.executor.journal.journal import RunRecord
from agent_executor.executor.webhooks.delivery import Delivery, Webhook
from agent_executor.executor.webhooks.signature import signing_key
from agent_executor.executor.webhooks.store import WebhookStore
from agent_executor.storage.encryption import Encryption

URL_BYTES_MAX: Final = 2_000

_URL: Final = "webhook_url"
_SECRET: Final = "webhook_secret"


class Webhooks:
    """Takes in what new runs are to be told to, and tells what became of it.

    Args:
        store: The outbox.
        encryption: Of secrets, the same as of agents' API keys.
        policy: Where receivers may be.
    """

    def __init__(self, store: WebhookStore, encryption: Encryption, policy: EgressPolicy) -> None:
        self._store = store
        self._encryption = encryption
        self._policy = policy

    def accept(self, url: str, secret: str) -> Webhook | None:
        """Returns what the end of a new run is told to; None for an empty URL.

        A host's addresses are not asked for here, since they may change; they are checked at each
        delivery.

        Raises:
            InvalidArgumentError: The URL is none or may not be called; or the secret is none, is
                missing, or is there without a URL.
        """
        if not url:
            if secret:
                raise _wrong(_SECRET, "A webhook secret is of no use without a webhook URL.")
            return None
        target = self._checked(url)
        try:
            signing_key(secret)
        except InvalidArgumentError as error:
            raise _wrong(_SECRET, f"The webhook's secret cannot be used: {error.message}") from None
        webhook_id = f"msg_{new_id()}"
        return Webhook(webhook_id, url, target.origin, self._encryption.encrypt(secret, webhook_id))

    async def of(self, run: RunRecord) -> Delivery | None:
        """Returns what became of telling a run's end; None if nobody is to be told."""
        if not run.has_webhook:
            return None
        return await self._store.get(run.organization_id, run.run_id)

    def _checked(self, url: str) -> Target:
        if len(url.encode()) > URL_BYTES_MAX:
            raise _wrong(_URL, f"A webhook's URL has at most {URL_BYTES_MAX:,} bytes.")
        try:
            target = parse_url(url)
            self._policy.check_target(target)
            # Plain http is for the networks that an operator admits; a name may be in one of them.
            if target.address is not None:
                self._policy.check_addresses(target, (target.address,), own_addresses())
        except PermissionDeniedError as error:
            raise _wrong(
                _URL,
                f"The webhook's URL may not be called: {error.message} The operator can admit "
                "internal networks by EXECUTOR_WEBHOOK_ALLOWED_CIDRS.",
            ) from error
        except InvalidArgumentError as error:
            raise _wrong(_URL, f"The webhook's URL is none: {error.message}") from error
        return target


def _wrong(field: str, message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, field_violations=((field, message),))
