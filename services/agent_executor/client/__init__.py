"""Typed Python clients for a running platform, over gRPC.

    from agent_executor.client import AgentExecutorClient

    with AgentExecutorClient("http://127.0.0.1:8080", token) as client:
        agent = client.agents.create(name="Math", tools={"calculator": True})
        print(client.runs.execute(agent_id=agent.id, input="What is 15 + 27?").output.response)

What they call is one table, ``groups``; how they call it, ``sync_caller`` and ``async_caller``.
"""

from __future__ import annotations

from agent_executor.client.client import AgentExecutorClient, AsyncAgentExecutorClient

__all__ = ["AgentExecutorClient", "AsyncAgentExecutorClient"]
