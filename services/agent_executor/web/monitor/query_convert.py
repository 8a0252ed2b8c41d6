"""What the address of a monitor asks for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from agent_executor.api.executor.v1 import monitor_service_pb2
from agent_executor.errors import InvalidArgumentError

_BOOLEANS: Final = {"true": True, "false": False}
_REPEATED: Final = "event_types"


def request_of(
    parameters: Iterable[tuple[str, str]],
) -> monitor_service_pb2.StreamActivityRequest:
    """Returns the request that the parameters of a query are.

    Raises:
        InvalidArgumentError: A parameter is unknown, is given twice, or has a value that cannot be.
    """
    request = monitor_service_pb2.StreamActivityRequest()
    given = set[str]()
    for name, value in parameters:
        if name in given and name != _REPEATED:
            raise _wrong(name, f"The parameter `{name}` may be given once.")
        given.add(name)
        match name:
            case "since":
                request.since.CopyFrom(_time(value))
            case "agent_id":
                request.agent_id = value
            case "run_id":
                request.run_id = value
            case "event_types":
                request.event_types.append(value)
            case "without_content":
                if value not in _BOOLEANS:
                    raise _wrong(name, "The parameter `without_content` is true or false.")
                request.without_content = _BOOLEANS[value]
            case _:
                fields = ", ".join(field.name for field in request.DESCRIPTOR.fields)
                raise _wrong(name, f"There is no such parameter; there are: {fields}.")
    return request


def _time(value: str) -> Timestamp:
    time = Timestamp()
    try:
        time.FromJsonString(value)
    except ValueError:
        # A plus that is not escaped is a space in a query.
        raise _wrong(
            "since", "The parameter `since` is a time such as 2026-02-23T10:00:00Z."
        ) from None
    return time


def _wrong(name: str, message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, field_violations=((name, message),))
