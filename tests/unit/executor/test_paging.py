"""A page is never more than one answer may be, and no resource is left out between two."""

from __future__ import annotations

from agent_executor.api.executor.v1 import run_pb2
from agent_executor.executor.paging import PAGE_BYTES_MAX, fitting_page


def test_a_page_ends_before_it_is_too_much_for_one_answer() -> None:
    runs = [run_pb2.Run(id=str(number), input="a" * 524_288) for number in range(18)]
    page = fitting_page(runs, 100)
    assert page == runs[:7]
    assert sum(run.ByteSize() for run in page) <= PAGE_BYTES_MAX
    assert fitting_page(runs, 3) == runs[:3]
    assert fitting_page(runs[:2], 2) == runs[:2]
    assert fitting_page([], 2) == []


def test_a_page_has_one_resource_at_least() -> None:
    runs = [run_pb2.Run(input="a" * (PAGE_BYTES_MAX + 1)), run_pb2.Run()]
    assert fitting_page(runs, 100) == runs[:1]
