"""The methods of the executor, each written once; see ``methods`` for what they become.

What each does and which errors it has stands at its RPC in ``protos/agent_executor/api/executor``.
"""

from __future__ import annotations

from typing import TypeVar

from agent_executor.api.executor.v1 import (
    agent_pb2,
    agent_service_pb2,
    api_key_service_pb2,
    conversation_service_pb2,
    monitor_service_pb2,
    run_event_pb2,
    run_pb2,
    run_service_pb2,
    token_service_pb2,
)
from agent_executor.client.call_options import Repeat
from agent_executor.client.methods import Group, Paged, Stream, Unary
from agent_executor.client.told import ToldEvents, ToldUpdates
from agent_executor.client.told_activities import ToldActivities

CallerT = TypeVar("CallerT")


class Agents(Group[CallerT]):
    """Agents; every change of one is a new version."""

    create = Unary(
        "executor.v1.AgentService/CreateAgent",
        agent_service_pb2.CreateAgentRequest,
        agent_pb2.Agent,
        Repeat.UNDER_KEY,
    )
    get = Unary(
        "executor.v1.AgentService/GetAgent",
        agent_service_pb2.GetAgentRequest,
        agent_pb2.Agent,
        Repeat.HARMLESS,
    )
    list = Paged(
        "executor.v1.AgentService/ListAgents",
        agent_service_pb2.ListAgentsRequest,
        agent_service_pb2.ListAgentsResponse,
        lambda page: page.agents,
    )
    update = Unary(
        "executor.v1.AgentService/UpdateAgent",
        agent_service_pb2.UpdateAgentRequest,
        agent_pb2.Agent,
    )
    delete = Unary(
        "executor.v1.AgentService/DeleteAgent",
        agent_service_pb2.DeleteAgentRequest,
        agent_service_pb2.DeleteAgentResponse,
    )
    list_tools = Unary(
        "executor.v1.AgentService/ListAgentTools",
        agent_service_pb2.ListAgentToolsRequest,
        agent_service_pb2.ListAgentToolsResponse,
        Repeat.HARMLESS,
    )


class Runs(Group[CallerT]):
    """Runs of agents. A run that is executed again under its key is the same run."""

    execute = Unary(
        "executor.v1.RunService/ExecuteAgent",
        run_service_pb2.ExecuteAgentRequest,
        run_service_pb2.ExecuteAgentResponse,
        Repeat.UNDER_KEY,
        is_execution=True,
    )
    execute_batch = Unary(
        "executor.v1.RunService/ExecuteAgentBatch",
        run_service_pb2.ExecuteAgentBatchRequest,
        run_service_pb2.ExecuteAgentBatchResponse,
        Repeat.UNDER_KEY,
        is_execution=True,
    )
    # Ends after `done`.
    stream = Stream(
        "executor.v1.RunService/StreamAgent",
        run_service_pb2.StreamAgentRequest,
        run_service_pb2.RunUpdate,
        ToldUpdates,
        Repeat.UNDER_KEY,
    )
    test = Unary(
        "executor.v1.RunService/TestAgent",
        run_service_pb2.TestAgentRequest,
        run_service_pb2.TestAgentResponse,
        Repeat.UNDER_KEY,
        is_execution=True,
    )
    start = Unary(
        "executor.v1.RunService/StartRun",
        run_service_pb2.StartRunRequest,
        run_pb2.Run,
        Repeat.UNDER_KEY,
    )
    start_batch = Unary(
        "executor.v1.RunService/StartRunBatch",
        run_service_pb2.StartRunBatchRequest,
        run_service_pb2.StartRunBatchResponse,
        Repeat.UNDER_KEY,
    )
    get = Unary(
        "executor.v1.RunService/GetRun",
        run_service_pb2.GetRunRequest,
        run_pb2.Run,
        Repeat.HARMLESS,
    )
    list = Paged(
        "executor.v1.RunService/ListRuns",
        run_service_pb2.ListRunsRequest,
        run_service_pb2.ListRunsResponse,
        lambda page: page.runs,
    )
    # Ends after `run_finished`.
    follow = Stream(
        "executor.v1.RunService/StreamRunEvents",
        run_service_pb2.StreamRunEventsRequest,
        run_event_pb2.RunEvent,
        ToldEvents,
        Repeat.HARMLESS,
    )
    cancel = Unary(
        "executor.v1.RunService/CancelRun",
        run_service_pb2.CancelRunRequest,
        run_service_pb2.CancelReceipt,
        Repeat.HARMLESS,
    )


class Monitor(Group[CallerT]):
    """What happens in the organization's runs."""

    # Never ends by itself. Activities without an event are signs of life; the first one says that
    # whatever happens from then on is told.
    stream = Stream(
        "executor.v1.MonitorService/StreamActivity",
        monitor_service_pb2.StreamActivityRequest,
        monitor_service_pb2.Activity,
        ToldActivities,
        Repeat.HARMLESS,
    )


class Approvals(Group[CallerT]):
    """Tool calls that wait for a person."""

    list = Paged(
        "executor.v1.RunService/ListApprovals",
        run_service_pb2.ListApprovalsRequest,
        run_service_pb2.ListApprovalsResponse,
        lambda page: page.approvals,
    )
    resolve = Unary(
        "executor.v1.RunService/ResolveApproval",
        run_service_pb2.ResolveApprovalRequest,
        run_service_pb2.Approval,
        Repeat.HARMLESS,
    )


class Conversations(Group[CallerT]):
    """Runs that continue one another."""

    get = Unary(
        "executor.v1.ConversationService/GetConversation",
        conversation_service_pb2.GetConversationRequest,
        conversation_service_pb2.Conversation,
        Repeat.HARMLESS,
    )
    list = Paged(
        "executor.v1.ConversationService/ListConversations",
        conversation_service_pb2.ListConversationsRequest,
        conversation_service_pb2.ListConversationsResponse,
        lambda page: page.conversations,
    )
    delete = Unary(
        "executor.v1.ConversationService/DeleteConversation",
        conversation_service_pb2.DeleteConversationRequest,
        conversation_service_pb2.DeleteConversationResponse,
    )


class ApiKeys(Group[CallerT]):
    """Long-lived credentials of programs."""

    create = Unary(
        "executor.v1.ApiKeyService/CreateApiKey",
        api_key_service_pb2.CreateApiKeyRequest,
        api_key_service_pb2.CreateApiKeyResponse,
    )
    get = Unary(
        "executor.v1.ApiKeyService/GetApiKey",
        api_key_service_pb2.GetApiKeyRequest,
        api_key_service_pb2.ApiKey,
        Repeat.HARMLESS,
    )
    list = Paged(
        "executor.v1.ApiKeyService/ListApiKeys",
        api_key_service_pb2.ListApiKeysRequest,
        api_key_service_pb2.ListApiKeysResponse,
        lambda page: page.api_keys,
    )
    revoke = Unary(
        "executor.v1.ApiKeyService/RevokeApiKey",
        api_key_service_pb2.RevokeApiKeyRequest,
        api_key_service_pb2.ApiKey,
        Repeat.HARMLESS,
    )


class Tokens(Group[CallerT]):
    """Who the caller is, and credentials for others."""

    get_caller = Unary(
        "executor.v1.TokenService/GetCaller",
        token_service_pb2.GetCallerRequest,
        token_service_pb2.Caller,
        Repeat.HARMLESS,
    )
    exchange_api_key = Unary(
        "executor.v1.TokenService/ExchangeApiKey",
        token_service_pb2.ExchangeApiKeyRequest,
        token_service_pb2.ExchangeApiKeyResponse,
        Repeat.HARMLESS,
    )
    create_session = Unary(
        "executor.v1.TokenService/CreateSession",
        token_service_pb2.CreateSessionRequest,
        token_service_pb2.Session,
    )
    delete_session = Unary(
        "executor.v1.TokenService/DeleteSession",
        token_service_pb2.DeleteSessionRequest,
        token_service_pb2.DeleteSessionResponse,
    )
