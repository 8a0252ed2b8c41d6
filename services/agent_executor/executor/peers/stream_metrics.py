"""What is counted of the streams to a peer."""

from __future__ import annotations

from agent_executor.serving.metric_names import STREAM_FRAMES, STREAM_MESSAGES, STREAMS_CONNECTED
from agent_executor.serving.metrics import Metrics


class StreamMetrics:
    """Counts what goes over one stream, as ``MultiplexedStream`` tells it.

    Args:
        metrics: Where.
        peer: The service that it leads to; several streams may lead to one.
    """

    def __init__(self, metrics: Metrics, peer: str) -> None:
        self._metrics = metrics
        self._peer = peer
        metrics.add_to_gauge(STREAMS_CONNECTED, 0, peer)

    def connected(self, is_connected: bool) -> None:
        """Counts a connection that is made, or one that is lost."""
        self._metrics.add_to_gauge(STREAMS_CONNECTED, 1 if is_connected else -1, self._peer)

    def sent(self, frames: int) -> None:
        """Counts a message with so many frames."""
        self._metrics.increment(STREAM_MESSAGES, self._peer)
        self._metrics.increment(STREAM_FRAMES, self._peer, by=frames)
