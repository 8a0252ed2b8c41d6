import datetime

from agent_executor.api.executor.v1 import run_pb2 as _run_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RunEvent(_message.Message):
    __slots__ = ("run_id", "sequence", "type", "created_at", "run_started", "run_resumed", "model_call_started", "model_call_completed", "model_call_failed", "model_call_settled", "tool_call_started", "tool_call_completed", "run_finished", "run_paused", "run_continued", "cancel_requested", "approval_requested", "approval_resolved", "model_selected", "history_trimmed", "model_call_batched")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    RUN_STARTED_FIELD_NUMBER: _ClassVar[int]
    RUN_RESUMED_FIELD_NUMBER: _ClassVar[int]
    MODEL_CALL_STARTED_FIELD_NUMBER: _ClassVar[int]
    MODEL_CALL_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    MODEL_CALL_FAILED_FIELD_NUMBER: _ClassVar[int]
    MODEL_CALL_SETTLED_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALL_STARTED_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALL_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    RUN_FINISHED_FIELD_NUMBER: _ClassVar[int]
    RUN_PAUSED_FIELD_NUMBER: _ClassVar[int]
    RUN_CONTINUED_FIELD_NUMBER: _ClassVar[int]
    CANCEL_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_RESOLVED_FIELD_NUMBER: _ClassVar[int]
    MODEL_SELECTED_FIELD_NUMBER: _ClassVar[int]
    HISTORY_TRIMMED_FIELD_NUMBER: _ClassVar[int]
    MODEL_CALL_BATCHED_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    sequence: int
    type: str
    created_at: _timestamp_pb2.Timestamp
    run_started: RunStarted
    run_resumed: RunResumed
    model_call_started: ModelCallStarted
    model_call_completed: ModelCallCompleted
    model_call_failed: ModelCallFailed
    model_call_settled: ModelCallSettled
    tool_call_started: ToolCallStarted
    tool_call_completed: ToolCallCompleted
    run_finished: RunFinished
    run_paused: RunPaused
    run_continued: RunContinued
    cancel_requested: CancelRequested
    approval_requested: ApprovalRequested
    approval_resolved: ApprovalResolved
    model_selected: ModelSelected
    history_trimmed: HistoryTrimmed
    model_call_batched: ModelCallBatched
    def __init__(self, run_id: _Optional[str] = ..., sequence: _Optional[int] = ..., type: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., run_started: _Optional[_Union[RunStarted, _Mapping]] = ..., run_resumed: _Optional[_Union[RunResumed, _Mapping]] = ..., model_call_started: _Optional[_Union[ModelCallStarted, _Mapping]] = ..., model_call_completed: _Optional[_Union[ModelCallCompleted, _Mapping]] = ..., model_call_failed: _Optional[_Union[ModelCallFailed, _Mapping]] = ..., model_call_settled: _Optional[_Union[ModelCallSettled, _Mapping]] = ..., tool_call_started: _Optional[_Union[ToolCallStarted, _Mapping]] = ..., tool_call_completed: _Optional[_Union[ToolCallCompleted, _Mapping]] = ..., run_finished: _Optional[_Union[RunFinished, _Mapping]] = ..., run_paused: _Optional[_Union[RunPaused, _Mapping]] = ..., run_continued: _Optional[_Union[RunContinued, _Mapping]] = ..., cancel_requested: _Optional[_Union[CancelRequested, _Mapping]] = ..., approval_requested: _Optional[_Union[ApprovalRequested, _Mapping]] = ..., approval_resolved: _Optional[_Union[ApprovalResolved, _Mapping]] = ..., model_selected: _Optional[_Union[ModelSelected, _Mapping]] = ..., history_trimmed: _Optional[_Union[HistoryTrimmed, _Mapping]] = ..., model_call_batched: _Optional[_Union[ModelCallBatched, _Mapping]] = ...) -> None: ...

class RunStarted(_message.Message):
    __slots__ = ("agent_id", "agent_version", "model", "input", "is_test", "tool_versions", "parent_run_id", "max_cost_nano_usd", "conversation_id", "processing")
    class ToolVersionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    IS_TEST_FIELD_NUMBER: _ClassVar[int]
    TOOL_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    PARENT_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    MAX_COST_NANO_USD_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    PROCESSING_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    agent_version: int
    model: str
    input: str
    is_test: bool
    tool_versions: _containers.ScalarMap[str, str]
    parent_run_id: str
    max_cost_nano_usd: int
    conversation_id: str
    processing: str
    def __init__(self, agent_id: _Optional[str] = ..., agent_version: _Optional[int] = ..., model: _Optional[str] = ..., input: _Optional[str] = ..., is_test: _Optional[bool] = ..., tool_versions: _Optional[_Mapping[str, str]] = ..., parent_run_id: _Optional[str] = ..., max_cost_nano_usd: _Optional[int] = ..., conversation_id: _Optional[str] = ..., processing: _Optional[str] = ...) -> None: ...

class RunResumed(_message.Message):
    __slots__ = ("attempt",)
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    attempt: int
    def __init__(self, attempt: _Optional[int] = ...) -> None: ...

class RunPaused(_message.Message):
    __slots__ = ("turn", "error", "code", "budget_id")
    TURN_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    BUDGET_ID_FIELD_NUMBER: _ClassVar[int]
    turn: int
    error: str
    code: str
    budget_id: str
    def __init__(self, turn: _Optional[int] = ..., error: _Optional[str] = ..., code: _Optional[str] = ..., budget_id: _Optional[str] = ...) -> None: ...

class RunContinued(_message.Message):
    __slots__ = ("turn",)
    TURN_FIELD_NUMBER: _ClassVar[int]
    turn: int
    def __init__(self, turn: _Optional[int] = ...) -> None: ...

class ModelCallStarted(_message.Message):
    __slots__ = ("model_call_id", "turn")
    MODEL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    model_call_id: str
    turn: int
    def __init__(self, model_call_id: _Optional[str] = ..., turn: _Optional[int] = ...) -> None: ...

class ModelCallCompleted(_message.Message):
    __slots__ = ("model_call_id", "content", "stop_reason", "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "from_cache")
    MODEL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    STOP_REASON_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_READ_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_CREATION_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    FROM_CACHE_FIELD_NUMBER: _ClassVar[int]
    model_call_id: str
    content: _containers.RepeatedCompositeFieldContainer[_run_pb2.ContentBlock]
    stop_reason: str
    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int
    from_cache: bool
    def __init__(self, model_call_id: _Optional[str] = ..., content: _Optional[_Iterable[_Union[_run_pb2.ContentBlock, _Mapping]]] = ..., stop_reason: _Optional[str] = ..., input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., cache_read_input_tokens: _Optional[int] = ..., cache_creation_input_tokens: _Optional[int] = ..., from_cache: _Optional[bool] = ...) -> None: ...

class ModelCallBatched(_message.Message):
    __slots__ = ("model_call_id", "batch_id")
    MODEL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    model_call_id: str
    batch_id: str
    def __init__(self, model_call_id: _Optional[str] = ..., batch_id: _Optional[str] = ...) -> None: ...

class ModelCallFailed(_message.Message):
    __slots__ = ("model_call_id", "error", "code", "will_retry")
    MODEL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    WILL_RETRY_FIELD_NUMBER: _ClassVar[int]
    model_call_id: str
    error: str
    code: str
    will_retry: bool
    def __init__(self, model_call_id: _Optional[str] = ..., error: _Optional[str] = ..., code: _Optional[str] = ..., will_retry: _Optional[bool] = ...) -> None: ...

class ModelCallSettled(_message.Message):
    __slots__ = ("model_call_id", "usage_entry_id", "cost_usd", "cost_nano_usd", "estimated")
    MODEL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    USAGE_ENTRY_ID_FIELD_NUMBER: _ClassVar[int]
    COST_USD_FIELD_NUMBER: _ClassVar[int]
    COST_NANO_USD_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_FIELD_NUMBER: _ClassVar[int]
    model_call_id: str
    usage_entry_id: str
    cost_usd: float
    cost_nano_usd: int
    estimated: bool
    def __init__(self, model_call_id: _Optional[str] = ..., usage_entry_id: _Optional[str] = ..., cost_usd: _Optional[float] = ..., cost_nano_usd: _Optional[int] = ..., estimated: _Optional[bool] = ...) -> None: ...

class ToolCallStarted(_message.Message):
    __slots__ = ("tool_call_id", "tool_name", "arguments_json")
    TOOL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    tool_call_id: str
    tool_name: str
    arguments_json: str
    def __init__(self, tool_call_id: _Optional[str] = ..., tool_name: _Optional[str] = ..., arguments_json: _Optional[str] = ...) -> None: ...

class ToolCallCompleted(_message.Message):
    __slots__ = ("tool_result",)
    TOOL_RESULT_FIELD_NUMBER: _ClassVar[int]
    tool_result: _run_pb2.ToolResult
    def __init__(self, tool_result: _Optional[_Union[_run_pb2.ToolResult, _Mapping]] = ...) -> None: ...

class RunFinished(_message.Message):
    __slots__ = ("state", "response", "error", "code")
    STATE_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    state: str
    response: str
    error: str
    code: str
    def __init__(self, state: _Optional[str] = ..., response: _Optional[str] = ..., error: _Optional[str] = ..., code: _Optional[str] = ...) -> None: ...

class CancelRequested(_message.Message):
    __slots__ = ("user_id", "reason")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    reason: str
    def __init__(self, user_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ApprovalRequested(_message.Message):
    __slots__ = ("tool_call_id", "tool_name", "arguments_json", "reason", "expires_at")
    TOOL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    tool_call_id: str
    tool_name: str
    arguments_json: str
    reason: str
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, tool_call_id: _Optional[str] = ..., tool_name: _Optional[str] = ..., arguments_json: _Optional[str] = ..., reason: _Optional[str] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ApprovalResolved(_message.Message):
    __slots__ = ("tool_call_id", "decision", "user_id", "reason", "edited_arguments_json")
    TOOL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EDITED_ARGUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    tool_call_id: str
    decision: str
    user_id: str
    reason: str
    edited_arguments_json: str
    def __init__(self, tool_call_id: _Optional[str] = ..., decision: _Optional[str] = ..., user_id: _Optional[str] = ..., reason: _Optional[str] = ..., edited_arguments_json: _Optional[str] = ...) -> None: ...

class ModelSelected(_message.Message):
    __slots__ = ("model", "reason")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    model: str
    reason: str
    def __init__(self, model: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class HistoryTrimmed(_message.Message):
    __slots__ = ("message_count", "estimated_tokens", "summary")
    MESSAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    message_count: int
    estimated_tokens: int
    summary: str
    def __init__(self, message_count: _Optional[int] = ..., estimated_tokens: _Optional[int] = ..., summary: _Optional[str] = ...) -> None: ...
