"""One row of a batch of usage, and what it must keep to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec

from agent_executor.errors import InvalidArgumentError
from agent_executor.ledger.accounting.token_usage import MAX_TOKENS, TokenCounts
from agent_executor.ledger.money import MAX_LIMIT_NANO_USD
from agent_executor.ledger.usage.checks import (
    MAX_DESCRIPTION_BYTES,
    MAX_ID_BYTES,
    MAX_MODEL_BYTES,
    MAX_NAME_BYTES,
    PROCESSINGS,
    SPEEDS,
    check_integer,
    check_text,
    invalid,
)

CURRENCY: Final = "USD"
MAX_AHEAD_MS: Final = 5 * 60_000
EARLIEST_MS: Final = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp()) * 1000

_TOKEN_CLASSES: Final = TokenCounts.__struct_fields__


class UsageRow(msgspec.Struct, frozen=True):
    """A model call, a tool call or an adjustment, told apart by what is set.

    Attributes:
        id: The idempotency key, 1 to 256 bytes.
        user_id: On whose behalf; empty: the caller.
        agent_id: At most 128 bytes; empty: none.
        run_id: At most 128 bytes; empty: none.
        model: Of a model call, which has a usage as well.
        usage: As it came: whether its counts can be is checked with the row.
        tool_name: Of a tool call.
        cost_nano_usd: Of an adjustment; of a tool call instead of its fee; None: not given.
        currency: ``USD`` or empty, which is the same.
        occurred_at_ms: In milliseconds since 1970-01-01 UTC; None: the present.
        processing: Of a model call: ``batch`` or empty.
        speed: Of a model call: ``fast`` or empty.
        description: Why it is recorded; an adjustment must say.
    """

    id: str
    user_id: str = ""
    agent_id: str = ""
    run_id: str = ""
    model: str = ""
    usage: TokenCounts | None = None
    tool_name: str = ""
    cost_nano_usd: int | None = None
    currency: str = ""
    occurred_at_ms: int | None = None
    processing: str = ""
    speed: str = ""
    estimated: bool = False
    is_test: bool = False
    description: str = ""

    @property
    def is_adjustment(self) -> bool:
        """Whether it is an amount without usage."""
        return not (self.model or self.tool_name)


def check_row(row: UsageRow, now_ms: int) -> None:
    """Refuses a row that cannot be. The error's field is one of the row.

    Raises:
        InvalidArgumentError: It cannot.
    """
    check_text("id", row.id, MAX_ID_BYTES, min_bytes=1)
    for field, value in (
        ("user_id", row.user_id),
        ("agent_id", row.agent_id),
        ("run_id", row.run_id),
        ("tool_name", row.tool_name),
    ):
        if value:
            check_text(field, value, MAX_NAME_BYTES)
    if row.description:
        check_text("description", row.description, MAX_DESCRIPTION_BYTES)
    if row.currency not in ("", CURRENCY):
        raise invalid("currency", f"is {CURRENCY} or empty; no other is known.")
    _check_time(row.occurred_at_ms, now_ms)
    if row.model:
        _check_model_call(row)
    elif row.tool_name:
        _check_tool_call(row)
    else:
        _check_adjustment(row)


def at_row(index: int, error: InvalidArgumentError) -> InvalidArgumentError:
    """Returns the error of a row, with the row named in its text and its fields."""
    row = f"entries[{index}]"
    violations = tuple(
        (f"{row}.{field}", f"{row}.{description}") for field, description in error.field_violations
    ) or ((f"{row}.model", f"{row}.model: {error.message}"),)
    message = f"{violations[0][1]} Nothing was recorded."
    return type(error)(message, field_violations=violations, metadata=error.metadata)


def _check_time(occurred_at_ms: int | None, now_ms: int) -> None:
    if occurred_at_ms is None:
        return
    if occurred_at_ms < EARLIEST_MS:
        raise invalid("occurred_at", "is before 2020-01-01.")
    if occurred_at_ms > now_ms + MAX_AHEAD_MS:
        raise invalid("occurred_at", "is more than 5 minutes ahead.")


def _check_model_call(row: UsageRow) -> None:
    check_text("model", row.model, MAX_MODEL_BYTES)
    if row.tool_name:
        raise invalid("tool_name", "is set, and model too: a row is for one of them.")
    if row.usage is None:
        raise invalid("usage", "is needed for a model call.")
    if row.cost_nano_usd is not None:
        raise invalid("cost_nano_usd", "is set, but a model call is priced by its rate card.")
    if row.processing not in PROCESSINGS:
        raise invalid("processing", 'is "batch" or empty.')
    if row.speed not in SPEEDS:
        raise invalid("speed", 'is "fast" or empty.')
    for token_class in _TOKEN_CLASSES:
        count = getattr(row.usage, token_class)
        if type(count) is not int or not 0 <= count <= MAX_TOKENS:
            check_integer(f"usage.{token_class}", count, 0, MAX_TOKENS)


def _check_tool_call(row: UsageRow) -> None:
    _check_no_usage(row)
    if row.cost_nano_usd is not None:
        check_integer("cost_nano_usd", row.cost_nano_usd, 0, MAX_LIMIT_NANO_USD)


def _check_adjustment(row: UsageRow) -> None:
    if row.usage is not None and row.cost_nano_usd is None:
        raise invalid("model", "is needed where there is a usage.")
    _check_no_usage(row)
    if row.cost_nano_usd is None:
        raise invalid("cost_nano_usd", "is needed where there is no model and no tool.")
    check_integer("cost_nano_usd", row.cost_nano_usd, -MAX_LIMIT_NANO_USD, MAX_LIMIT_NANO_USD)
    if not row.description:
        raise invalid("description", "is needed for an adjustment.")


def _check_no_usage(row: UsageRow) -> None:
    if row.usage is not None:
        raise invalid("usage", "is set, but only a model call has one.")
    if row.processing:
        raise invalid("processing", "is set, but only a model call has one.")
    if row.speed:
        raise invalid("speed", "is set, but only a model call has one.")
