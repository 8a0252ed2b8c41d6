import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Agent(_message.Message):
    __slots__ = ("id", "name", "description", "agent_type", "model", "role", "instructions", "tools", "custom_tools", "is_active", "has_api_key", "max_model_turns", "max_output_tokens", "version", "created_at", "updated_at", "on_budget_exceeded", "max_cost_usd", "min_output_tokens", "max_cost_nano_usd")
    class ToolsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bool
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bool] = ...) -> None: ...
    class CustomToolsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: CustomTool
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[CustomTool, _Mapping]] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTIONS_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_TOOLS_FIELD_NUMBER: _ClassVar[int]
    IS_ACTIVE_FIELD_NUMBER: _ClassVar[int]
    HAS_API_KEY_FIELD_NUMBER: _ClassVar[int]
    MAX_MODEL_TURNS_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    ON_BUDGET_EXCEEDED_FIELD_NUMBER: _ClassVar[int]
    MAX_COST_USD_FIELD_NUMBER: _ClassVar[int]
    MIN_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_COST_NANO_USD_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    description: str
    agent_type: str
    model: str
    role: str
    instructions: str
    tools: _containers.ScalarMap[str, bool]
    custom_tools: _containers.MessageMap[str, CustomTool]
    is_active: bool
    has_api_key: bool
    max_model_turns: int
    max_output_tokens: int
    version: int
    created_at: _timestamp_pb2.Timestamp
    updated_at: _timestamp_pb2.Timestamp
    on_budget_exceeded: str
    max_cost_usd: float
    min_output_tokens: int
    max_cost_nano_usd: int
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., description: _Optional[str] = ..., agent_type: _Optional[str] = ..., model: _Optional[str] = ..., role: _Optional[str] = ..., instructions: _Optional[str] = ..., tools: _Optional[_Mapping[str, bool]] = ..., custom_tools: _Optional[_Mapping[str, CustomTool]] = ..., is_active: _Optional[bool] = ..., has_api_key: _Optional[bool] = ..., max_model_turns: _Optional[int] = ..., max_output_tokens: _Optional[int] = ..., version: _Optional[int] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., on_budget_exceeded: _Optional[str] = ..., max_cost_usd: _Optional[float] = ..., min_output_tokens: _Optional[int] = ..., max_cost_nano_usd: _Optional[int] = ...) -> None: ...

class CustomTool(_message.Message):
    __slots__ = ("enabled", "version")
    CLASS_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    enabled: bool
    version: str
    def __init__(self, enabled: _Optional[bool] = ..., version: _Optional[str] = ..., **kwargs) -> None: ...
