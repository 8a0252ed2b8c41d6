import datetime

from agent_executor.api.call.v1 import call_pb2 as _call_pb2
from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExecuteToolCallRequest(_message.Message):
    __slots__ = ("tool_call_id", "tool_name", "arguments_json", "run_id", "agent_id", "is_test", "rate_limits", "tool_version")
    class RateLimitsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    TOOL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    IS_TEST_FIELD_NUMBER: _ClassVar[int]
    RATE_LIMITS_FIELD_NUMBER: _ClassVar[int]
    TOOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    tool_call_id: str
    tool_name: str
    arguments_json: str
    run_id: str
    agent_id: str
    is_test: bool
    rate_limits: _containers.ScalarMap[str, int]
    tool_version: str
    def __init__(self, tool_call_id: _Optional[str] = ..., tool_name: _Optional[str] = ..., arguments_json: _Optional[str] = ..., run_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., is_test: _Optional[bool] = ..., rate_limits: _Optional[_Mapping[str, int]] = ..., tool_version: _Optional[str] = ...) -> None: ...

class ExecuteToolCallResponse(_message.Message):
    __slots__ = ("tool_call_id", "tool_name", "success", "result_json", "error", "code", "timestamp", "duration_ms")
    TOOL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    RESULT_JSON_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    tool_call_id: str
    tool_name: str
    success: bool
    result_json: str
    error: str
    code: str
    timestamp: _timestamp_pb2.Timestamp
    duration_ms: int
    def __init__(self, tool_call_id: _Optional[str] = ..., tool_name: _Optional[str] = ..., success: _Optional[bool] = ..., result_json: _Optional[str] = ..., error: _Optional[str] = ..., code: _Optional[str] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., duration_ms: _Optional[int] = ...) -> None: ...

class StopToolCallRequest(_message.Message):
    __slots__ = ("tool_call_id", "tool_name", "arguments_json")
    TOOL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    tool_call_id: str
    tool_name: str
    arguments_json: str
    def __init__(self, tool_call_id: _Optional[str] = ..., tool_name: _Optional[str] = ..., arguments_json: _Optional[str] = ...) -> None: ...

class StopToolCallResponse(_message.Message):
    __slots__ = ("outcome",)
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    outcome: ExecuteToolCallResponse
    def __init__(self, outcome: _Optional[_Union[ExecuteToolCallResponse, _Mapping]] = ...) -> None: ...

class StreamToolCallsRequest(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[ToolCallFrame]
    def __init__(self, frames: _Optional[_Iterable[_Union[ToolCallFrame, _Mapping]]] = ...) -> None: ...

class ToolCallFrame(_message.Message):
    __slots__ = ("header", "execute", "cancel")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    EXECUTE_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    header: _call_pb2.CallHeader
    execute: ExecuteToolCallRequest
    cancel: _call_pb2.Cancel
    def __init__(self, header: _Optional[_Union[_call_pb2.CallHeader, _Mapping]] = ..., execute: _Optional[_Union[ExecuteToolCallRequest, _Mapping]] = ..., cancel: _Optional[_Union[_call_pb2.Cancel, _Mapping]] = ...) -> None: ...

class StreamToolCallsResponse(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[ToolCallOutcomeFrame]
    def __init__(self, frames: _Optional[_Iterable[_Union[ToolCallOutcomeFrame, _Mapping]]] = ...) -> None: ...

class ToolCallOutcomeFrame(_message.Message):
    __slots__ = ("id", "execute", "error")
    ID_FIELD_NUMBER: _ClassVar[int]
    EXECUTE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    id: int
    execute: ExecuteToolCallResponse
    error: _status_pb2.Status
    def __init__(self, id: _Optional[int] = ..., execute: _Optional[_Union[ExecuteToolCallResponse, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...
