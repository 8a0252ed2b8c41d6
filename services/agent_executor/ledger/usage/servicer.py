"""UsageService over gRPC: proto in, proto out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any, Final, NamedTuple, cast

from google.protobuf.message import Message

from agent_executor.api.ledger.v1 import usage_pb2, usage_service_pb2
from agent_executor.ledger.usage import convert
from agent_executor.ledger.usage.operation import Asked, Operation
from agent_executor.ledger.usage.recording import RecordUsage
from agent_executor.ledger.usage.rerating import RerateUsage
from agent_executor.ledger.usage.usage import Usage
from agent_executor.serving.interceptors import Context
from agent_executor.serving.multiplex_server import MultiplexedServer
from agent_executor.serving.pipeline import AdmittedCall, CallPipeline
from agent_executor.serving.security import current_security_context
