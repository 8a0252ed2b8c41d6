"""A platform whose agent may send an email only if a person lets it."""

from __future__ import annotations

import asyncio
from typing import Any

from agent_executor.executor.approvals.approval import Approval
from agent_executor.executor.approvals.approvals import Answer, Approvals
from agent_executor.executor.approvals.policy import ApprovalPolicy, ApprovalRule
from agent_executor.executor.log.run_event import payload_type
from agent_executor.executor.models.model import (
    OPERATOR_ACCESS,
    DeltaListener,
    ModelAccess,
    ModelRequest,
    ModelResponse,
    ModelUsage,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from agent_executor.serving.security import SecurityContext
from tests.unit.executor.platforms import ADA, Platform

BOB = SecurityContext("acme", "bob", frozenset({"run:approve", "run:read"}))
TIMEOUT_SECONDS = 3_600
APPROVE = Answer("approve")
DENY = Answer("deny", "No.")


class EmailingModel:
    """Asks for as many emails as its input says, then tells what came of them."""

    name = "emailing"

    async def generate(
        self,
        request: ModelRequest,
        *,
        access: ModelAccess = OPERATOR_ACCESS,
        on_delta: DeltaListener | None = None,
    ) -> ModelResponse:
        """See ``ModelProvider``."""
        last = request.messages[-1].content
        content: tuple[Any, ...]
        if isinstance(last[0], TextBlock):
            count = int(last[0].text)
            content = tuple(ToolUseBlock(f"t{n}", "email", {"n": n}) for n in range(count))
            reason = "tool_use"
        else:
            told = [block.content for block in last if isinstance(block, ToolResultBlock)]
            content, reason = (TextBlock(" ".join(told)),), "end_turn"
        return ModelResponse("msg", request.model, content, reason, ModelUsage(1, 1))  # type: ignore[arg-type]  # one of its words


class Office(Platform):
    """A platform with people. Two of them can share what they keep."""

    def __init__(self, **platform: Any) -> None:
        super().__init__(model=EmailingModel(), **platform)
        self.tools.tool_names = ("email",)
        self.people = Approvals(
            store=self.approvals,
            journal=self.journal,
            tools=self.tools,
            wake=self.runs.wake,
            now_ms=lambda: self.now_ms,
        )

    async def agent_that_asks(self, **fields: Any) -> str:
        policy = ApprovalPolicy((ApprovalRule("email"),), TIMEOUT_SECONDS)
        return await self.agent(tools={"email": True}, approval_policy=policy, **fields)

    async def parked_run(self, calls: int = 1) -> str:
        """Starts a run and returns its id once it is parked."""
        view = await self.runs.start(await self.agent_that_asks(), str(calls), ADA)
        await self.until_idle()
        return view.run.run_id

    async def until_idle(self) -> None:
        """Returns once this executor drives nothing."""
        while self.runs.active_count:  # noqa: ASYNC110 -- nothing tells of it but the count
            await asyncio.sleep(0)

    async def until_asked(self) -> str:
        """Returns the id of a run once it asks people about a call."""
        while not (waiting := await self.pending()):  # noqa: ASYNC110 -- as above
            await asyncio.sleep(0)
        return waiting[0].run_id

    async def pending(self) -> list[Approval]:
        return await self.people.list_pending(BOB, 100)

    async def resolve(
        self,
        run_id: str,
        answer: Answer = APPROVE,
        number: int = 0,
        by: SecurityContext = BOB,
    ) -> Approval:
        return await self.people.resolve(run_id, f"{run_id}_1_{number}", answer, by)

    async def types(self, run_id: str) -> list[str]:
        return [payload_type(event.payload) for event in await self.journal.events(run_id)]

    async def state(self, run_id: str) -> str:
        run = await self.journal.get("acme", run_id)
        assert run is not None
        state: str = run.state
        return state
