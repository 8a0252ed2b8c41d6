"""What the tools of a run are, asked of a tool-runner that may be away."""

from __future__ import annotations

from agent_executor.errors import CancelledRunError, DeadlineExceededError, UnavailableError
from agent_executor.executor.driving.driven_run import DrivenRun
from agent_executor.executor.model_calls.model_answers import CANCELLED
from agent_executor.executor.model_calls.model_call import loop_seconds
from agent_executor.executor.models.model import ToolSpecification
from agent_executor.executor.peers.retries import Retries
from agent_executor.executor.peers.tools import ToolRunner, require_all


async def described_tools(
    tools: ToolRunner, driven: DrivenRun, ends_at: float, retries: Retries
) -> tuple[ToolSpecification, ...]:
    """Returns the tools that the run's agent may use, at the versions that the run is bound to.

    Args:
        tools: Is asked, while it is away again and again.
        driven: The run; once it is to end, nothing is waited for.
        ends_at: After what time there is no further try, in the event loop's time.
        retries: Spaces the tries.

    Raises:
        ToolNotFoundError: One of them is not there any more.
        CancelledRunError: The run is to end.
        AgentExecutorError: The tool-runner gave no answer.
    """
    names, versions = driven.agent.enabled_tools(), driven.log.state.tool_versions
    if not names:
        return ()
    stop, tries = driven.log.stop, 0
    while True:
        try:
            described = await stop.bound(tools.describe(names, driven.security, versions))
        except (UnavailableError, DeadlineExceededError):
            tries += 1
            delay_seconds = retries.delay_seconds(tries)
            if loop_seconds() + delay_seconds >= ends_at or stop.is_set:
                raise
            await stop.sleep(delay_seconds)
            continue
        if described is None:
            raise CancelledRunError(CANCELLED)
        require_all(names, described, versions)
        return described
