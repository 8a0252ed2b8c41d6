"""The names of span attributes, in one place, since conventions still change.

The ``gen_ai.*`` names are those of open-telemetry/semantic-conventions-genai ``GEN_AI_VERSION``, all
in state "Development"; ``rpc.*``, ``http.*``, ``error.type`` and ``service.*`` are those of
OpenTelemetry's semantic conventions as of opentelemetry-semantic-conventions 0.66b2. What they have no
name for begins with ``agent_executor.``. The attributes with content, which the conventions call
opt-in, are set only where an operator has switched them on.
"""

from __future__ import annotations

from typing import Final

GEN_AI_VERSION: Final = "v0.1.0"

# Values of GEN_AI_OPERATION_NAME; each is also the first word of its span's name.
OPERATION_CHAT: Final = "chat"
OPERATION_EXECUTE_TOOL: Final = "execute_tool"
OPERATION_INVOKE_AGENT: Final = "invoke_agent"

GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
GEN_AI_AGENT_ID: Final = "gen_ai.agent.id"
GEN_AI_AGENT_NAME: Final = "gen_ai.agent.name"
GEN_AI_AGENT_DESCRIPTION: Final = "gen_ai.agent.description"
GEN_AI_AGENT_VERSION: Final = "gen_ai.agent.version"
GEN_AI_CONVERSATION_ID: Final = "gen_ai.conversation.id"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
GEN_AI_RESPONSE_ID: Final = "gen_ai.response.id"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
# All input tokens, those read from and written to the cache included.
GEN_AI_USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS: Final = "gen_ai.usage.cache_creation.input_tokens"
GEN_AI_TOOL_NAME: Final = "gen_ai.tool.name"
GEN_AI_TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
GEN_AI_TOOL_TYPE: Final = "gen_ai.tool.type"
GEN_AI_TOOL_DESCRIPTION: Final = "gen_ai.tool.description"

# Content, each as JSON text.
GEN_AI_SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
GEN_AI_INPUT_MESSAGES: Final = "gen_ai.input.messages"
GEN_AI_OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
GEN_AI_TOOL_CALL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
GEN_AI_TOOL_CALL_RESULT: Final = "gen_ai.tool.call.result"

# The value of GEN_AI_TOOL_TYPE for every tool that the platform runs itself.
TOOL_TYPE_FUNCTION: Final = "function"

ERROR_TYPE: Final = "error.type"

SERVICE_NAME: Final = "service.name"
SERVICE_VERSION: Final = "service.version"

RPC_SYSTEM_NAME: Final = "rpc.system.name"
RPC_METHOD: Final = "rpc.method"
RPC_RESPONSE_STATUS_CODE: Final = "rpc.response.status_code"
# The value of RPC_SYSTEM_NAME.
RPC_SYSTEM_GRPC: Final = "grpc"

HTTP_REQUEST_METHOD: Final = "http.request.method"
HTTP_RESPONSE_STATUS_CODE: Final = "http.response.status_code"
HTTP_ROUTE: Final = "http.route"

AGENT_EXECUTOR_ORGANIZATION_ID: Final = "agent_executor.organization.id"
AGENT_EXECUTOR_RUN_ID: Final = "agent_executor.run.id"
# Which try to bring the run to its end a span belongs to, from 1.
AGENT_EXECUTOR_RUN_ATTEMPT: Final = "agent_executor.run.attempt"
AGENT_EXECUTOR_RUN_STATE: Final = "agent_executor.run.state"
# Of all model calls of the run, also of those that another span of it has told of.
AGENT_EXECUTOR_RUN_TOKENS: Final = "agent_executor.run.tokens"
AGENT_EXECUTOR_MODEL_CALL_ID: Final = "agent_executor.model_call.id"
# Of a model call what it was settled with; of a run, all of these so far.
AGENT_EXECUTOR_COST_NANO_USD: Final = "agent_executor.cost_nano_usd"
