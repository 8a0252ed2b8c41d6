"""Whatever pieces a stream comes in, its answer is the same; and no bytes break anything."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import httpx2
from anthropic import AsyncStream
from hypothesis import given
from hypothesis import strategies as st

from agent_executor.errors import ModelError
from agent_executor.executor.models.anthropic.stream import AnswerAssembly
from agent_executor.executor.models.model import ModelResponse
from tests.unit.executor.models.anthropic.recorded import RECORDED, as_bytes


class _Chunks(httpx2.AsyncByteStream):
    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk


def assemble(chunks: list[bytes]) -> ModelResponse:
    """Reads chunks as the provider does: through the SDK's own decoder."""

    async def read() -> ModelResponse:
        assembly = AnswerAssembly()
        response = httpx2.Response(200, stream=_Chunks(chunks))
        async for event in AsyncStream.raw_events(response):
            assembly.feed(event.data)
        return assembly.response()

    return asyncio.run(read())


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % len(data) for place in cuts}), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(
    st.sampled_from(sorted(RECORDED)),
    st.lists(st.integers(0, 10_000), max_size=60),
    st.sampled_from(["\n", "\r\n"]),
)
def test_any_chunking_gives_the_same_answer(name: str, cuts: list[int], line_end: str) -> None:
    data = as_bytes(RECORDED[name], line_end)
    assert assemble(cut(data, cuts)) == assemble([as_bytes(RECORDED[name])])


@given(st.sampled_from(sorted(RECORDED)))
def test_every_byte_by_itself_gives_the_same_answer(name: str) -> None:
    data = as_bytes(RECORDED[name])
    assert assemble(cut(data, list(range(len(data))))) == assemble([data])


@given(st.sampled_from(sorted(RECORDED)), st.integers(0, 10_000), st.binary(max_size=8))
def test_a_damaged_stream_is_an_answer_or_an_error(name: str, place: int, junk: bytes) -> None:
    data = as_bytes(RECORDED[name])
    at = place % len(data)
    try:
        assemble([data[:at] + junk + data[at + len(junk) :]])
    except (ModelError, UnicodeDecodeError):
        return
