"""AgentService over gRPC: proto in, proto out."""

from __future__ import annotations

from agent_executor.api.executor.v1 import agent_pb2, agent_service_pb2, agent_service_pb2_grpc
from agent_executor.errors import InvalidArgumentError
from agent_executor.executor.agents.agent import AgentVersion
from agent_executor.executor.agents.agents import Agents
from agent_executor.executor.agents.convert import (
    UPDATABLE_FIELDS,
    agent_to_proto,
    created_fields,
    updated_fields,
)
from agent_executor.executor.paging import decode_page_token, encode_page_token, page_size_of
from agent_executor.executor.peers.tools import ToolRunner
from agent_executor.executor.runs.run_request_convert import key_of
from agent_executor.serving.interceptors import Context
from agent_executor.serving.security import current_security_context


class AgentServicer(agent_service_pb2_grpc.AgentServiceServicer):
    """See ``protos/agent_executor/api/executor/v1/agent_service.proto``."""

    def __init__(self, agents: Agents, tools: ToolRunner) -> None:
        self._agents = agents
        self._tools = tools

    async def CreateAgent(  # noqa: N802 -- the contract's name
        self, request: agent_service_pb2.CreateAgentRequest, context: Context
    ) -> agent_pb2.Agent:
        """Creates an agent."""
        security = current_security_context.get()
        key = key_of(request, context, security)
        agent = await self._agents.create(created_fields(request), request.api_key, security, key)
        return self._shown(agent)

    async def GetAgent(  # noqa: N802 -- the contract's name
        self, request: agent_service_pb2.GetAgentRequest, context: Context
    ) -> agent_pb2.Agent:
        """Returns an agent."""
        del context
        agent = await self._agents.get(
            request.agent_id, current_security_context.get(), request.version
        )
        return self._shown(agent)

    async def ListAgents(  # noqa: N802 -- the contract's name
        self, request: agent_service_pb2.ListAgentsRequest, context: Context
    ) -> agent_service_pb2.ListAgentsResponse:
        """Lists agents."""
        del context
        size = page_size_of(request.page_size)
        agents = await self._agents.list_agents(
            current_security_context.get(), size + 1, decode_page_token(request.page_token)
        )
        page = agents[:size]
        return agent_service_pb2.ListAgentsResponse(
            agents=[self._shown(agent) for agent in page],
            next_page_token=encode_page_token(page[-1].agent_id) if len(agents) > size else "",
        )

    async def UpdateAgent(  # noqa: N802 -- the contract's name
        self, request: agent_service_pb2.UpdateAgentRequest, context: Context
    ) -> agent_pb2.Agent:
        """Changes an agent."""
        del context
        unknown = sorted(set(request.update_mask.paths) - UPDATABLE_FIELDS)
        if unknown:
            message = f'update_mask names "{unknown[0]}", which cannot be changed.'
            raise InvalidArgumentError(message, field_violations=(("update_mask", message),))
        if "name" in request.update_mask.paths and not request.HasField("name"):
            message = 'update_mask names "name", so that the request must hold it.'
            raise InvalidArgumentError(message, field_violations=(("name", message),))
        fields, api_key = updated_fields(request)
        agent = await self._agents.update(
            request.agent_id, fields, api_key, current_security_context.get()
        )
        return self._shown(agent)

    async def DeleteAgent(  # noqa: N802 -- the contract's name
        self, request: agent_service_pb2.DeleteAgentRequest, context: Context
    ) -> agent_service_pb2.DeleteAgentResponse:
        """Deletes an agent."""
        del context
        await self._agents.delete(request.agent_id, current_security_context.get())
        return agent_service_pb2.DeleteAgentResponse()

    async def ListAgentTools(  # noqa: N802 -- the contract's name
        self, request: agent_service_pb2.ListAgentToolsRequest, context: Context
    ) -> agent_service_pb2.ListAgentToolsResponse:
        """Lists the tools that an agent names."""
        del context
        security = current_security_context.get()
        agent = await self._agents.get(request.agent_id, security)
        named, versions = agent.named_tools(), agent.pinned_versions()
        known = await self._tools.describe(sorted(named), security, versions) if named else ()
        descriptions = {tool.name: tool.description for tool in known}
        tools = [
            agent_service_pb2.AgentTool(
                name=name,
                description=descriptions.get(name, "This tool is not registered."),
                enabled=enabled and name in descriptions,
            )
            for name, enabled in sorted(named.items())
        ]
        return agent_service_pb2.ListAgentToolsResponse(
            agent_id=request.agent_id, tools=tools, total_tools=len(tools)
        )

    def _shown(self, agent: AgentVersion) -> agent_pb2.Agent:
        return agent_to_proto(agent, self._agents.warnings_of(agent))
