"""Says what went wrong at a provider over HTTP, in our own errors, and shows nothing of its insides."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

from agent_executor.errors import ContextLengthExceededError, ModelError
from agent_executor.executor.models.model import ModelUsage, usage_metadata

# When the provider does not say how long to wait. The caller waits longer from try to try.
DEFAULT_RETRY_SECONDS: Final = 1.0
MESSAGE_CHARACTERS_MAX: Final = 300
# A token of text has about 4 bytes; this is how an answer that broke off is counted.
BYTES_PER_ESTIMATED_TOKEN: Final = 4
TRUNCATED: Final = "The model's answer broke off before it was complete."
MALFORMED: Final = "The model's answer could not be read."

_RETRIED_STATUSES: Final = frozenset({408, 409, 425, 429})
_SERVER_ERROR: Final = 500
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SECRET: Final = re.compile(r"sk-[A-Za-z0-9_-]{8,}")


@dataclass(frozen=True, slots=True)
class ProviderErrors:
    """Makes the errors of one provider.

    Attributes:
        provider: Its name, for ``metadata``.
    """

    provider: str

    def status(
        self,
        status_code: int,
        error_type: str,
        explanation: str,
        *,
        request_id: str,
        retry_after_seconds: float | None,
    ) -> ModelError:
        """Returns the error of an answer with an error's status.

        Args:
            status_code: The status.
            error_type: The provider's word for it.
            explanation: What ``shown`` leaves of the provider's sentence; may be empty.
            request_id: The provider's id of the request, as it was received.
            retry_after_seconds: See ``retry_seconds``.
        """
        metadata = {"status_code": str(status_code)}
        if _REQUEST_ID.fullmatch(request_id):
            metadata["request_id"] = request_id
        message = f"The model's provider answered {status_code} ({error_type}){explanation}."
        return self._error(message, error_type, metadata, retry_after_seconds)

    def batched(
        self,
        error_type: str,
        explanation: str,
        *,
        request_id: str,
        retry_after_seconds: float | None,
    ) -> ModelError:
        """Returns the error of one request in a batch; the arguments are those of ``status``."""
        metadata = {"request_id": request_id} if _REQUEST_ID.fullmatch(request_id) else {}
        message = f"The model's provider failed in a batch ({error_type}){explanation}."
        return self._error(message, error_type, metadata, retry_after_seconds)

    def broken_off(
        self,
        error_type: str,
        request_id: str,
        delivered: ModelUsage | None,
        retry_after_seconds: float | None,
    ) -> ModelError:
        """Returns the error that a stream reports after it has begun."""
        return self._error(
            f"The model's provider broke its answer off ({error_type}).",
            error_type,
            _delivered_metadata(request_id, delivered),
            retry_after_seconds,
        )

    def broken_answer(
        self, message: str, request_id: str, delivered: ModelUsage | None
    ) -> ModelError:
        """Returns the error of an answer that ended too early or cannot be read."""
        metadata = _delivered_metadata(request_id, delivered)
        return self._error(message, "broken_answer", metadata, DEFAULT_RETRY_SECONDS)

    def connection(self, message: str, delivered: ModelUsage | None) -> ModelError:
        """Returns the error of a provider that was not reached or did not answer."""
        said = "was not reached" if delivered is None else "did not answer"
        return self._error(
            f"The model's provider {said}. {message}",
            "connection_error",
            _delivered_metadata("", delivered),
            DEFAULT_RETRY_SECONDS,
        )

    def refused(self, message: str, error_type: str) -> ModelError:
        """Returns the error of a call that was not made at all."""
        return self._error(message, error_type, {}, None)

    def _error(
        self,
        message: str,
        error_type: str,
        metadata: Mapping[str, str],
        retry_after_seconds: float | None,
    ) -> ModelError:
        return ModelError(
            message,
            metadata={"provider": self.provider, "error_type": error_type, **metadata},
            retry_after_seconds=retry_after_seconds,
        )


def context_error(input_tokens: int, context_window_tokens: int) -> ContextLengthExceededError:
    """Returns the error of a request that does not fit.

    Args:
        input_tokens: The request's, as the provider counts them, or an estimate.
        context_window_tokens: The model's; 0 if the provider does not say.
    """
    window = str(context_window_tokens) if context_window_tokens else "context window"
    return ContextLengthExceededError(
        f"The prompt is {input_tokens} tokens long; with room for its answer it does not fit "
        f"into the model's {window}.",
        metadata={
            "input_tokens": str(input_tokens),
            "context_window_tokens": str(context_window_tokens),
        },
    )


def shown(message: object, secret: str) -> str:
    """Returns what may be shown of a provider's sentence, with a colon before it.

    Args:
        message: The sentence; anything but a string is not shown.
        secret: The key of the request, which is never shown, whatever the provider echoes.
    """
    if not isinstance(message, str) or not message:
        return ""
    if secret:
        message = message.replace(secret, "…")
    printable = "".join(character for character in message if character.isprintable())
    return f": {_SECRET.sub('…', printable)[:MESSAGE_CHARACTERS_MAX].rstrip('.')}"


def can_retry(status_code: int) -> bool:
    """Returns whether the same request may succeed later."""
    return status_code in _RETRIED_STATUSES or status_code >= _SERVER_ERROR


def retry_seconds(headers: Mapping[str, str]) -> float | None:
    """Returns when the provider wants to be asked again; None if it does not want to be."""
    if headers.get("x-should-retry") == "false":
        return None
    for name, unit_seconds in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "")
        try:
            seconds = float(value) * unit_seconds
        except ValueError:
            continue
        # Neither a number that is none nor one that never ends.
        if 0 <= seconds < float("inf"):
            return seconds
    return _seconds_until(headers)


def _seconds_until(headers: Mapping[str, str]) -> float:
    """Reads a date against the provider's own clock, so that ours does not matter."""
    try:
        until = parsedate_to_datetime(headers.get("retry-after", ""))
        return max(0.0, (until - parsedate_to_datetime(headers.get("date", ""))).total_seconds())
    except (ValueError, TypeError):
        return DEFAULT_RETRY_SECONDS


def _delivered_metadata(request_id: str, delivered: ModelUsage | None) -> dict[str, str]:
    metadata = {"request_id": request_id} if request_id else {}
    return metadata if delivered is None else metadata | usage_metadata(delivered)
