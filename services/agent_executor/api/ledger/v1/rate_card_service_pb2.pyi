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

class RateCard(_message.Message):
    __slots__ = ("id", "provider", "model", "tool_name", "processing", "speed", "rates", "tiers", "fee_usd", "valid_from", "valid_until", "created_at", "created_by", "withdrawn_at", "description", "fee_nano_usd")
    ID_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    PROCESSING_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    RATES_FIELD_NUMBER: _ClassVar[int]
    TIERS_FIELD_NUMBER: _ClassVar[int]
    FEE_USD_FIELD_NUMBER: _ClassVar[int]
    VALID_FROM_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    CREATED_BY_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWN_AT_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    FEE_NANO_USD_FIELD_NUMBER: _ClassVar[int]
    id: str
    provider: str
    model: str
    tool_name: str
    processing: str
    speed: str
    rates: TokenRates
    tiers: _containers.RepeatedCompositeFieldContainer[RateTier]
    fee_usd: float
    valid_from: _timestamp_pb2.Timestamp
    valid_until: _timestamp_pb2.Timestamp
    created_at: _timestamp_pb2.Timestamp
    created_by: str
    withdrawn_at: _timestamp_pb2.Timestamp
    description: str
    fee_nano_usd: int
    def __init__(self, id: _Optional[str] = ..., provider: _Optional[str] = ..., model: _Optional[str] = ..., tool_name: _Optional[str] = ..., processing: _Optional[str] = ..., speed: _Optional[str] = ..., rates: _Optional[_Union[TokenRates, _Mapping]] = ..., tiers: _Optional[_Iterable[_Union[RateTier, _Mapping]]] = ..., fee_usd: _Optional[float] = ..., valid_from: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., valid_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., created_by: _Optional[str] = ..., withdrawn_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., description: _Optional[str] = ..., fee_nano_usd: _Optional[int] = ...) -> None: ...

class TokenRates(_message.Message):
    __slots__ = ("input_usd_per_million_tokens", "output_usd_per_million_tokens", "cache_read_usd_per_million_tokens", "cache_write_5m_usd_per_million_tokens", "cache_write_1h_usd_per_million_tokens")
    INPUT_USD_PER_MILLION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_USD_PER_MILLION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_READ_USD_PER_MILLION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_WRITE_5M_USD_PER_MILLION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_WRITE_1H_USD_PER_MILLION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    input_usd_per_million_tokens: float
    output_usd_per_million_tokens: float
    cache_read_usd_per_million_tokens: float
    cache_write_5m_usd_per_million_tokens: float
    cache_write_1h_usd_per_million_tokens: float
    def __init__(self, input_usd_per_million_tokens: _Optional[float] = ..., output_usd_per_million_tokens: _Optional[float] = ..., cache_read_usd_per_million_tokens: _Optional[float] = ..., cache_write_5m_usd_per_million_tokens: _Optional[float] = ..., cache_write_1h_usd_per_million_tokens: _Optional[float] = ...) -> None: ...

class RateTier(_message.Message):
    __slots__ = ("above_input_tokens", "rates")
    ABOVE_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    RATES_FIELD_NUMBER: _ClassVar[int]
    above_input_tokens: int
    rates: TokenRates
    def __init__(self, above_input_tokens: _Optional[int] = ..., rates: _Optional[_Union[TokenRates, _Mapping]] = ...) -> None: ...

class CreateRateCardRequest(_message.Message):
    __slots__ = ("model", "tool_name", "processing", "speed", "rates", "tiers", "fee_usd", "valid_from", "valid_until", "description")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    PROCESSING_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    RATES_FIELD_NUMBER: _ClassVar[int]
    TIERS_FIELD_NUMBER: _ClassVar[int]
    FEE_USD_FIELD_NUMBER: _ClassVar[int]
    VALID_FROM_FIELD_NUMBER: _ClassVar[int]
    VALID_UNTIL_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    model: str
    tool_name: str
    processing: str
    speed: str
    rates: TokenRates
    tiers: _containers.RepeatedCompositeFieldContainer[RateTier]
    fee_usd: float
    valid_from: _timestamp_pb2.Timestamp
    valid_until: _timestamp_pb2.Timestamp
    description: str
    def __init__(self, model: _Optional[str] = ..., tool_name: _Optional[str] = ..., processing: _Optional[str] = ..., speed: _Optional[str] = ..., rates: _Optional[_Union[TokenRates, _Mapping]] = ..., tiers: _Optional[_Iterable[_Union[RateTier, _Mapping]]] = ..., fee_usd: _Optional[float] = ..., valid_from: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., valid_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., description: _Optional[str] = ...) -> None: ...

class GetRateCardRequest(_message.Message):
    __slots__ = ("rate_card_id",)
    RATE_CARD_ID_FIELD_NUMBER: _ClassVar[int]
    rate_card_id: str
    def __init__(self, rate_card_id: _Optional[str] = ...) -> None: ...

class ListRateCardsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "model", "tool_name")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    model: str
    tool_name: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., model: _Optional[str] = ..., tool_name: _Optional[str] = ...) -> None: ...

class ListRateCardsResponse(_message.Message):
    __slots__ = ("rate_cards", "next_page_token")
    RATE_CARDS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    rate_cards: _containers.RepeatedCompositeFieldContainer[RateCard]
    next_page_token: str
    def __init__(self, rate_cards: _Optional[_Iterable[_Union[RateCard, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WithdrawRateCardRequest(_message.Message):
    __slots__ = ("rate_card_id",)
    RATE_CARD_ID_FIELD_NUMBER: _ClassVar[int]
    rate_card_id: str
    def __init__(self, rate_card_id: _Optional[str] = ...) -> None: ...

class ResolveRateCardRequest(_message.Message):
    __slots__ = ("model", "time", "processing", "speed", "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens_5m", "cache_creation_input_tokens_1h")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    PROCESSING_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_READ_INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_CREATION_INPUT_TOKENS_5M_FIELD_NUMBER: _ClassVar[int]
    CACHE_CREATION_INPUT_TOKENS_1H_FIELD_NUMBER: _ClassVar[int]
    model: str
    time: _timestamp_pb2.Timestamp
    processing: str
    speed: str
    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens_5m: int
    cache_creation_input_tokens_1h: int
    def __init__(self, model: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., processing: _Optional[str] = ..., speed: _Optional[str] = ..., input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., cache_read_input_tokens: _Optional[int] = ..., cache_creation_input_tokens_5m: _Optional[int] = ..., cache_creation_input_tokens_1h: _Optional[int] = ...) -> None: ...

class ResolveRateCardResponse(_message.Message):
    __slots__ = ("rate_card", "cost_nano_usd", "cost_usd")
    RATE_CARD_FIELD_NUMBER: _ClassVar[int]
    COST_NANO_USD_FIELD_NUMBER: _ClassVar[int]
    COST_USD_FIELD_NUMBER: _ClassVar[int]
    rate_card: RateCard
    cost_nano_usd: int
    cost_usd: float
    def __init__(self, rate_card: _Optional[_Union[RateCard, _Mapping]] = ..., cost_nano_usd: _Optional[int] = ..., cost_usd: _Optional[float] = ...) -> None: ...
