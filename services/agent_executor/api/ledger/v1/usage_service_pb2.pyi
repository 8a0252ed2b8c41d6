import datetime

from agent_executor.api.call.v1 import call_pb2 as _call_pb2
from agent_executor.api.ledger.v1 import usage_pb2 as _usage_pb2
from buf.validate import validate_pb2 as _validate_pb2
from google.api import annotations_pb2 as _annotations_pb2
from google.api import httpbody_pb2 as _httpbody_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReserveUsageRequest(_message.Message):
    __slots__ = ("reservation_id", "agent_id", "run_id", "model", "max_input_tokens", "max_output_tokens", "writes_cache", "ttl_seconds", "parent_reservation_id", "min_output_tokens", "processing", "speed")
    RESERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MAX_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    WRITES_CACHE_FIELD_NUMBER: _ClassVar[int]
    TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PARENT_RESERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    MIN_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    PROCESSING_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    reservation_id: str
    agent_id: str
    run_id: str
    model: str
    max_input_tokens: int
    max_output_tokens: int
    writes_cache: bool
    ttl_seconds: int
    parent_reservation_id: str
    min_output_tokens: int
    processing: str
    speed: str
    def __init__(self, reservation_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., run_id: _Optional[str] = ..., model: _Optional[str] = ..., max_input_tokens: _Optional[int] = ..., max_output_tokens: _Optional[int] = ..., writes_cache: _Optional[bool] = ..., ttl_seconds: _Optional[int] = ..., parent_reservation_id: _Optional[str] = ..., min_output_tokens: _Optional[int] = ..., processing: _Optional[str] = ..., speed: _Optional[str] = ...) -> None: ...

class ReserveAmountRequest(_message.Message):
    __slots__ = ("reservation_id", "agent_id", "run_id", "amount_nano_usd", "ttl_seconds", "parent_reservation_id")
    RESERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_NANO_USD_FIELD_NUMBER: _ClassVar[int]
    TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PARENT_RESERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    reservation_id: str
    agent_id: str
    run_id: str
    amount_nano_usd: int
    ttl_seconds: int
    parent_reservation_id: str
    def __init__(self, reservation_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., run_id: _Optional[str] = ..., amount_nano_usd: _Optional[int] = ..., ttl_seconds: _Optional[int] = ..., parent_reservation_id: _Optional[str] = ...) -> None: ...

class RenewReservationRequest(_message.Message):
    __slots__ = ("reservation_id", "ttl_seconds")
    RESERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    reservation_id: str
    ttl_seconds: int
    def __init__(self, reservation_id: _Optional[str] = ..., ttl_seconds: _Optional[int] = ...) -> None: ...

class SettleUsageRequest(_message.Message):
    __slots__ = ("entry_id", "reservation_id", "agent_id", "run_id", "model", "usage", "estimated", "is_test", "attempt", "processing", "speed", "purpose", "tool_uses")
    ENTRY_ID_FIELD_NUMBER: _ClassVar[int]
    RESERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_FIELD_NUMBER: _ClassVar[int]
    IS_TEST_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PROCESSING_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    TOOL_USES_FIELD_NUMBER: _ClassVar[int]
    entry_id: str
    reservation_id: str
    agent_id: str
    run_id: str
    model: str
    usage: _usage_pb2.TokenUsage
    estimated: bool
    is_test: bool
    attempt: int
    processing: str
    speed: str
    purpose: _usage_pb2.CallPurpose
    tool_uses: _containers.RepeatedCompositeFieldContainer[_usage_pb2.ToolUse]
    def __init__(self, entry_id: _Optional[str] = ..., reservation_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., run_id: _Optional[str] = ..., model: _Optional[str] = ..., usage: _Optional[_Union[_usage_pb2.TokenUsage, _Mapping]] = ..., estimated: _Optional[bool] = ..., is_test: _Optional[bool] = ..., attempt: _Optional[int] = ..., processing: _Optional[str] = ..., speed: _Optional[str] = ..., purpose: _Optional[_Union[_usage_pb2.CallPurpose, _Mapping]] = ..., tool_uses: _Optional[_Iterable[_Union[_usage_pb2.ToolUse, _Mapping]]] = ...) -> None: ...

class RecordUsageRequest(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[UsageRecord]
    def __init__(self, entries: _Optional[_Iterable[_Union[UsageRecord, _Mapping]]] = ...) -> None: ...

class UsageRecord(_message.Message):
    __slots__ = ("id", "user_id", "agent_id", "run_id", "model", "usage", "tool_name", "cost_nano_usd", "currency", "occurred_at", "processing", "speed", "estimated", "is_test", "description")
    ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    COST_NANO_USD_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_AT_FIELD_NUMBER: _ClassVar[int]
    PROCESSING_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_FIELD_NUMBER: _ClassVar[int]
    IS_TEST_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    id: str
    user_id: str
    agent_id: str
    run_id: str
    model: str
    usage: _usage_pb2.TokenUsage
    tool_name: str
    cost_nano_usd: int
    currency: str
    occurred_at: _timestamp_pb2.Timestamp
    processing: str
    speed: str
    estimated: bool
    is_test: bool
    description: str
    def __init__(self, id: _Optional[str] = ..., user_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., run_id: _Optional[str] = ..., model: _Optional[str] = ..., usage: _Optional[_Union[_usage_pb2.TokenUsage, _Mapping]] = ..., tool_name: _Optional[str] = ..., cost_nano_usd: _Optional[int] = ..., currency: _Optional[str] = ..., occurred_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., processing: _Optional[str] = ..., speed: _Optional[str] = ..., estimated: _Optional[bool] = ..., is_test: _Optional[bool] = ..., description: _Optional[str] = ...) -> None: ...

class RecordUsageResponse(_message.Message):
    __slots__ = ("recorded_count", "repeated_count", "cost_nano_usd")
    RECORDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    REPEATED_COUNT_FIELD_NUMBER: _ClassVar[int]
    COST_NANO_USD_FIELD_NUMBER: _ClassVar[int]
    recorded_count: int
    repeated_count: int
    cost_nano_usd: int
    def __init__(self, recorded_count: _Optional[int] = ..., repeated_count: _Optional[int] = ..., cost_nano_usd: _Optional[int] = ...) -> None: ...

class CorrectUsageRequest(_message.Message):
    __slots__ = ("entry_id", "corrects_entry_id", "usage", "description")
    ENTRY_ID_FIELD_NUMBER: _ClassVar[int]
    CORRECTS_ENTRY_ID_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    entry_id: str
    corrects_entry_id: str
    usage: _usage_pb2.TokenUsage
    description: str
    def __init__(self, entry_id: _Optional[str] = ..., corrects_entry_id: _Optional[str] = ..., usage: _Optional[_Union[_usage_pb2.TokenUsage, _Mapping]] = ..., description: _Optional[str] = ...) -> None: ...

class RerateUsageRequest(_message.Message):
    __slots__ = ("model", "start_time", "end_time", "dry_run", "description")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    model: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    dry_run: bool
    description: str
    def __init__(self, model: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., dry_run: _Optional[bool] = ..., description: _Optional[str] = ...) -> None: ...

class RerateUsageResponse(_message.Message):
    __slots__ = ("examined_count", "changed_count", "difference_nano_usd")
    EXAMINED_COUNT_FIELD_NUMBER: _ClassVar[int]
    CHANGED_COUNT_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_NANO_USD_FIELD_NUMBER: _ClassVar[int]
    examined_count: int
    changed_count: int
    difference_nano_usd: int
    def __init__(self, examined_count: _Optional[int] = ..., changed_count: _Optional[int] = ..., difference_nano_usd: _Optional[int] = ...) -> None: ...

class GetRunCostRequest(_message.Message):
    __slots__ = ("run_id",)
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    def __init__(self, run_id: _Optional[str] = ...) -> None: ...

class RunCost(_message.Message):
    __slots__ = ("run_id", "entries", "reservations", "total", "estimated_nano_usd", "reserved_nano_usd")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    RESERVATIONS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_NANO_USD_FIELD_NUMBER: _ClassVar[int]
    RESERVED_NANO_USD_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    entries: _containers.RepeatedCompositeFieldContainer[_usage_pb2.UsageEntry]
    reservations: _containers.RepeatedCompositeFieldContainer[_usage_pb2.Reservation]
    total: UsageSummary
    estimated_nano_usd: int
    reserved_nano_usd: int
    def __init__(self, run_id: _Optional[str] = ..., entries: _Optional[_Iterable[_Union[_usage_pb2.UsageEntry, _Mapping]]] = ..., reservations: _Optional[_Iterable[_Union[_usage_pb2.Reservation, _Mapping]]] = ..., total: _Optional[_Union[UsageSummary, _Mapping]] = ..., estimated_nano_usd: _Optional[int] = ..., reserved_nano_usd: _Optional[int] = ...) -> None: ...

class ExportUsageRequest(_message.Message):
    __slots__ = ("format", "run_id", "agent_id", "user_id", "model", "tool_name", "start_time", "end_time")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    format: str
    run_id: str
    agent_id: str
    user_id: str
    model: str
    tool_name: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, format: _Optional[str] = ..., run_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., user_id: _Optional[str] = ..., model: _Optional[str] = ..., tool_name: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class VoidReservationRequest(_message.Message):
    __slots__ = ("reservation_id",)
    RESERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    reservation_id: str
    def __init__(self, reservation_id: _Optional[str] = ...) -> None: ...

class GetReservationRequest(_message.Message):
    __slots__ = ("reservation_id",)
    RESERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    reservation_id: str
    def __init__(self, reservation_id: _Optional[str] = ...) -> None: ...

class StreamUsageRequest(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[UsageFrame]
    def __init__(self, frames: _Optional[_Iterable[_Union[UsageFrame, _Mapping]]] = ...) -> None: ...

class UsageFrame(_message.Message):
    __slots__ = ("header", "reserve", "settle", "void", "get", "cancel", "reserve_amount", "renew", "correct")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    RESERVE_FIELD_NUMBER: _ClassVar[int]
    SETTLE_FIELD_NUMBER: _ClassVar[int]
    VOID_FIELD_NUMBER: _ClassVar[int]
    GET_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    RESERVE_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    RENEW_FIELD_NUMBER: _ClassVar[int]
    CORRECT_FIELD_NUMBER: _ClassVar[int]
    header: _call_pb2.CallHeader
    reserve: ReserveUsageRequest
    settle: SettleUsageRequest
    void: VoidReservationRequest
    get: GetReservationRequest
    cancel: _call_pb2.Cancel
    reserve_amount: ReserveAmountRequest
    renew: RenewReservationRequest
    correct: CorrectUsageRequest
    def __init__(self, header: _Optional[_Union[_call_pb2.CallHeader, _Mapping]] = ..., reserve: _Optional[_Union[ReserveUsageRequest, _Mapping]] = ..., settle: _Optional[_Union[SettleUsageRequest, _Mapping]] = ..., void: _Optional[_Union[VoidReservationRequest, _Mapping]] = ..., get: _Optional[_Union[GetReservationRequest, _Mapping]] = ..., cancel: _Optional[_Union[_call_pb2.Cancel, _Mapping]] = ..., reserve_amount: _Optional[_Union[ReserveAmountRequest, _Mapping]] = ..., renew: _Optional[_Union[RenewReservationRequest, _Mapping]] = ..., correct: _Optional[_Union[CorrectUsageRequest, _Mapping]] = ...) -> None: ...

class StreamUsageResponse(_message.Message):
    __slots__ = ("frames",)
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    frames: _containers.RepeatedCompositeFieldContainer[UsageOutcomeFrame]
    def __init__(self, frames: _Optional[_Iterable[_Union[UsageOutcomeFrame, _Mapping]]] = ...) -> None: ...

class UsageOutcomeFrame(_message.Message):
    __slots__ = ("id", "reserve", "settle", "void", "get", "error", "reserve_amount", "renew", "correct")
    ID_FIELD_NUMBER: _ClassVar[int]
    RESERVE_FIELD_NUMBER: _ClassVar[int]
    SETTLE_FIELD_NUMBER: _ClassVar[int]
    VOID_FIELD_NUMBER: _ClassVar[int]
    GET_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    RESERVE_AMOUNT_FIELD_NUMBER: _ClassVar[int]
    RENEW_FIELD_NUMBER: _ClassVar[int]
    CORRECT_FIELD_NUMBER: _ClassVar[int]
    id: int
    reserve: _usage_pb2.Reservation
    settle: _usage_pb2.UsageEntry
    void: _usage_pb2.Reservation
    get: _usage_pb2.Reservation
    error: _status_pb2.Status
    reserve_amount: _usage_pb2.Reservation
    renew: _usage_pb2.Reservation
    correct: _usage_pb2.UsageEntry
    def __init__(self, id: _Optional[int] = ..., reserve: _Optional[_Union[_usage_pb2.Reservation, _Mapping]] = ..., settle: _Optional[_Union[_usage_pb2.UsageEntry, _Mapping]] = ..., void: _Optional[_Union[_usage_pb2.Reservation, _Mapping]] = ..., get: _Optional[_Union[_usage_pb2.Reservation, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., reserve_amount: _Optional[_Union[_usage_pb2.Reservation, _Mapping]] = ..., renew: _Optional[_Union[_usage_pb2.Reservation, _Mapping]] = ..., correct: _Optional[_Union[_usage_pb2.UsageEntry, _Mapping]] = ...) -> None: ...

class ListUsageEntriesRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "run_id", "agent_id", "user_id", "model", "start_time", "end_time", "tool_name", "kind")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    run_id: str
    agent_id: str
    user_id: str
    model: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    tool_name: str
    kind: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., run_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., user_id: _Optional[str] = ..., model: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., tool_name: _Optional[str] = ..., kind: _Optional[str] = ...) -> None: ...

class ListUsageEntriesResponse(_message.Message):
    __slots__ = ("entries", "next_page_token")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[_usage_pb2.UsageEntry]
    next_page_token: str
    def __init__(self, entries: _Optional[_Iterable[_Union[_usage_pb2.UsageEntry, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class SummarizeUsageRequest(_message.Message):
    __slots__ = ("group_by", "run_id", "agent_id", "user_id", "model", "start_time", "end_time", "page_size", "page_token", "tool_name", "kind", "time_zone", "order_by")
    GROUP_BY_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    group_by: _containers.RepeatedScalarFieldContainer[str]
    run_id: str
    agent_id: str
    user_id: str
    model: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    page_size: int
    page_token: str
    tool_name: str
    kind: str
    time_zone: str
    order_by: str
    def __init__(self, group_by: _Optional[_Iterable[str]] = ..., run_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., user_id: _Optional[str] = ..., model: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., tool_name: _Optional[str] = ..., kind: _Optional[str] = ..., time_zone: _Optional[str] = ..., order_by: _Optional[str] = ...) -> None: ...

class SummarizeUsageResponse(_message.Message):
    __slots__ = ("summaries", "total", "next_page_token")
    SUMMARIES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    summaries: _containers.RepeatedCompositeFieldContainer[UsageSummary]
    total: UsageSummary
    next_page_token: str
    def __init__(self, summaries: _Optional[_Iterable[_Union[UsageSummary, _Mapping]]] = ..., total: _Optional[_Union[UsageSummary, _Mapping]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UsageSummary(_message.Message):
    __slots__ = ("user_id", "agent_id", "model", "run_id", "day", "entry_count", "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens_5m", "cache_creation_input_tokens_1h", "tokens_used", "cost_nano_usd", "cost_usd", "tool_name", "kind", "hour", "month")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    DAY_FIELD_NUMBER: _ClassVar[int]
    ENTRY_COUNT_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_READ_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_CREATION_INPUT_TOKENS_5M_FIELD_NUMBER: _ClassVar[int]
    CACHE_CREATION_INPUT_TOKENS_1H_FIELD_NUMBER: _ClassVar[int]
    TOKENS_USED_FIELD_NUMBER: _ClassVar[int]
    COST_NANO_USD_FIELD_NUMBER: _ClassVar[int]
    COST_USD_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    HOUR_FIELD_NUMBER: _ClassVar[int]
    MONTH_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    agent_id: str
    model: str
    run_id: str
    day: str
    entry_count: int
    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens_5m: int
    cache_creation_input_tokens_1h: int
    tokens_used: int
    cost_nano_usd: int
    cost_usd: float
    tool_name: str
    kind: str
    hour: str
    month: str
    def __init__(self, user_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., model: _Optional[str] = ..., run_id: _Optional[str] = ..., day: _Optional[str] = ..., entry_count: _Optional[int] = ..., input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., cache_read_input_tokens: _Optional[int] = ..., cache_creation_input_tokens_5m: _Optional[int] = ..., cache_creation_input_tokens_1h: _Optional[int] = ..., tokens_used: _Optional[int] = ..., cost_nano_usd: _Optional[int] = ..., cost_usd: _Optional[float] = ..., tool_name: _Optional[str] = ..., kind: _Optional[str] = ..., hour: _Optional[str] = ..., month: _Optional[str] = ...) -> None: ...
