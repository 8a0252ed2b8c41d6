"""Span ids that follow from a name, so that others can link to a span whom nobody has told its id.

The span of a model call has the id that its model call's id gives. Whoever knows that one, another
process or the heir of one that was killed, knows the span.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from opentelemetry.trace import Link, SpanContext

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.id_generator import IdGenerator

_SPAN_ID_BYTES: Final = 8

_NEXT: Final[ContextVar[int]] = ContextVar("next_span_id", default=0)


def span_id_of(name: str) -> int:
    """Returns the span id that follows from a name, which must be unique among all spans."""
    # 0 is no span id.
    return int.from_bytes(blake2b(name.encode(), digest_size=_SPAN_ID_BYTES).digest()) or 1


@contextmanager
def span_named(name: str) -> Iterator[None]:
    """Gives the one span that is begun in the block the id that follows from a name."""
    token = _NEXT.set(span_id_of(name))
    try:
        yield
    finally:
        _NEXT.reset(token)


def link_to(name: str, trace: SpanContext) -> Link:
    """Returns a link to the span of that name in the trace of another span."""
    return Link(
        SpanContext(trace.trace_id, span_id_of(name), is_remote=True, trace_flags=trace.trace_flags)
    )


def id_generator() -> IdGenerator:
    """Returns what gives spans their ids: random ones, but within ``span_named``."""
    # Only a process that traces loads the SDK, which takes a tenth of a second.
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class NamedIdGenerator(RandomIdGenerator):
        def generate_span_id(self) -> int:
            return _NEXT.get() or super().generate_span_id()

    return NamedIdGenerator()
