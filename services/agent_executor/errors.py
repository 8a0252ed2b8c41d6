"""Every error this platform raises on purpose, each with one gRPC code and one reason.

    AgentExecutorError                    INTERNAL             INTERNAL
    ├── InvalidArgumentError              INVALID_ARGUMENT     INVALID_ARGUMENT
    │   └── UnknownModelError             INVALID_ARGUMENT     UNKNOWN_MODEL
    ├── UnauthenticatedError              UNAUTHENTICATED      UNAUTHENTICATED
    ├── PermissionDeniedError             PERMISSION_DENIED    PERMISSION_DENIED
    ├── NotFoundError                     NOT_FOUND            NOT_FOUND
    │   ├── AgentNotFoundError            NOT_FOUND            AGENT_NOT_FOUND
    │   ├── RunNotFoundError              NOT_FOUND            RUN_NOT_FOUND
    │   ├── BudgetNotFoundError           NOT_FOUND            BUDGET_NOT_FOUND
    │   ├── ReservationNotFoundError      NOT_FOUND            RESERVATION_NOT_FOUND
    │   ├── ToolNotFoundError             NOT_FOUND            TOOL_NOT_FOUND
    │   ├── CredentialNotFoundError       NOT_FOUND            CREDENTIAL_NOT_FOUND
    │   ├── RateCardNotFoundError         NOT_FOUND            RATE_CARD_NOT_FOUND
    │   ├── UsageEntryNotFoundError       NOT_FOUND            USAGE_ENTRY_NOT_FOUND
    │   ├── ConversationNotFoundError     NOT_FOUND            CONVERSATION_NOT_FOUND
    │   ├── ApprovalNotFoundError         NOT_FOUND            APPROVAL_NOT_FOUND
    │   ├── ApiKeyNotFoundError           NOT_FOUND            API_KEY_NOT_FOUND
    │   └── McpServerNotFoundError        NOT_FOUND            MCP_SERVER_NOT_FOUND
    ├── ConflictError                     ALREADY_EXISTS       CONFLICT
    │   ├── EntryConflictError            ALREADY_EXISTS       ENTRY_CONFLICT
    │   ├── ToolCallConflictError         ALREADY_EXISTS       TOOL_CALL_CONFLICT
    │   └── IdempotencyConflictError      ALREADY_EXISTS       IDEMPOTENCY_CONFLICT
    ├── FailedPreconditionError           FAILED_PRECONDITION  FAILED_PRECONDITION
    │   ├── AgentInactiveError            FAILED_PRECONDITION  AGENT_INACTIVE
    │   ├── RunFinishedError              FAILED_PRECONDITION  RUN_FINISHED
    │   ├── SandboxUnavailableError       FAILED_PRECONDITION  SANDBOX_UNAVAILABLE
    │   └── ContextLengthExceededError    FAILED_PRECONDITION  CONTEXT_LENGTH_EXCEEDED
    ├── LimitExceededError                RESOURCE_EXHAUSTED   LIMIT_EXCEEDED
    │   ├── RateLimitExceededError        RESOURCE_EXHAUSTED   RATE_LIMIT_EXCEEDED
    │   └── BudgetExceededError           RESOURCE_EXHAUSTED   BUDGET_EXCEEDED
    ├── ToolExecutionError                UNKNOWN              TOOL_EXECUTION_ERROR
    │   └── OutcomeUnknownError           UNKNOWN              OUTCOME_UNKNOWN
    ├── ModelError                        UNAVAILABLE          MODEL_ERROR
    ├── UnavailableError                  UNAVAILABLE          UNAVAILABLE
    │   └── LeaseLostError                UNAVAILABLE          LEASE_LOST
    ├── DeadlineExceededError             DEADLINE_EXCEEDED    DEADLINE_EXCEEDED
    └── CancelledRunError                 CANCELLED            RUN_CANCELLED

The code is the canonical gRPC code's name, as a string, so that nothing here imports grpc.
The reason is a name of the ``ErrorReason`` enum in ``protos/agent_executor/api/error/v1``
without its prefix; it is what REST answers as ``code``. A test walks this tree and holds it
against the enum.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class AgentExecutorError(Exception):
    """The root of the tree; its message is safe to show to the caller.

    Attributes:
        message: One sentence for a person. Never holds a secret or another organization's data.
        metadata: Facts of the message for a program, as strings, with the unit in the key.
        tool_name: The tool concerned, or the empty string.
        retry_after_seconds: When a repeat can succeed, in seconds; None if waiting does not help.
    """

    code: ClassVar[str] = "INTERNAL"
    reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        tool_name: str = "",
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: dict[str, str] = dict(metadata or {})
        self.tool_name = tool_name
        self.retry_after_seconds = retry_after_seconds


class InvalidArgumentError(AgentExecutorError):
    """The request itself is wrong, whatever the state of the platform.

    Attributes:
        field_violations: Pairs of a field path and what is wrong with it, in request order.
    """

    code = "INVALID_ARGUMENT"
    reason = "INVALID_ARGUMENT"

    def __init__(
        self,
        message: str,
        *,
        field_violations: tuple[tuple[str, str], ...] = (),
        metadata: Mapping[str, str] | None = None,
        tool_name: str = "",
    ) -> None:
        super().__init__(message, metadata=metadata, tool_name=tool_name)
        self.field_violations = field_violations


class UnknownModelError(InvalidArgumentError):
    """No provider or no price is known for the model."""

    reason = "UNKNOWN_MODEL"


class UnauthenticatedError(AgentExecutorError):
    """The caller showed no credential, or one that does not hold."""

    code = "UNAUTHENTICATED"
    reason = "UNAUTHENTICATED"


class PermissionDeniedError(AgentExecutorError):
    """The caller is known and lacks the permission."""

    code = "PERMISSION_DENIED"
    reason = "PERMISSION_DENIED"


class NotFoundError(AgentExecutorError):
    """The resource does not exist in the caller's organization."""

    code = "NOT_FOUND"
    reason = "NOT_FOUND"


class AgentNotFoundError(NotFoundError):
    """No such agent in the caller's organization."""

    reason = "AGENT_NOT_FOUND"


class RunNotFoundError(NotFoundError):
    """No such run in the caller's organization."""

    reason = "RUN_NOT_FOUND"


class BudgetNotFoundError(NotFoundError):
    """No such budget in the caller's organization."""

    reason = "BUDGET_NOT_FOUND"


class ReservationNotFoundError(NotFoundError):
    """No such reservation in the caller's organization."""

    reason = "RESERVATION_NOT_FOUND"


class ToolNotFoundError(NotFoundError):
    """The tool is not registered, or the agent does not have it enabled."""

    reason = "TOOL_NOT_FOUND"


class CredentialNotFoundError(NotFoundError):
    """No such credential in the caller's organization."""

    reason = "CREDENTIAL_NOT_FOUND"


class RateCardNotFoundError(NotFoundError):
    """No such rate card of the organization's own, and none of this id that it has used."""

    reason = "RATE_CARD_NOT_FOUND"


class UsageEntryNotFoundError(NotFoundError):
    """No such usage entry in the caller's organization."""

    reason = "USAGE_ENTRY_NOT_FOUND"


class ConversationNotFoundError(NotFoundError):
    """No such conversation in the caller's organization."""

    reason = "CONVERSATION_NOT_FOUND"


class ApprovalNotFoundError(NotFoundError):
    """The tool call never waited for a decision."""

    reason = "APPROVAL_NOT_FOUND"


class ApiKeyNotFoundError(NotFoundError):
    """No such API key in the caller's organization, or not the caller's."""

    reason = "API_KEY_NOT_FOUND"


class McpServerNotFoundError(NotFoundError):
    """No such MCP server in the caller's organization."""

    reason = "MCP_SERVER_NOT_FOUND"


class ConflictError(AgentExecutorError):
    """The same key was used before for something else."""

    code = "ALREADY_EXISTS"
    reason = "CONFLICT"


class EntryConflictError(ConflictError):
    """A usage entry or reservation of this id exists with other content."""

    reason = "ENTRY_CONFLICT"


class ToolCallConflictError(ConflictError):
    """A tool call of this id exists with another tool or other arguments."""

    reason = "TOOL_CALL_CONFLICT"


class IdempotencyConflictError(ConflictError):
    """The idempotency key was used before with another request."""

    reason = "IDEMPOTENCY_CONFLICT"


class FailedPreconditionError(AgentExecutorError):
    """The request is well formed but the resource is not in a state to serve it."""

    code = "FAILED_PRECONDITION"
    reason = "FAILED_PRECONDITION"


class AgentInactiveError(FailedPreconditionError):
    """The agent exists and is switched off."""

    reason = "AGENT_INACTIVE"


class RunFinishedError(FailedPreconditionError):
    """The run has ended, so it can no longer be changed."""

    reason = "RUN_FINISHED"


class SandboxUnavailableError(FailedPreconditionError):
    """The host cannot isolate custom tools, so none is run."""

    reason = "SANDBOX_UNAVAILABLE"


class ContextLengthExceededError(FailedPreconditionError):
    """The conversation is larger than the model's context window."""

    reason = "CONTEXT_LENGTH_EXCEEDED"


class LimitExceededError(AgentExecutorError):
    """A limit in calls, money, time or size is reached."""

    code = "RESOURCE_EXHAUSTED"
    reason = "LIMIT_EXCEEDED"


class RateLimitExceededError(LimitExceededError):
    """Too many calls in the window; ``retry_after_seconds`` is exact."""

    reason = "RATE_LIMIT_EXCEEDED"


class BudgetExceededError(LimitExceededError):
    """What is left of a budget does not cover the worst case of the call."""

    reason = "BUDGET_EXCEEDED"


class ToolExecutionError(AgentExecutorError):
    """A tool was run and failed."""

    code = "UNKNOWN"
    reason = "TOOL_EXECUTION_ERROR"


class OutcomeUnknownError(ToolExecutionError):
    """A tool was stopped while it ran; whether it took effect is not known."""

    reason = "OUTCOME_UNKNOWN"


class ModelError(AgentExecutorError):
    """The model's provider refused, failed or answered something that cannot be used."""

    code = "UNAVAILABLE"
    reason = "MODEL_ERROR"


class UnavailableError(AgentExecutorError):
    """A service that is needed does not answer; the same call may succeed later."""

    code = "UNAVAILABLE"
    reason = "UNAVAILABLE"


class LeaseLostError(UnavailableError):
    """Another executor owns the run now, so this one's write was refused."""

    reason = "LEASE_LOST"


class DeadlineExceededError(AgentExecutorError):
    """The caller's deadline, or the run's own, has passed."""

    code = "DEADLINE_EXCEEDED"
    reason = "DEADLINE_EXCEEDED"


class CancelledRunError(AgentExecutorError):
    """The run was cancelled before it could finish."""

    code = "CANCELLED"
    reason = "RUN_CANCELLED"
