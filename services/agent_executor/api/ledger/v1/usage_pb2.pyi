import datetime

from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TokenUsage(_message.Message):
    __slots__ = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens_5m", "cache_creation_input_tokens_1h")
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_READ_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_CREATION_INPUT_TOKENS_5M_FIELD_NUMBER: _ClassVar[int]
    CACHE_CREATION_INPUT_TOKENS_1H_FIELD_NUMBER: _ClassVar[int]
    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens_5m: int
    cache_creation_input_tokens_1h: int
    def __init__(self, input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., cache_read_input_tokens: _Optional[int] = ..., cache_creation_input_tokens_5m: _Optional[int] = ..., cache_creation_input_tokens_1h: _Optional[int] = ...) -> None: ...

class CallPurpose(_message.Message):
    __slots__ = ("prefix_digest", "prefix_tokens", "history_tokens", "is_background")
    PREFIX_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PREFIX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    HISTORY_TOKENS_FIELD_NUMBER: _ClassVar[int]
    IS_BACKGROUND_FIELD_NUMBER: _ClassVar[int]
    prefix_digest: str
    prefix_tokens: int
    history_tokens: int
    is_background: bool
    def __init__(self, prefix_digest: _Optional[str] = ..., prefix_tokens: _Optional[int] = ..., history_tokens: _Optional[int] = ..., is_background: _Optional[bool] = ...) -> None: ...

class ToolUse(_message.Message):
    __slots__ = ("tool_call_id", "tool_name", "arguments_digest")
    TOOL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    tool_call_id: str
    tool_name: str
    arguments_digest: str
    def __init__(self, tool_call_id: _Optional[str] = ..., tool_name: _Optional[str] = ..., arguments_digest: _Optional[str] = ...) -> None: ...

class UsageEntry(_message.Message):
    __slots__ = ("id", "kind", "user_id", "agent_id", "run_id", "model", "usage", "cost_nano_usd", "cost_usd", "rate_card_id", "estimated", "is_test", "reservation_id", "created_at", "reservation_outcome", "attempt", "corrects_entry_id", "tool_name", "processing", "speed", "occurred_at", "description", "purpose", "tool_cost_nano_usd")
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    COST_NANO_USD_FIELD_NUMBER: _ClassVar[int]
    COST_USD_FIELD_NUMBER: _ClassVar[int]
    RATE_CARD_ID_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_FIELD_NUMBER: _ClassVar[int]
    IS_TEST_FIELD_NUMBER: _ClassVar[int]
    RESERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    RESERVATION_OUTCOME_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    CORRECTS_ENTRY_ID_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    PROCESSING_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_AT_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    TOOL_COST_NANO_USD_FIELD_NUMBER: _ClassVar[int]
    id: str
    kind: str
    user_id: str
    agent_id: str
    run_id: str
    model: str
    usage: TokenUsage
    cost_nano_usd: int
    cost_usd: float
    rate_card_id: str
    estimated: bool
    is_test: bool
    reservation_id: str
    created_at: _timestamp_pb2.Timestamp
    reservation_outcome: str
    attempt: int
    corrects_entry_id: str
    tool_name: str
    processing: str
    speed: str
    occurred_at: _timestamp_pb2.Timestamp
    description: str
    purpose: CallPurpose
    tool_cost_nano_usd: int
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[str] = ..., user_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., run_id: _Optional[str] = ..., model: _Optional[str] = ..., usage: _Optional[_Union[TokenUsage, _Mapping]] = ..., cost_nano_usd: _Optional[int] = ..., cost_usd: _Optional[float] = ..., rate_card_id: _Optional[str] = ..., estimated: _Optional[bool] = ..., is_test: _Optional[bool] = ..., reservation_id: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reservation_outcome: _Optional[str] = ..., attempt: _Optional[int] = ..., corrects_entry_id: _Optional[str] = ..., tool_name: _Optional[str] = ..., processing: _Optional[str] = ..., speed: _Optional[str] = ..., occurred_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., description: _Optional[str] = ..., purpose: _Optional[_Union[CallPurpose, _Mapping]] = ..., tool_cost_nano_usd: _Optional[int] = ...) -> None: ...

class Reservation(_message.Message):
    __slots__ = ("id", "state", "held_nano_usd", "max_output_tokens", "expires_at", "parent_reservation_id", "spent_nano_usd")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    HELD_NANO_USD_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    PARENT_RESERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    SPENT_NANO_USD_FIELD_NUMBER: _ClassVar[int]
    id: str
    state: str
    held_nano_usd: int
    max_output_tokens: int
    expires_at: _timestamp_pb2.Timestamp
    parent_reservation_id: str
    spent_nano_usd: int
    def __init__(self, id: _Optional[str] = ..., state: _Optional[str] = ..., held_nano_usd: _Optional[int] = ..., max_output_tokens: _Optional[int] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., parent_reservation_id: _Optional[str] = ..., spent_nano_usd: _Optional[int] = ...) -> None: ...
