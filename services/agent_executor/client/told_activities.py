"""What the caller of a monitor's stream was told, so that a stream that is cut is taken up."""

from __future__ import annotations

from typing import Final

from cachetools import LRUCache

from agent_executor.api.executor.v1 import monitor_service_pb2

# Of so many runs it is known what was told; of one that has not had news for longer it may be told
# a second time.
MAX_RUNS: Final = 20_000


class ToldActivities:
    """Of what happens in an organization's runs: it is taken up since the time of the last activity.

    Args:
        request: What was asked for.
    """

    def __init__(self, request: monitor_service_pb2.StreamActivityRequest) -> None:
        self.metadata: dict[str, str] = {}
        self.is_over = False
        self.may_just_end = False
        self._request = monitor_service_pb2.StreamActivityRequest()
        self._request.CopyFrom(request)
        self._sequences: LRUCache[str, int] = LRUCache(MAX_RUNS)

    def request(self) -> monitor_service_pb2.StreamActivityRequest:
        """See ``Told``."""
        return self._request

    def new(self, message: monitor_service_pb2.Activity) -> monitor_service_pb2.Activity | None:
        """See ``Told``."""
        self._request.since.CopyFrom(message.told_at)
        if message.HasField("event"):
            event = message.event
            if event.sequence <= self._sequences.get(event.run_id, 0):
                return None
            self._sequences[event.run_id] = event.sequence
        return message
