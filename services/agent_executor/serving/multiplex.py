"""Multiplexed streams: the calls of one service to a peer, all on one long-lived RPC.

A unary RPC costs gRPC about half a millisecond of processor time at both ends together. A stream
costs as much per *message*, and under load many calls share one: while a message is being written,
what comes next waits and goes out together.
"""

from __future__ import annotations

from agent_executor.serving.multiplex_client import MultiplexedStream
from agent_executor.serving.multiplex_frames import CHANNEL_OPTIONS, SERVER_OPTIONS
from agent_executor.serving.multiplex_server import MultiplexedServer

__all__ = ["CHANNEL_OPTIONS", "SERVER_OPTIONS", "MultiplexedServer", "MultiplexedStream"]
