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

class ListSuggestionsRequest(_message.Message):
    __slots__ = ("agent_id", "days")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    DAYS_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    days: int
    def __init__(self, agent_id: _Optional[str] = ..., days: _Optional[int] = ...) -> None: ...

class ListSuggestionsResponse(_message.Message):
    __slots__ = ("suggestions", "start_time", "end_time", "cost_nano_usd")
    SUGGESTIONS_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    COST_NANO_USD_FIELD_NUMBER: _ClassVar[int]
    suggestions: _containers.RepeatedCompositeFieldContainer[Suggestion]
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    cost_nano_usd: int
    def __init__(self, suggestions: _Optional[_Iterable[_Union[Suggestion, _Mapping]]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., cost_nano_usd: _Optional[int] = ...) -> None: ...

class Suggestion(_message.Message):
    __slots__ = ("id", "kind", "agent_id", "model", "tool_name", "finding", "change", "saving", "evidence_run_ids", "evidence_run_count", "figures")
    class FiguresEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    FINDING_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    SAVING_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_RUN_IDS_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_RUN_COUNT_FIELD_NUMBER: _ClassVar[int]
    FIGURES_FIELD_NUMBER: _ClassVar[int]
    id: str
    kind: str
    agent_id: str
    model: str
    tool_name: str
    finding: str
    change: str
    saving: Saving
    evidence_run_ids: _containers.RepeatedScalarFieldContainer[str]
    evidence_run_count: int
    figures: _containers.ScalarMap[str, float]
    def __init__(self, id: _Optional[str] = ..., kind: _Optional[str] = ..., agent_id: _Optional[str] = ..., model: _Optional[str] = ..., tool_name: _Optional[str] = ..., finding: _Optional[str] = ..., change: _Optional[str] = ..., saving: _Optional[_Union[Saving, _Mapping]] = ..., evidence_run_ids: _Optional[_Iterable[str]] = ..., evidence_run_count: _Optional[int] = ..., figures: _Optional[_Mapping[str, float]] = ...) -> None: ...

class Saving(_message.Message):
    __slots__ = ("low_nano_usd", "expected_nano_usd", "high_nano_usd", "expected_usd")
    LOW_NANO_USD_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_NANO_USD_FIELD_NUMBER: _ClassVar[int]
    HIGH_NANO_USD_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_USD_FIELD_NUMBER: _ClassVar[int]
    low_nano_usd: int
    expected_nano_usd: int
    high_nano_usd: int
    expected_usd: float
    def __init__(self, low_nano_usd: _Optional[int] = ..., expected_nano_usd: _Optional[int] = ..., high_nano_usd: _Optional[int] = ..., expected_usd: _Optional[float] = ...) -> None: ...
