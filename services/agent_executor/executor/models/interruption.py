"""What a provider says of a call that broke off after it may have been billed.

It is a ``ModelError`` as any other, with the usage in its metadata. A ``ModelError`` without it
says that the provider billed nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from agent_executor.errors import AgentExecutorError, ModelError
from agent_executor.executor.models.model import ModelUsage

_MAY_BE_BILLED: Final = "may_be_billed"
_PREFIX: Final = "used_"


def interrupted(
    message: str,
    usage: ModelUsage | None,
    *,
    metadata: Mapping[str, str] | None = None,
    retry_after_seconds: float | None = None,
) -> ModelError:
    """Returns the error of a call that broke off.

    Args:
        message: What happened.
        usage: What the provider had counted by then; None if it had not said anything yet.
        metadata: Further facts, as in every ``ModelError``.
        retry_after_seconds: As in every ``ModelError``.
    """
    told = {_MAY_BE_BILLED: "true", **(metadata or {})}
    if usage is not None:
        counts = msgspec.structs.asdict(usage)
        told |= {f"{_PREFIX}{name}": str(count) for name, count in counts.items()}
    return ModelError(message, metadata=told, retry_after_seconds=retry_after_seconds)


def may_be_billed(error: AgentExecutorError) -> bool:
    """Tells whether the call of an error can have cost something."""
    return _MAY_BE_BILLED in error.metadata


def delivered_usage(error: AgentExecutorError) -> ModelUsage | None:
    """Returns what a call had used when it broke off, or None if the error does not say."""
    counts = {
        name: error.metadata.get(f"{_PREFIX}{name}", "") for name in ModelUsage.__struct_fields__
    }
    if not all(count.isdecimal() for count in counts.values()):
        return None
    return ModelUsage(**{name: int(count) for name, count in counts.items()})
