from agent_executor.api.executor.v1 import agent_pb2 as _agent_pb2
from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateAgentRequest(_message.Message):
    __slots__ = ("name", "description", "agent_type", "model", "api_key", "is_active", "role", "instructions", "tools", "custom_tools", "max_model_turns", "max_output_tokens", "on_budget_exceeded", "max_cost_usd", "min_output_tokens", "provider", "base_url", "thinking_budget_tokens", "response_cache_ttl_seconds", "context_policy", "approval_policy", "run_timeout_seconds")
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
        value: _agent_pb2.CustomTool
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_agent_pb2.CustomTool, _Mapping]] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    IS_ACTIVE_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTIONS_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_TOOLS_FIELD_NUMBER: _ClassVar[int]
    MAX_MODEL_TURNS_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
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
    name: str
    description: str
    agent_type: str
    model: str
    api_key: str
    is_active: bool
    role: str
    instructions: str
    tools: _containers.ScalarMap[str, bool]
    custom_tools: _containers.MessageMap[str, _agent_pb2.CustomTool]
    max_model_turns: int
    max_output_tokens: int
    on_budget_exceeded: str
    max_cost_usd: float
    min_output_tokens: int
    provider: str
    base_url: str
    thinking_budget_tokens: int
    response_cache_ttl_seconds: int
    context_policy: _agent_pb2.ContextPolicy
    approval_policy: _agent_pb2.ApprovalPolicy
    run_timeout_seconds: int
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., agent_type: _Optional[str] = ..., model: _Optional[str] = ..., api_key: _Optional[str] = ..., is_active: _Optional[bool] = ..., role: _Optional[str] = ..., instructions: _Optional[str] = ..., tools: _Optional[_Mapping[str, bool]] = ..., custom_tools: _Optional[_Mapping[str, _agent_pb2.CustomTool]] = ..., max_model_turns: _Optional[int] = ..., max_output_tokens: _Optional[int] = ..., on_budget_exceeded: _Optional[str] = ..., max_cost_usd: _Optional[float] = ..., min_output_tokens: _Optional[int] = ..., provider: _Optional[str] = ..., base_url: _Optional[str] = ..., thinking_budget_tokens: _Optional[int] = ..., response_cache_ttl_seconds: _Optional[int] = ..., context_policy: _Optional[_Union[_agent_pb2.ContextPolicy, _Mapping]] = ..., approval_policy: _Optional[_Union[_agent_pb2.ApprovalPolicy, _Mapping]] = ..., run_timeout_seconds: _Optional[int] = ...) -> None: ...

class GetAgentRequest(_message.Message):
    __slots__ = ("agent_id", "version")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    version: int
    def __init__(self, agent_id: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class ListAgentsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAgentsResponse(_message.Message):
    __slots__ = ("agents", "next_page_token")
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    agents: _containers.RepeatedCompositeFieldContainer[_agent_pb2.Agent]
    next_page_token: str
    def __init__(self, agents: _Optional[_Iterable[_Union[_agent_pb2.Agent, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateAgentRequest(_message.Message):
    __slots__ = ("agent_id", "name", "description", "model", "api_key", "is_active", "role", "instructions", "tools", "custom_tools", "max_model_turns", "max_output_tokens", "update_mask", "on_budget_exceeded", "max_cost_usd", "min_output_tokens", "provider", "base_url", "thinking_budget_tokens", "response_cache_ttl_seconds", "context_policy", "approval_policy", "run_timeout_seconds")
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
        value: _agent_pb2.CustomTool
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_agent_pb2.CustomTool, _Mapping]] = ...) -> None: ...
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    IS_ACTIVE_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    INSTRUCTIONS_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    CUSTOM_TOOLS_FIELD_NUMBER: _ClassVar[int]
    MAX_MODEL_TURNS_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
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
    agent_id: str
    name: str
    description: str
    model: str
    api_key: str
    is_active: bool
    role: str
    instructions: str
    tools: _containers.ScalarMap[str, bool]
    custom_tools: _containers.MessageMap[str, _agent_pb2.CustomTool]
    max_model_turns: int
    max_output_tokens: int
    update_mask: _field_mask_pb2.FieldMask
    on_budget_exceeded: str
    max_cost_usd: float
    min_output_tokens: int
    provider: str
    base_url: str
    thinking_budget_tokens: int
    response_cache_ttl_seconds: int
    context_policy: _agent_pb2.ContextPolicy
    approval_policy: _agent_pb2.ApprovalPolicy
    run_timeout_seconds: int
    def __init__(self, agent_id: _Optional[str] = ..., name: _Optional[str] = ..., description: _Optional[str] = ..., model: _Optional[str] = ..., api_key: _Optional[str] = ..., is_active: _Optional[bool] = ..., role: _Optional[str] = ..., instructions: _Optional[str] = ..., tools: _Optional[_Mapping[str, bool]] = ..., custom_tools: _Optional[_Mapping[str, _agent_pb2.CustomTool]] = ..., max_model_turns: _Optional[int] = ..., max_output_tokens: _Optional[int] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., on_budget_exceeded: _Optional[str] = ..., max_cost_usd: _Optional[float] = ..., min_output_tokens: _Optional[int] = ..., provider: _Optional[str] = ..., base_url: _Optional[str] = ..., thinking_budget_tokens: _Optional[int] = ..., response_cache_ttl_seconds: _Optional[int] = ..., context_policy: _Optional[_Union[_agent_pb2.ContextPolicy, _Mapping]] = ..., approval_policy: _Optional[_Union[_agent_pb2.ApprovalPolicy, _Mapping]] = ..., run_timeout_seconds: _Optional[int] = ...) -> None: ...

class DeleteAgentRequest(_message.Message):
    __slots__ = ("agent_id",)
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    def __init__(self, agent_id: _Optional[str] = ...) -> None: ...

class DeleteAgentResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListAgentToolsRequest(_message.Message):
    __slots__ = ("agent_id",)
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    def __init__(self, agent_id: _Optional[str] = ...) -> None: ...

class ListAgentToolsResponse(_message.Message):
    __slots__ = ("agent_id", "tools", "total_tools")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_TOOLS_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    tools: _containers.RepeatedCompositeFieldContainer[AgentTool]
    total_tools: int
    def __init__(self, agent_id: _Optional[str] = ..., tools: _Optional[_Iterable[_Union[AgentTool, _Mapping]]] = ..., total_tools: _Optional[int] = ...) -> None: ...

class AgentTool(_message.Message):
    __slots__ = ("name", "description", "enabled")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    enabled: bool
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., enabled: _Optional[bool] = ...) -> None: ...
