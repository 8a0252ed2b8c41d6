"""The telling of a run's end: where, with what secret, and what became of it."""

from __future__ import annotations

from typing import Final

import msgspec

PENDING: Final = "pending"
DELIVERED: Final = "delivered"
FAILED: Final = "failed"


class Webhook(msgspec.Struct, frozen=True):
    """What a new run is to be told to.

    Attributes:
        webhook_id: What receivers know the message by: all its attempts have it.
        url: Where it is told, as the caller gave it.
        origin: Whose turn it is among receivers, as ``https://api.example.com``.
        secret_ciphertext: The key of the signature, encrypted for ``webhook_id``.
    """

    webhook_id: str
    url: str
    origin: str
    secret_ciphertext: bytes


class Delivery(msgspec.Struct, frozen=True):
    """The outbox's row of one run.

    Attributes:
        webhook_id, url, origin, secret_ciphertext: See ``Webhook``; the secret is forgotten once the
            telling is over.
        state: ``pending`` also before the run's end, ``delivered``, or ``failed`` for good.
        attempts: How often it was begun to be sent. It fences the outcome of an attempt.
        status_code: Of the last answer; 0 if there was none.
        error: What went wrong at the last attempt; empty if nothing did.
        due_at_ms: When it is to be sent next, in milliseconds since 1970-01-01 UTC; while it is being
            sent, when somebody else may take it for lost. 0: not yet, or never again.
    """

    run_id: str
    organization_id: str
    webhook_id: str
    url: str
    origin: str
    secret_ciphertext: bytes
    state: str = PENDING
    attempts: int = 0
    status_code: int = 0
    error: str = ""
    due_at_ms: int = 0


def new_delivery(
    run_id: str, organization_id: str, webhook: Webhook, due_at_ms: int = 0
) -> Delivery:
    """Returns the row of a new run."""
    return Delivery(
        run_id=run_id,
        organization_id=organization_id,
        webhook_id=webhook.webhook_id,
        url=webhook.url,
        origin=webhook.origin,
        secret_ciphertext=webhook.secret_ciphertext,
        due_at_ms=due_at_ms,
    )
