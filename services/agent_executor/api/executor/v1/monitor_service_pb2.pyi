import datetime

from agent_executor.api.executor.v1 import run_event_pb2 as _run_event_pb2
from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StreamActivityRequest(_message.Message):
    __slots__ = ("since", "agent_id", "run_id", "event_types", "without_content")
    SINCE_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPES_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_CONTENT_FIELD_NUMBER: _ClassVar[int]
    since: _timestamp_pb2.Timestamp
    agent_id: str
    run_id: str
    event_types: _containers.RepeatedScalarFieldContainer[str]
    without_content: bool
    def __init__(self, since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., agent_id: _Optional[str] = ..., run_id: _Optional[str] = ..., event_types: _Optional[_Iterable[str]] = ..., without_content: _Optional[bool] = ...) -> None: ...

class Activity(_message.Message):
    __slots__ = ("told_at", "event", "agent_id", "agent_version", "model", "user_id", "tokens_used", "cost_nano_usd")
    TOLD_AT_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    TOKENS_USED_FIELD_NUMBER: _ClassVar[int]
    COST_NANO_USD_FIELD_NUMBER: _ClassVar[int]
    told_at: _timestamp_pb2.Timestamp
    event: _run_event_pb2.RunEvent
    agent_id: str
    agent_version: int
    model: str
    user_id: str
    tokens_used: int
    cost_nano_usd: int
    def __init__(self, told_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., event: _Optional[_Union[_run_event_pb2.RunEvent, _Mapping]] = ..., agent_id: _Optional[str] = ..., agent_version: _Optional[int] = ..., model: _Optional[str] = ..., user_id: _Optional[str] = ..., tokens_used: _Optional[int] = ..., cost_nano_usd: _Optional[int] = ...) -> None: ...
