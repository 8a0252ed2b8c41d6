"""One attempt to tell a run's end: read the run, sign the message, send it, read the answer."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec
from cryptography.exceptions import InvalidTag

from agent_executor.egress.client import EgressClient
from agent_executor.egress.exchange import EgressRequest
from agent_executor.egress.policy import EgressPolicy
from agent_executor.errors import AgentExecutorError
from agent_executor.executor.journal.event_pages import folded
from agent_executor.executor.journal.journal import Journal, RunRecord
from agent_executor.executor.log.run import RunState
from agent_executor.executor.log.run_log import summarized
from agent_executor.executor.webhooks.convert import body_of
from agent_executor.executor.webhooks.delivery import Delivery
from agent_executor.executor.webhooks.retries import Outcome, outcome_of
from agent_executor.executor.webhooks.signature import signed_headers, signing_key
from agent_executor.storage.encryption import Encryption

_LOGGER = logging.getLogger(__name__)


class WebhookSender:
    """Sends messages.

    Args:
        journal: Where runs are read.
        encryption: Of secrets.
        client: Resolves, checks and connects, and verifies certificates.
        policy: Where receivers may be.
        now_ms: The present.
        timeout_seconds: How long an attempt may take, from the look-up of the name to the answer.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        encryption: Encryption,
        client: EgressClient,
        policy: EgressPolicy,
        now_ms: Callable[[], int],
        timeout_seconds: float,
    ) -> None:
        self._journal = journal
        self._encryption = encryption
        self._client = client
        self._policy = policy
        self._now_ms = now_ms
        self._timeout_seconds = timeout_seconds

    async def send(self, delivery: Delivery) -> tuple[Outcome, RunRecord | None]:
        """Makes one attempt and returns what became of it, and the run.

        Raises:
            UnavailableError: The storage failed, so that nothing was sent.
        """
        run = await self._journal.get(delivery.organization_id, delivery.run_id)
        if run is None:
            return Outcome(error="The run is not there any more.", is_final=True), None
        try:
            secret = self._encryption.decrypt(delivery.secret_ciphertext, delivery.webhook_id)
        except InvalidTag:
            error = "The secret cannot be decrypted; it was encrypted with another key."
            return Outcome(error=error, is_final=True), run
        try:
            return await self._post(delivery, body_of(*await self._read(run)), secret), run
        except AgentExecutorError:
            raise
        except Exception:  # a bug must not make it be tried for ever
            _LOGGER.exception("The webhook of run %s could not be sent.", run.run_id)
            return Outcome(error="The executor could not send it."), run

    async def _read(self, run: RunRecord) -> tuple[RunRecord, RunState | None]:
        try:
            state, at_ms = await folded(self._journal, run.run_id)
        except (msgspec.MsgspecError, ValueError):
            # Whoever waits is told at least how it ended.
            _LOGGER.exception("The log of run %s cannot be read for its webhook.", run.run_id)
            return run, None
        return summarized(run, state, at_ms), state

    async def _post(self, delivery: Delivery, body: bytes, secret: str) -> Outcome:
        timestamp_seconds = self._now_ms() // 1000
        key = signing_key(secret)
        request = EgressRequest(
            "POST",
            delivery.url,
            headers={
                "content-type": "application/json",
                **signed_headers(delivery.webhook_id, timestamp_seconds, body, key),
            },
            content=body,
            timeout_seconds=self._timeout_seconds,
            follow_redirects=False,
            # The status says it all; what else a host sends is nobody's to read.
            response_bytes_max=0,
        )
        try:
            response = await self._client.request(request, self._policy)
        except AgentExecutorError as error:
            return Outcome(error=error.message)
        return outcome_of(response.status_code, response.headers)
