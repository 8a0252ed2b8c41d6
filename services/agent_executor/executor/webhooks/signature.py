"""Signatures as the public specification Standard Webhooks says."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

from agent_executor.errors import InvalidArgumentError

SECRET_BYTES_MIN: Final = 16
SECRET_BYTES_MAX: Final = 256
# What follows it is the key in base64.
BASE64_PREFIX: Final = "whsec_"


def signing_key(secret: str) -> bytes:
    """Returns the key that a secret stands for.

    A secret ``whsec_…`` is, as the specification writes keys, base64 of the key after the prefix. Any
    other one is the key itself, as UTF-8.

    Raises:
        InvalidArgumentError: It is too short or too long, or no base64; the message never has it.
    """
    if not SECRET_BYTES_MIN <= len(secret.encode()) <= SECRET_BYTES_MAX:
        raise InvalidArgumentError(
            f"A secret has {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes of UTF-8."
        )
    if not secret.startswith(BASE64_PREFIX):
        return secret.encode()
    encoded = secret.removeprefix(BASE64_PREFIX)
    try:
        # The padding may be left out, as the specification's own libraries do.
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidArgumentError(
            f"What follows {BASE64_PREFIX} in a secret is the key in base64."
        ) from None
    if len(key) < SECRET_BYTES_MIN:
        raise InvalidArgumentError(
            f"The key that follows {BASE64_PREFIX} has {SECRET_BYTES_MIN} bytes or more."
        )
    return key


def signed_headers(
    webhook_id: str, timestamp_seconds: int, body: bytes, key: bytes
) -> dict[str, str]:
    """Returns the headers that say which message this is, when it was sent, and that it is ours.

    Args:
        webhook_id: The same for all attempts.
        timestamp_seconds: The time of the attempt, in seconds since 1970-01-01 UTC.
        body: Exactly what is sent.
        key: See ``signing_key``.
    """
    signed = f"{webhook_id}.{timestamp_seconds}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp_seconds),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
