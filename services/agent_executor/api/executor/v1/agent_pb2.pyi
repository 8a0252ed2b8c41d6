import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Agent(_message.Message):
    __slots__ = ("id", "name", "description", "agent_type", "model", "role", "instructions", "tools", "custom_tools", "is_active", "has_api_key", "max_model_turns", "max_output_tokens", "version", "created_at", "updated_at", "on_budget_exceeded", "max_cost_usd", "min_output_tokens", "provider", "base_url", "thinking_budget_tokens", "response_cache_ttl_seconds", "context_policy", "approval_policy", "run_timeout_seconds", "warnings", "max_cost_nano_usd")
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
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    BASE_URL_FIELD_NUMBER: _ClassVar[int]
    THINKING_BUDGET_TOKENS_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_CACHE_TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_POLICY_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_POLICY_FIELD_NUMBER: _ClassVar[int]
    RUN_TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
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
    provider: str
    base_url: str
    thinking_budget_tokens: int
    response_cache_ttl_seconds: int
    context_policy: ContextPolicy
    approval_policy: ApprovalPolicy
    run_timeout_seconds: int
    warnings: _containers.RepeatedScalarFieldContainer[str]
    max_cost_nano_usd: int
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., description: _Optional[str] = ..., agent_type: _Optional[str] = ..., model: _Optional[str] = ..., role: _Optional[str] = ..., instructions: _Optional[str] = ..., tools: _Optional[_Mapping[str, bool]] = ..., custom_tools: _Optional[_Mapping[str, CustomTool]] = ..., is_active: _Optional[bool] = ..., has_api_key: _Optional[bool] = ..., max_model_turns: _Optional[int] = ..., max_output_tokens: _Optional[int] = ..., version: _Optional[int] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., on_budget_exceeded: _Optional[str] = ..., max_cost_usd: _Optional[float] = ..., min_output_tokens: _Optional[int] = ..., provider: _Optional[str] = ..., base_url: _Optional[str] = ..., thinking_budget_tokens: _Optional[int] = ..., response_cache_ttl_seconds: _Optional[int] = ..., context_policy: _Optional[_Union[ContextPolicy, _Mapping]] = ..., approval_policy: _Optional[_Union[ApprovalPolicy, _Mapping]] = ..., run_timeout_seconds: _Optional[int] = ..., warnings: _Optional[_Iterable[str]] = ..., max_cost_nano_usd: _Optional[int] = ...) -> None: ...

class ContextPolicy(_message.Message):
    __slots__ = ("max_history_turns", "max_input_tokens", "summarize", "max_tool_result_bytes")
    MAX_HISTORY_TURNS_FIELD_NUMBER: _ClassVar[int]
    MAX_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    SUMMARIZE_FIELD_NUMBER: _ClassVar[int]
    MAX_TOOL_RESULT_BYTES_FIELD_NUMBER: _ClassVar[int]
    max_history_turns: int
    max_input_tokens: int
    summarize: bool
    max_tool_result_bytes: int
    def __init__(self, max_history_turns: _Optional[int] = ..., max_input_tokens: _Optional[int] = ..., summarize: _Optional[bool] = ..., max_tool_result_bytes: _Optional[int] = ...) -> None: ...

class ApprovalPolicy(_message.Message):
    __slots__ = ("rules", "timeout_seconds")
    RULES_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    rules: _containers.RepeatedCompositeFieldContainer[ApprovalRule]
    timeout_seconds: int
    def __init__(self, rules: _Optional[_Iterable[_Union[ApprovalRule, _Mapping]]] = ..., timeout_seconds: _Optional[int] = ...) -> None: ...

class ApprovalRule(_message.Message):
    __slots__ = ("tool", "arguments_schema_json", "reason")
    TOOL_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_SCHEMA_JSON_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    tool: str
    arguments_schema_json: str
    reason: str
    def __init__(self, tool: _Optional[str] = ..., arguments_schema_json: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class CustomTool(_message.Message):
    __slots__ = ("enabled", "version")
    CLASS_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    enabled: bool
    version: str
    def __init__(self, enabled: _Optional[bool] = ..., version: _Optional[str] = ..., **kwargs) -> None: ...
