"""Everything that a client can do, in groups."""

from __future__ import annotations

from typing import Generic, TypeVar

from agent_executor.client.executor_groups import (
    Agents,
    ApiKeys,
    Approvals,
    Conversations,
    Monitor,
    Runs,
    Tokens,
)
from agent_executor.client.ledger_groups import Budgets, RateCards, Suggestions, Usage
from agent_executor.client.tool_runner_groups import Audit, Credentials, McpServers, Policy, Tools

CallerT = TypeVar("CallerT")


class Groups(Generic[CallerT]):
    """All groups of a client.

    Args:
        caller: Makes the calls.
    """

    def __init__(self, caller: CallerT) -> None:
        self._caller = caller
        self.agents = Agents(caller)
        self.runs = Runs(caller)
        self.monitor = Monitor(caller)
        self.approvals = Approvals(caller)
        self.conversations = Conversations(caller)
        self.api_keys = ApiKeys(caller)
        self.tokens = Tokens(caller)
        self.tools = Tools(caller)
        self.policy = Policy(caller)
        self.audit = Audit(caller)
        self.credentials = Credentials(caller)
        self.mcp_servers = McpServers(caller)
        self.usage = Usage(caller)
        self.budgets = Budgets(caller)
        self.rate_cards = RateCards(caller)
        self.suggestions = Suggestions(caller)
