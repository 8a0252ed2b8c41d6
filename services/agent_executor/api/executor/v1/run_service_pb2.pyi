import datetime

from agent_executor.api.executor.v1 import run_pb2 as _run_pb2
from agent_executor.api.executor.v1 import run_event_pb2 as _run_event_pb2
from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExecuteAgentRequest(_message.Message):
    __slots__ = ("agent_id", "input", "parent_run_id", "max_cost_usd", "conversation_id", "timeout_seconds", "on_disconnect")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    PARENT_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    MAX_COST_USD_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ON_DISCONNECT_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    input: str
    parent_run_id: str
    max_cost_usd: float
    conversation_id: str
    timeout_seconds: int
    on_disconnect: str
    def __init__(self, agent_id: _Optional[str] = ..., input: _Optional[str] = ..., parent_run_id: _Optional[str] = ..., max_cost_usd: _Optional[float] = ..., conversation_id: _Optional[str] = ..., timeout_seconds: _Optional[int] = ..., on_disconnect: _Optional[str] = ...) -> None: ...

class ExecuteAgentResponse(_message.Message):
    __slots__ = ("task_id", "agent_id", "model", "input", "output", "tokens_used", "cost_usd", "cost_nano_usd", "state", "created_at", "error", "code")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    TOKENS_USED_FIELD_NUMBER: _ClassVar[int]
    COST_USD_FIELD_NUMBER: _ClassVar[int]
    COST_NANO_USD_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    agent_id: str
    model: str
    input: str
    output: _run_pb2.RunOutput
    tokens_used: int
    cost_usd: float
    cost_nano_usd: int
    state: str
    created_at: _timestamp_pb2.Timestamp
    error: str
    code: str
    def __init__(self, task_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., model: _Optional[str] = ..., input: _Optional[str] = ..., output: _Optional[_Union[_run_pb2.RunOutput, _Mapping]] = ..., tokens_used: _Optional[int] = ..., cost_usd: _Optional[float] = ..., cost_nano_usd: _Optional[int] = ..., state: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., error: _Optional[str] = ..., code: _Optional[str] = ...) -> None: ...

class TestAgentRequest(_message.Message):
    __slots__ = ("agent_id", "input")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    input: str
    def __init__(self, agent_id: _Optional[str] = ..., input: _Optional[str] = ...) -> None: ...

class TestAgentResponse(_message.Message):
    __slots__ = ("agent_id", "model", "test_input", "test_output", "success", "timestamp", "tokens_used", "cost_usd", "conversation_history", "task_id", "cost_nano_usd", "error", "code")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TEST_INPUT_FIELD_NUMBER: _ClassVar[int]
    TEST_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    TOKENS_USED_FIELD_NUMBER: _ClassVar[int]
    COST_USD_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_HISTORY_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    COST_NANO_USD_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    model: str
    test_input: str
    test_output: _run_pb2.RunOutput
    success: bool
    timestamp: _timestamp_pb2.Timestamp
    tokens_used: int
    cost_usd: float
    conversation_history: _containers.RepeatedCompositeFieldContainer[_run_pb2.ConversationMessage]
    task_id: str
    cost_nano_usd: int
    error: str
    code: str
    def __init__(self, agent_id: _Optional[str] = ..., model: _Optional[str] = ..., test_input: _Optional[str] = ..., test_output: _Optional[_Union[_run_pb2.RunOutput, _Mapping]] = ..., success: _Optional[bool] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., tokens_used: _Optional[int] = ..., cost_usd: _Optional[float] = ..., conversation_history: _Optional[_Iterable[_Union[_run_pb2.ConversationMessage, _Mapping]]] = ..., task_id: _Optional[str] = ..., cost_nano_usd: _Optional[int] = ..., error: _Optional[str] = ..., code: _Optional[str] = ...) -> None: ...

class StartRunRequest(_message.Message):
    __slots__ = ("agent_id", "input", "parent_run_id", "max_cost_usd", "conversation_id", "timeout_seconds", "webhook_url", "webhook_secret", "processing")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    PARENT_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    MAX_COST_USD_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    WEBHOOK_URL_FIELD_NUMBER: _ClassVar[int]
    WEBHOOK_SECRET_FIELD_NUMBER: _ClassVar[int]
    PROCESSING_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    input: str
    parent_run_id: str
    max_cost_usd: float
    conversation_id: str
    timeout_seconds: int
    webhook_url: str
    webhook_secret: str
    processing: str
    def __init__(self, agent_id: _Optional[str] = ..., input: _Optional[str] = ..., parent_run_id: _Optional[str] = ..., max_cost_usd: _Optional[float] = ..., conversation_id: _Optional[str] = ..., timeout_seconds: _Optional[int] = ..., webhook_url: _Optional[str] = ..., webhook_secret: _Optional[str] = ..., processing: _Optional[str] = ...) -> None: ...

class StartRunBatchRequest(_message.Message):
    __slots__ = ("agent_id", "inputs", "timeout_seconds", "max_cost_usd", "processing")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MAX_COST_USD_FIELD_NUMBER: _ClassVar[int]
    PROCESSING_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    inputs: _containers.RepeatedScalarFieldContainer[str]
    timeout_seconds: int
    max_cost_usd: float
    processing: str
    def __init__(self, agent_id: _Optional[str] = ..., inputs: _Optional[_Iterable[str]] = ..., timeout_seconds: _Optional[int] = ..., max_cost_usd: _Optional[float] = ..., processing: _Optional[str] = ...) -> None: ...

class StartRunBatchResponse(_message.Message):
    __slots__ = ("results", "started_count")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    STARTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[StartedRun]
    started_count: int
    def __init__(self, results: _Optional[_Iterable[_Union[StartedRun, _Mapping]]] = ..., started_count: _Optional[int] = ...) -> None: ...

class StartedRun(_message.Message):
    __slots__ = ("index", "run_id", "error", "code")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    index: int
    run_id: str
    error: str
    code: str
    def __init__(self, index: _Optional[int] = ..., run_id: _Optional[str] = ..., error: _Optional[str] = ..., code: _Optional[str] = ...) -> None: ...

class StreamAgentRequest(_message.Message):
    __slots__ = ("agent_id", "input", "parent_run_id", "max_cost_usd", "conversation_id", "timeout_seconds", "on_disconnect")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    PARENT_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    MAX_COST_USD_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ON_DISCONNECT_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    input: str
    parent_run_id: str
    max_cost_usd: float
    conversation_id: str
    timeout_seconds: int
    on_disconnect: str
    def __init__(self, agent_id: _Optional[str] = ..., input: _Optional[str] = ..., parent_run_id: _Optional[str] = ..., max_cost_usd: _Optional[float] = ..., conversation_id: _Optional[str] = ..., timeout_seconds: _Optional[int] = ..., on_disconnect: _Optional[str] = ...) -> None: ...

class ExecuteAgentBatchRequest(_message.Message):
    __slots__ = ("agent_id", "inputs", "timeout_seconds", "max_cost_usd")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MAX_COST_USD_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    inputs: _containers.RepeatedScalarFieldContainer[str]
    timeout_seconds: int
    max_cost_usd: float
    def __init__(self, agent_id: _Optional[str] = ..., inputs: _Optional[_Iterable[str]] = ..., timeout_seconds: _Optional[int] = ..., max_cost_usd: _Optional[float] = ...) -> None: ...

class ExecuteAgentBatchResponse(_message.Message):
    __slots__ = ("results", "completed_count", "tokens_used", "cost_nano_usd")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_COUNT_FIELD_NUMBER: _ClassVar[int]
    TOKENS_USED_FIELD_NUMBER: _ClassVar[int]
    COST_NANO_USD_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[BatchResult]
    completed_count: int
    tokens_used: int
    cost_nano_usd: int
    def __init__(self, results: _Optional[_Iterable[_Union[BatchResult, _Mapping]]] = ..., completed_count: _Optional[int] = ..., tokens_used: _Optional[int] = ..., cost_nano_usd: _Optional[int] = ...) -> None: ...

class BatchResult(_message.Message):
    __slots__ = ("index", "execution", "error", "code")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    index: int
    execution: ExecuteAgentResponse
    error: str
    code: str
    def __init__(self, index: _Optional[int] = ..., execution: _Optional[_Union[ExecuteAgentResponse, _Mapping]] = ..., error: _Optional[str] = ..., code: _Optional[str] = ...) -> None: ...

class RunUpdate(_message.Message):
    __slots__ = ("run_id", "type", "sequence", "run_started", "text_delta", "tool_call_started", "tool_call_completed", "usage", "approval_requested", "approval_resolved", "model_call_failed", "done", "error", "run_paused", "run_continued")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    RUN_STARTED_FIELD_NUMBER: _ClassVar[int]
    TEXT_DELTA_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALL_STARTED_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALL_COMPLETED_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_RESOLVED_FIELD_NUMBER: _ClassVar[int]
    MODEL_CALL_FAILED_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    RUN_PAUSED_FIELD_NUMBER: _ClassVar[int]
    RUN_CONTINUED_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    type: str
    sequence: int
    run_started: _run_event_pb2.RunStarted
    text_delta: TextDelta
    tool_call_started: _run_event_pb2.ToolCallStarted
    tool_call_completed: _run_event_pb2.ToolCallCompleted
    usage: _run_event_pb2.ModelCallSettled
    approval_requested: _run_event_pb2.ApprovalRequested
    approval_resolved: _run_event_pb2.ApprovalResolved
    model_call_failed: _run_event_pb2.ModelCallFailed
    done: ExecuteAgentResponse
    error: StreamError
    run_paused: _run_event_pb2.RunPaused
    run_continued: _run_event_pb2.RunContinued
    def __init__(self, run_id: _Optional[str] = ..., type: _Optional[str] = ..., sequence: _Optional[int] = ..., run_started: _Optional[_Union[_run_event_pb2.RunStarted, _Mapping]] = ..., text_delta: _Optional[_Union[TextDelta, _Mapping]] = ..., tool_call_started: _Optional[_Union[_run_event_pb2.ToolCallStarted, _Mapping]] = ..., tool_call_completed: _Optional[_Union[_run_event_pb2.ToolCallCompleted, _Mapping]] = ..., usage: _Optional[_Union[_run_event_pb2.ModelCallSettled, _Mapping]] = ..., approval_requested: _Optional[_Union[_run_event_pb2.ApprovalRequested, _Mapping]] = ..., approval_resolved: _Optional[_Union[_run_event_pb2.ApprovalResolved, _Mapping]] = ..., model_call_failed: _Optional[_Union[_run_event_pb2.ModelCallFailed, _Mapping]] = ..., done: _Optional[_Union[ExecuteAgentResponse, _Mapping]] = ..., error: _Optional[_Union[StreamError, _Mapping]] = ..., run_paused: _Optional[_Union[_run_event_pb2.RunPaused, _Mapping]] = ..., run_continued: _Optional[_Union[_run_event_pb2.RunContinued, _Mapping]] = ...) -> None: ...

class TextDelta(_message.Message):
    __slots__ = ("model_call_id", "text", "is_thinking")
    MODEL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    IS_THINKING_FIELD_NUMBER: _ClassVar[int]
    model_call_id: str
    text: str
    is_thinking: bool
    def __init__(self, model_call_id: _Optional[str] = ..., text: _Optional[str] = ..., is_thinking: _Optional[bool] = ...) -> None: ...

class StreamError(_message.Message):
    __slots__ = ("error", "code")
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    error: str
    code: str
    def __init__(self, error: _Optional[str] = ..., code: _Optional[str] = ...) -> None: ...

class CancelRunRequest(_message.Message):
    __slots__ = ("run_id", "reason")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    reason: str
    def __init__(self, run_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class CancelReceipt(_message.Message):
    __slots__ = ("run_id", "state", "was_stopped", "stopped_call_ids", "unknown_call_ids", "finished_call_ids", "never_begun_call_ids", "stopped_run_ids", "cost_nano_usd", "released_nano_usd")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    WAS_STOPPED_FIELD_NUMBER: _ClassVar[int]
    STOPPED_CALL_IDS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_CALL_IDS_FIELD_NUMBER: _ClassVar[int]
    FINISHED_CALL_IDS_FIELD_NUMBER: _ClassVar[int]
    NEVER_BEGUN_CALL_IDS_FIELD_NUMBER: _ClassVar[int]
    STOPPED_RUN_IDS_FIELD_NUMBER: _ClassVar[int]
    COST_NANO_USD_FIELD_NUMBER: _ClassVar[int]
    RELEASED_NANO_USD_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    state: str
    was_stopped: bool
    stopped_call_ids: _containers.RepeatedScalarFieldContainer[str]
    unknown_call_ids: _containers.RepeatedScalarFieldContainer[str]
    finished_call_ids: _containers.RepeatedScalarFieldContainer[str]
    never_begun_call_ids: _containers.RepeatedScalarFieldContainer[str]
    stopped_run_ids: _containers.RepeatedScalarFieldContainer[str]
    cost_nano_usd: int
    released_nano_usd: int
    def __init__(self, run_id: _Optional[str] = ..., state: _Optional[str] = ..., was_stopped: _Optional[bool] = ..., stopped_call_ids: _Optional[_Iterable[str]] = ..., unknown_call_ids: _Optional[_Iterable[str]] = ..., finished_call_ids: _Optional[_Iterable[str]] = ..., never_begun_call_ids: _Optional[_Iterable[str]] = ..., stopped_run_ids: _Optional[_Iterable[str]] = ..., cost_nano_usd: _Optional[int] = ..., released_nano_usd: _Optional[int] = ...) -> None: ...

class ListApprovalsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "run_id", "agent_id")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    run_id: str
    agent_id: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., run_id: _Optional[str] = ..., agent_id: _Optional[str] = ...) -> None: ...

class ListApprovalsResponse(_message.Message):
    __slots__ = ("approvals", "next_page_token")
    APPROVALS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    approvals: _containers.RepeatedCompositeFieldContainer[Approval]
    next_page_token: str
    def __init__(self, approvals: _Optional[_Iterable[_Union[Approval, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Approval(_message.Message):
    __slots__ = ("tool_call_id", "run_id", "agent_id", "tool_name", "arguments_json", "reason", "state", "created_at", "expires_at", "decided_by", "decision_reason", "edited_arguments_json")
    TOOL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    DECIDED_BY_FIELD_NUMBER: _ClassVar[int]
    DECISION_REASON_FIELD_NUMBER: _ClassVar[int]
    EDITED_ARGUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    tool_call_id: str
    run_id: str
    agent_id: str
    tool_name: str
    arguments_json: str
    reason: str
    state: str
    created_at: _timestamp_pb2.Timestamp
    expires_at: _timestamp_pb2.Timestamp
    decided_by: str
    decision_reason: str
    edited_arguments_json: str
    def __init__(self, tool_call_id: _Optional[str] = ..., run_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., tool_name: _Optional[str] = ..., arguments_json: _Optional[str] = ..., reason: _Optional[str] = ..., state: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., decided_by: _Optional[str] = ..., decision_reason: _Optional[str] = ..., edited_arguments_json: _Optional[str] = ...) -> None: ...

class ResolveApprovalRequest(_message.Message):
    __slots__ = ("run_id", "tool_call_id", "decision", "reason", "arguments_json")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    tool_call_id: str
    decision: str
    reason: str
    arguments_json: str
    def __init__(self, run_id: _Optional[str] = ..., tool_call_id: _Optional[str] = ..., decision: _Optional[str] = ..., reason: _Optional[str] = ..., arguments_json: _Optional[str] = ...) -> None: ...

class GetRunRequest(_message.Message):
    __slots__ = ("run_id",)
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    def __init__(self, run_id: _Optional[str] = ...) -> None: ...

class ListRunsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "agent_id", "state", "user_id", "conversation_id", "parent_run_id", "start_time", "end_time")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    agent_id: str
    state: str
    user_id: str
    conversation_id: str
    parent_run_id: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., agent_id: _Optional[str] = ..., state: _Optional[str] = ..., user_id: _Optional[str] = ..., conversation_id: _Optional[str] = ..., parent_run_id: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListRunsResponse(_message.Message):
    __slots__ = ("runs", "next_page_token")
    RUNS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    runs: _containers.RepeatedCompositeFieldContainer[_run_pb2.Run]
    next_page_token: str
    def __init__(self, runs: _Optional[_Iterable[_Union[_run_pb2.Run, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class StreamRunEventsRequest(_message.Message):
    __slots__ = ("run_id", "after_sequence")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    after_sequence: int
    def __init__(self, run_id: _Optional[str] = ..., after_sequence: _Optional[int] = ...) -> None: ...
