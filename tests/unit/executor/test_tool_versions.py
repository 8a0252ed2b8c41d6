"""A run is bound to one version of each custom tool, from its start to its end."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from agent_executor.api.executor.v1 import agent_service_pb2
from agent_executor.errors import ToolNotFoundError
from agent_executor.executor.agents.agent import AgentVersion, CustomTool
from agent_executor.executor.agents.servicer import AgentServicer
from agent_executor.executor.convert import agent_test_to_proto
from agent_executor.executor.log.run import RunState, apply
from agent_executor.executor.log.run_event import RunEvent, RunStarted, decode_payload
from agent_executor.executor.models.model import TextBlock, ToolResultBlock
from agent_executor.executor.peers.tools import ToolOutcome, ToolRequest
from agent_executor.executor.runs.run_options import RunOptions
from agent_executor.serving.security import current_security_context
from tests.unit.executor.peers import answer
from tests.unit.executor.platforms import ADA, CALCULATOR, Platform
from tests.unit.executor.worlds import ScriptedModel, World, use

TEST_WEATHER = "Test the weather tool"


def with_weather(platform: Platform) -> Platform:
    """Lets a platform have the custom tool ``weather``, whose newest version is ``aa``."""
    platform.tools.tool_names = ("calculator", "weather")
    platform.tools.newest = {"weather": "aa"}
    return platform


async def weather_agent(platform: Platform, version: str = "") -> str:
    custom_tools = {"weather": CustomTool("Weather", version=version)}
    return await platform.agent(tools=CALCULATOR, custom_tools=custom_tools)


async def started(platform: Platform, run_id: str) -> RunStarted:
    first = (await platform.journal.events(run_id))[0].payload
    assert isinstance(first, RunStarted)
    return first


async def test_a_run_keeps_the_versions_that_were_the_newest_at_its_start() -> None:
    platform = with_weather(Platform())

    def register_another(request: ToolRequest) -> ToolOutcome:
        platform.tools.newest["weather"] = "bb"
        return answer()

    platform.tools.run = register_another
    agent_id = await weather_agent(platform)
    text = "Test all your tools"
    view = await platform.runs.execute(agent_id, text, ADA)
    assert view.state.state == "completed"
    assert (await started(platform, view.run.run_id)).tool_versions == {"weather": "aa"}
    called = {call.tool_name: call.tool_version for call in platform.tools.requests}
    assert called == {"calculator": "", "weather": "aa"}
    assert platform.tools.asked_versions == [{}, {"weather": "aa"}, {"weather": "aa"}]

    second = await platform.runs.execute(agent_id, text, ADA)
    assert (await started(platform, second.run.run_id)).tool_versions == {"weather": "bb"}


async def test_an_agent_s_own_version_is_used_though_there_is_a_newer_one() -> None:
    platform = with_weather(Platform())
    view = await platform.runs.execute(await weather_agent(platform, "0f"), TEST_WEATHER, ADA)
    assert view.state.tool_versions == {"weather": "0f"}
    assert [call.tool_version for call in platform.tools.requests] == ["0f"]
    assert platform.tools.asked_versions == [{"weather": "0f"}] * 3


async def test_an_agent_s_own_version_that_is_gone_is_named_before_the_run_starts() -> None:
    platform = with_weather(Platform())
    platform.tools.retired = {"0f"}
    agent_id = await weather_agent(platform, "0f")
    with pytest.raises(ToolNotFoundError, match='no version 0f of the tool "weather"'):
        await platform.runs.execute(agent_id, TEST_WEATHER, ADA)
    assert await platform.runs.list_runs(ADA, 10) == []


async def test_the_heir_of_a_run_goes_on_with_its_versions() -> None:
    dead = with_weather(Platform(worker="dead"))
    dead.tools.gate = asyncio.Event()
    view = await dead.runs.start(await weather_agent(dead), TEST_WEATHER, ADA)
    await dead.tools.wait_until_asked()
    await dead.runs.drain(0.0)

    heir = with_weather(Platform(journal=dead.journal, store=dead.store, worker="heir"))
    heir.tools.newest = {"weather": "bb"}
    assert await heir.runs.take_over() == 1
    await heir.runs.drain(5.0)
    assert (await heir.runs.get(view.run.run_id, ADA)).state.state == "completed"
    assert [call.tool_version for call in heir.tools.requests] == ["aa"]
    assert heir.tools.asked_versions == [{"weather": "aa"}]


async def test_a_version_that_is_retired_ends_its_runs_which_keep_what_they_had() -> None:
    platform = with_weather(Platform())

    def retire(request: ToolRequest) -> ToolOutcome:
        platform.tools.retired.add(request.tool_version)
        platform.tools.newest["weather"] = "bb"
        return answer('"sunny"')

    platform.tools.run = retire
    view = await platform.runs.execute(await weather_agent(platform), TEST_WEATHER, ADA)
    assert (view.state.state, view.run.code) == ("failed", "TOOL_NOT_FOUND")
    assert view.run.error == 'There is no version aa of the tool "weather".'
    assert [result.result_json for result in view.state.tool_results] == ['"sunny"']
    assert view.state.tokens_used > 0
    assert len(platform.ledger.settled) == 1


async def test_the_model_is_not_told_the_versions() -> None:
    world = World(ScriptedModel([[TextBlock("hi")]]))
    world.tools.newest = {"calculator": "aa"}
    await world.drive()
    assert isinstance(world.model, ScriptedModel)
    (tool,) = world.model.requests[0].tools
    assert b"version" not in msgspec.json.encode(tool)


async def test_a_log_of_before_the_versions_goes_on_as_it_would_have() -> None:
    world = World(ScriptedModel([[use()], [TextBlock("42")]]))
    payload = decode_payload(
        b'{"type":"run_started","agent_id":"agent","agent_version":1,"model":"model",'
        b'"input":"hello","is_test":false}'
    )
    assert payload == RunStarted("agent", 1, "model", "hello")
    world.log.state = apply(RunState(), RunEvent(1, 1_000, payload))
    assert (await world.drive()).state == "completed"
    assert [call.tool_version for call in world.tools.requests] == [""]
    assert world.tools.asked_versions == [{}, {}]


def test_an_agent_of_before_the_versions_fixes_none() -> None:
    agent = AgentVersion("id", "acme", 1, "Ada", 0, 0, custom_tools={"mine": CustomTool("Mine")})
    stored = msgspec.json.encode(agent).replace(b',"version":""', b"")
    assert b'"mine":{"class_name":"Mine","enabled":true}' in stored
    assert msgspec.json.decode(stored, type=AgentVersion) == agent


async def test_an_effect_that_nobody_knows_of_is_an_error_result_and_no_second_call() -> None:
    platform = with_weather(Platform())
    sentence = "The tool was stopped while it ran; whether it took effect is not known."
    platform.tools.run = lambda request: ToolOutcome(False, "null", sentence, "OUTCOME_UNKNOWN", 1)
    agent_id = await weather_agent(platform)
    view = await platform.runs.execute(agent_id, TEST_WEATHER, ADA, RunOptions(is_test=True))
    assert view.state.state == "completed"
    assert not agent_test_to_proto(view).success
    assert len(platform.tools.requests) == 1
    assert sentence in view.run.response
    seen = view.state.messages[-2].content[0]
    assert isinstance(seen, ToolResultBlock)
    assert (seen.is_error, sentence in seen.content) == (True, True)
    (result,) = view.state.tool_results
    assert (result.success, result.error, result.code) == (False, sentence, "OUTCOME_UNKNOWN")


async def test_an_agent_s_tools_are_listed_at_the_versions_that_it_fixes() -> None:
    platform = with_weather(Platform())
    platform.tools.retired = {"0f"}
    request = agent_service_pb2.ListAgentToolsRequest(agent_id=await weather_agent(platform, "0f"))
    token = current_security_context.set(ADA)
    listed = await AgentServicer(platform.agents, platform.tools).ListAgentTools(request, None)  # type: ignore[arg-type]  # not looked at
    current_security_context.reset(token)
    assert {tool.name: tool.enabled for tool in listed.tools} == {
        "calculator": True,
        "weather": False,
    }
    assert platform.tools.asked_versions == [{"weather": "0f"}]
