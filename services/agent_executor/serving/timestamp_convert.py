"""Between the milliseconds of the domain and the timestamps of the contracts."""

from __future__ import annotations

from google.protobuf import timestamp_pb2


def timestamp(time_ms: int) -> timestamp_pb2.Timestamp:
    """Returns milliseconds since 1970-01-01 UTC as the API shows a time."""
    seconds, milliseconds = divmod(time_ms, 1_000)
    return timestamp_pb2.Timestamp(seconds=seconds, nanos=milliseconds * 1_000_000)


def set_timestamp(shown: timestamp_pb2.Timestamp, time_ms: int) -> None:
    """Sets a field of a message to milliseconds since 1970-01-01 UTC."""
    shown.seconds, milliseconds = divmod(time_ms, 1_000)
    if milliseconds:
        shown.nanos = milliseconds * 1_000_000


def ceil_to_ms(moment: timestamp_pb2.Timestamp) -> int:
    """Returns the first whole millisecond since 1970-01-01 UTC that is not before a time."""
    return moment.seconds * 1_000 - (-moment.nanos // 1_000_000)
