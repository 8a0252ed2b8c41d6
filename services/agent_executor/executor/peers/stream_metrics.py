"""What is counted of the streams to the replicas of a peer."""

from __future__ import annotations

from collections.abc import Callable

from agent_executor.serving.metric_names import STREAM_FRAMES, STREAM_MESSAGES, STREAMS_CONNECTED
from agent_executor.serving.metrics import Metrics


class StreamMetrics:
    """Counts what goes over the streams to a peer, as each ``MultiplexedStream`` tells it.

    Args:
        metrics: Where.
        peer: The service that they lead to.
    """

    def __init__(self, metrics: Metrics, peer: str) -> None:
        self._metrics = metrics
        self._peer = peer
        metrics.add_to_gauge(STREAMS_CONNECTED, 0, peer)

    def connections(self, on_connection: Callable[[bool], None]) -> Callable[[bool], None]:
        """Returns what counts a connection that is made, or one that is lost, and passes it on."""

        def count(is_connected: bool) -> None:
            self._metrics.add_to_gauge(STREAMS_CONNECTED, 1 if is_connected else -1, self._peer)
            on_connection(is_connected)

        return count

    def sent(self, frames: int) -> None:
        """Counts a message with so many frames."""
        self._metrics.increment(STREAM_MESSAGES, self._peer)
        self._metrics.increment(STREAM_FRAMES, self._peer, by=frames)
