"""The registry of tools over gRPC: proto in, proto out."""

from __future__ import annotations

from agent_executor.api.tool_runner.v1 import (
    tool_pb2,
    tool_service_pb2,
    tool_service_pb2_grpc,
)
from agent_executor.serving.interceptors import Context
from agent_executor.serving.security import current_security_context
from agent_executor.tool_runner.convert import specification_to_proto, tool_to_proto
from agent_executor.tool_runner.custom.catalog import (
    READ_PERMISSION,
    ToolCatalog,
    definition_of_own,
)
from agent_executor.tool_runner.custom.custom_tools import CustomTools
from agent_executor.tool_runner.resource_convert import registration_from_proto, sandbox_to_proto
from agent_executor.tool_runner.sandbox_status import SandboxReporter


class ToolServicer(tool_service_pb2_grpc.ToolServiceServicer):
    """See ``protos/agent_executor/api/tool_runner/v1/tool_service.proto``."""

    def __init__(
        self, catalog: ToolCatalog, custom_tools: CustomTools, sandbox: SandboxReporter
    ) -> None:
        self._catalog = catalog
        self._custom_tools = custom_tools
        self._sandbox = sandbox

    async def CreateTool(  # noqa: N802 -- the contract's name
        self, request: tool_service_pb2.CreateToolRequest, context: Context
    ) -> tool_pb2.Tool:
        """Registers a tool or a version of it."""
        del context
        tool = await self._custom_tools.register(
            registration_from_proto(request), current_security_context.get()
        )
        return tool_to_proto(definition_of_own(tool))

    async def DeleteTool(  # noqa: N802 -- the contract's name
        self, request: tool_service_pb2.DeleteToolRequest, context: Context
    ) -> tool_service_pb2.DeleteToolResponse:
        """Retires a tool."""
        del context
        await self._custom_tools.delete(request.tool_name, current_security_context.get())
        return tool_service_pb2.DeleteToolResponse()

    async def GetSandbox(  # noqa: N802 -- the contract's name
        self, request: tool_service_pb2.GetSandboxRequest, context: Context
    ) -> tool_service_pb2.Sandbox:
        """Says how custom tools are isolated."""
        del request, context
        current_security_context.get().require(READ_PERMISSION)
        return sandbox_to_proto(self._sandbox.status)

    async def ListTools(  # noqa: N802 -- the contract's name
        self, request: tool_service_pb2.ListToolsRequest, context: Context
    ) -> tool_service_pb2.ListToolsResponse:
        """Lists the tools."""
        del context
        page = await self._catalog.list_tools(
            current_security_context.get(),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return tool_service_pb2.ListToolsResponse(
            tools=[tool_to_proto(tool) for tool in page.tools],
            next_page_token=page.next_page_token,
        )

    async def GetTool(  # noqa: N802 -- the contract's name
        self, request: tool_service_pb2.GetToolRequest, context: Context
    ) -> tool_pb2.Tool:
        """Returns one tool."""
        del context
        tool = await self._catalog.get_tool(
            request.tool_name, current_security_context.get(), request.version
        )
        return tool_to_proto(tool)

    async def DescribeTools(  # noqa: N802 -- the contract's name
        self, request: tool_service_pb2.DescribeToolsRequest, context: Context
    ) -> tool_service_pb2.DescribeToolsResponse:
        """Returns the tools that are registered, of those named."""
        del context
        tools = await self._catalog.describe_tools(
            list(request.tool_names), current_security_context.get(), dict(request.tool_versions)
        )
        return tool_service_pb2.DescribeToolsResponse(
            tools=[specification_to_proto(tool) for tool in tools]
        )
