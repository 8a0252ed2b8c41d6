"""Cuts many inputs into requests that start runs for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

# What one request takes.
INPUTS_MAX = 1_000
BYTES_MAX = 4 * 1024 * 1024
# Of the request's JSON around an input; an input's own may be twice as long as its text.
_AROUND_BYTES = 8


def in_requests(inputs: Sequence[str]) -> Iterator[list[str]]:
    """Yields the inputs of each request, in order."""
    some: list[str] = []
    size = 0
    for text in inputs:
        length = 2 * len(text.encode()) + _AROUND_BYTES
        if some and (len(some) >= INPUTS_MAX or size + length > BYTES_MAX):
            yield some
            some, size = [], 0
        some.append(text)
        size += length
    if some:
        yield some
