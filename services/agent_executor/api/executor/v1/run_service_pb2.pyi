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
    __slots__ = ("agent_id", "input", "parent_run_id", "max_cost_usd")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    PARENT_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    MAX_COST_USD_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    input: str
    parent_run_id: str
    max_cost_usd: float
    def __init__(self, agent_id: _Optional[str] = ..., input: _Optional[str] = ..., parent_run_id: _Optional[str] = ..., max_cost_usd: _Optional[float] = ...) -> None: ...

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
    __slots__ = ("agent_id", "input", "parent_run_id", "max_cost_usd")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    PARENT_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    MAX_COST_USD_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    input: str
    parent_run_id: str
    max_cost_usd: float
    def __init__(self, agent_id: _Optional[str] = ..., input: _Optional[str] = ..., parent_run_id: _Optional[str] = ..., max_cost_usd: _Optional[float] = ...) -> None: ...

class GetRunRequest(_message.Message):
    __slots__ = ("run_id",)
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    def __init__(self, run_id: _Optional[str] = ...) -> None: ...

class ListRunsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "agent_id", "state")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    agent_id: str
    state: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., agent_id: _Optional[str] = ..., state: _Optional[str] = ...) -> None: ...

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
