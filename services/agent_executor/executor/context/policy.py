"""What of a conversation an agent's model is given."""

from __future__ import annotations

from typing import Final

import msgspec

from agent_executor.errors import InvalidArgumentError
from agent_executor.executor.context.tool_results import DEFAULT_MAX_TOOL_RESULT_BYTES

MAX_HISTORY_TURNS: Final = 10_000
MAX_INPUT_TOKENS: Final = 10_000_000
MAX_TOOL_RESULT_BYTES: Final = 1_048_576

_LIMITS: Final = {
    "max_history_turns": MAX_HISTORY_TURNS,
    "max_input_tokens": MAX_INPUT_TOKENS,
    "max_tool_result_bytes": MAX_TOOL_RESULT_BYTES,
}


class ContextPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of a conversation the model is given; see ``trimming`` for what is left out, and when.

    Attributes:
        max_history_turns: Most turns before the present one; 0: no limit.
        max_input_tokens: Most tokens of input, as estimated; 0: what the model's context window
            leaves.
        summarize: Whether the model sums up what is left out, which costs a call.
        max_tool_result_bytes: Above which length the model is given only the beginning of a tool's
            result; 0: 65,536.
    """

    max_history_turns: int = 0
    max_input_tokens: int = 0
    summarize: bool = False
    max_tool_result_bytes: int = 0

    def tool_result_bytes(self) -> int:
        """Returns the length above which a tool's result is cut."""
        return self.max_tool_result_bytes or DEFAULT_MAX_TOOL_RESULT_BYTES

    def check(self) -> None:
        """Checks the limits of its fields.

        Raises:
            InvalidArgumentError: One is outside of them.
        """
        for name, limit in _LIMITS.items():
            if not 0 <= getattr(self, name) <= limit:
                message = f"context_policy.{name} must be between 0 and {limit}."
                violations = ((f"context_policy.{name}", message),)
                raise InvalidArgumentError(message, field_violations=violations)
