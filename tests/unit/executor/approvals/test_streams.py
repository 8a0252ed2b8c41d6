"""Streams of runs that wait for a person: they stay, although nobody drives the run meanwhile."""

from __future__ import annotations

from agent_executor.executor.log.run_event import (
    ApprovalRequested,
    ApprovalResolved,
    ToolCallCompleted,
    ToolCallStarted,
)
from agent_executor.executor.runs.run_view import RunView
from agent_executor.executor.streams.run_updates import RunUpdate
from agent_executor.executor.streams.update_convert import update_to_proto
from tests.unit.executor.approvals.platform import Office
from tests.unit.executor.platforms import ADA


async def test_a_stream_tells_of_the_question_and_of_the_decision() -> None:
    office = Office()
    told: list[RunUpdate] = []
    async for update in office.runs.stream(await office.agent_that_asks(), "1", ADA):
        told.append(update)
        if isinstance(update.change, ApprovalRequested):
            await office.until_idle()
            assert await office.state(update.run_id) == "waiting"
            await office.resolve(update.run_id)
    changes = [type(update.change) for update in told]
    order = [ApprovalRequested, ApprovalResolved, ToolCallStarted, ToolCallCompleted, RunView]
    assert [change for change in changes if change in order] == order
    messages = [update_to_proto(update) for update in told]
    assert all(message.WhichOneof("update") == message.type for message in messages)
    (asked,) = (each.approval_requested for each in messages if each.type == "approval_requested")
    assert asked.tool_name == "email"
    assert messages[-1].done.state == "completed"
