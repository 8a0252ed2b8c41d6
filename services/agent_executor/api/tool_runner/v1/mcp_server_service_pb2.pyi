import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class McpServer(_message.Message):
    __slots__ = ("name", "url", "credential_name", "allowed_tools", "effect", "trusts_hints", "requires_approval", "timeout_seconds", "server_title", "tools", "findings", "refreshed_at")
    NAME_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_NAME_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_TOOLS_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    TRUSTS_HINTS_FIELD_NUMBER: _ClassVar[int]
    REQUIRES_APPROVAL_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SERVER_TITLE_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    REFRESHED_AT_FIELD_NUMBER: _ClassVar[int]
    name: str
    url: str
    credential_name: str
    allowed_tools: _containers.RepeatedScalarFieldContainer[str]
    effect: str
    trusts_hints: bool
    requires_approval: bool
    timeout_seconds: float
    server_title: str
    tools: _containers.RepeatedCompositeFieldContainer[McpTool]
    findings: _containers.RepeatedScalarFieldContainer[str]
    refreshed_at: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., url: _Optional[str] = ..., credential_name: _Optional[str] = ..., allowed_tools: _Optional[_Iterable[str]] = ..., effect: _Optional[str] = ..., trusts_hints: _Optional[bool] = ..., requires_approval: _Optional[bool] = ..., timeout_seconds: _Optional[float] = ..., server_title: _Optional[str] = ..., tools: _Optional[_Iterable[_Union[McpTool, _Mapping]]] = ..., findings: _Optional[_Iterable[str]] = ..., refreshed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class McpTool(_message.Message):
    __slots__ = ("name", "server_tool_name", "description", "effect")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SERVER_TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    name: str
    server_tool_name: str
    description: str
    effect: str
    def __init__(self, name: _Optional[str] = ..., server_tool_name: _Optional[str] = ..., description: _Optional[str] = ..., effect: _Optional[str] = ...) -> None: ...

class PutMcpServerRequest(_message.Message):
    __slots__ = ("name", "url", "credential_name", "allowed_tools", "effect", "trusts_hints", "requires_approval", "timeout_seconds")
    NAME_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    CREDENTIAL_NAME_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_TOOLS_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    TRUSTS_HINTS_FIELD_NUMBER: _ClassVar[int]
    REQUIRES_APPROVAL_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    url: str
    credential_name: str
    allowed_tools: _containers.RepeatedScalarFieldContainer[str]
    effect: str
    trusts_hints: bool
    requires_approval: bool
    timeout_seconds: float
    def __init__(self, name: _Optional[str] = ..., url: _Optional[str] = ..., credential_name: _Optional[str] = ..., allowed_tools: _Optional[_Iterable[str]] = ..., effect: _Optional[str] = ..., trusts_hints: _Optional[bool] = ..., requires_approval: _Optional[bool] = ..., timeout_seconds: _Optional[float] = ...) -> None: ...

class ListMcpServersRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListMcpServersResponse(_message.Message):
    __slots__ = ("mcp_servers", "next_page_token")
    MCP_SERVERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    mcp_servers: _containers.RepeatedCompositeFieldContainer[McpServer]
    next_page_token: str
    def __init__(self, mcp_servers: _Optional[_Iterable[_Union[McpServer, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetMcpServerRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class RefreshMcpServerRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteMcpServerRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteMcpServerResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
