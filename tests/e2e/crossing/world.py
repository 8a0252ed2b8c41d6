"""Two organizations that have something of every kind, and what one of them knows of itself."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from google.protobuf.message import Message

from tests.e2e.agents_and_runs import create_agent, execute
from tests.e2e.approving import approvals, waiting_run
from tests.e2e.crossing.requests import MADE_UP, MCP_ORIGIN, Place, places, smallest
from tests.e2e.rpc import METHODS, Method, call, channel_to
from tests.e2e.tool_runner_resources import MCP_SERVER, TOOL, create_mcp_server
from tests.platforms import Client, RunningPlatform

# Both organizations have a user of this name.
USER: Final = "ada"
IDEMPOTENCY_KEY: Final = "one-key-of-two-organizations"
READING: Final = ("Get", "List", "Describe", "Export", "Summarize", "Resolve", "StreamRunEvents")
# What is the host's, or another method than it is called like.
NOT_KEPT: Final = frozenset(
    {
        "ToolService/GetSandbox",
        "RunService/ResolveApproval",
    }
)
# Of answers that say what they look at: until now.
UNTIL_NOW: Final = ("start_time", "end_time")
RATES: Final = {"input_usd_per_million_tokens": 1.0, "output_usd_per_million_tokens": 1.0}


@dataclass(frozen=True, slots=True)
class Organization:
    """An organization with something of every kind.

    Attributes:
        client: Its REST client, which may do everything.
        channels: Channels to the services, by their names.
        mark: A word that is in every text and every chosen name of it, and nowhere else.
        names: What it has, by the names of the fields that name it.
    """

    client: Client
    channels: Mapping[str, grpc.Channel]
    mark: str
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def call(self, method: Method, request: Message, *metadata: tuple[str, str]) -> list[Any]:
        """Makes a call and returns its answers."""
        channel = self.channels[method.process]
        return call(channel, method, request, self.client.token, metadata=metadata)

    def request(self, method: Method) -> Any:
        """Makes a method's smallest request, for what this organization has."""
        request = smallest(method.name, method.descriptor.input_type)
        for place in places(method.descriptor.input_type):
            if f"{method.name} {place}" in MADE_UP:
                place.put(request, f"new-{uuid.uuid4()}")
            elif place.is_needed:
                place.put(request, self.of(method, place)[0])
        return request

    def of(self, method: Method, place: Place) -> tuple[str, ...]:
        """Returns what it has that could be named there.

        Raises:
            KeyError: Nobody said what this field names.
        """
        service = str(method.descriptor.containing_service.name)
        own = self.names.get(f"{service}.{place.name}")
        return own if own is not None else self.names[place.name]

    def page_token(self, method: Method) -> str:
        """Returns a token for the second page of a list; empty if there is none."""
        request = self.request(method)
        request.page_size = 1
        (answer,) = self.call(method, request)
        return str(answer.next_page_token)

    def secrets(self) -> set[str]:
        """Returns what nobody else may see: its mark, and the names that were made for it."""
        made = {name for names in self.names.values() for name in names if len(name) > 20}
        return {self.mark, *made}

    def exported(self) -> dict[str, list[bytes]]:
        """Returns everything that it can read of itself, by the methods that answered it."""
        return {
            method.name: [_kept(answer) for answer in self.call(method, self._reading(method))]
            for method in METHODS.values()
            if method.descriptor.name.startswith(READING) and method.name not in NOT_KEPT
        }

    def _reading(self, method: Method) -> Any:
        request = self.request(method)
        if "page_size" in request.DESCRIPTOR.fields_by_name:
            request.page_size = 1000
        return request


def _kept(answer: Any) -> bytes:
    if answer.DESCRIPTOR.name == "ListSuggestionsResponse":
        for name in UNTIL_NOW:
            answer.ClearField(name)
    return bytes(answer.SerializeToString(deterministic=True))


class Furnished:
    """Makes organizations with something of every kind, as two of each as lists need."""

    def __init__(self, platform: RunningPlatform, stack: ExitStack) -> None:
        self._platform = platform
        self._channels = {
            process: stack.enter_context(channel_to(platform, process))
            for process in platform.grpc_ports
        }

    def organization(self) -> Organization:
        """Makes one."""
        mark = f"m{uuid.uuid4().hex[:12]}"
        client = self._platform.client(self._platform.token(f"organization-{mark}", USER))
        made = Organization(client, self._channels, mark)
        for make in (_runs, _tools, _ledger, _calls, _keys, _mcp_servers):
            made.names.update(make(made))
        made.names.update(
            {
                "user_id": (USER,),
                "tool_names": made.names["tool_name"],
                "tools": made.names["tool_name"],
                "custom_tools": made.names["tool_name"],
                "rate_limits": made.names["tool_name"],
                "tool_versions": made.names["tool_name"],
                "version": made.names["tool_version"],
                "parent_run_id": made.names["run_id"],
                "parent_reservation_id": made.names["reservation_id"],
                "corrects_entry_id": made.names["entry_id"],
                "id": made.names["entry_id"],
                "name": (*made.names["credential_name"], *made.names["tool_name"]),
                "CredentialService.name": made.names["credential_name"],
                "ToolService.name": made.names["tool_name"],
            }
        )
        return made


def _runs(made: Organization) -> Iterator[tuple[str, tuple[str, ...]]]:
    client, mark = made.client, made.mark
    agents = [create_agent(client, name=f"{mark} {number}") for number in range(2)]
    runs = []
    for number, agent_id in enumerate(agents):
        body = {
            "input": f"What is 1 + 2? {mark}",
            "conversation_id": f"conversation-{mark}-{number}",
        }
        answer = client.post(f"/api/v1/agents/{agent_id}/execute", body)
        assert answer.status == 200, answer.content
        runs.append(answer.body["task_id"])
    execute(client, agents[0], f"Hello, {mark}!")
    waiting = [waiting_run(client, f"What is 2 + 2? {mark}") for _ in range(2)]
    yield "agent_id", (agents[0],)
    yield "run_id", (runs[0], waiting[0])
    yield "conversation_id", (f"conversation-{mark}-0",)
    yield "RunService.tool_call_id", (approvals(client, waiting[0])[0]["tool_call_id"],)


def _tools(made: Organization) -> Iterator[tuple[str, tuple[str, ...]]]:
    client, mark = made.client, made.mark
    for number in range(2):
        name = f"{mark}_{number}"
        tool = {**TOOL, "name": name, "source": TOOL["source"].replace('"greeter"', f'"{name}"')}
        for answer in (
            client.post("/api/v1/tools", tool),
            client.put(f"/api/v1/tools/{name}/rate-limit", {"max_calls": 999, "window_seconds": 1}),
            client.post("/api/v1/allowed-domains", {"domain": f"{mark}-{number}.example.com"}),
            client.put(
                f"/api/v1/credentials/{mark}-{number}",
                {"secret": f"s3cret-{mark}", "allowed_origins": [MCP_ORIGIN]},
            ),
        ):
            assert answer.status == 200, answer.content
    yield "tool_name", (f"{mark}_0",)
    yield "tool_version", (client.get(f"/api/v1/tools/{mark}_0").body["version"],)
    yield "domain", (f"{mark}-0.example.com",)
    yield "credential_name", (f"{mark}-0",)


def _ledger(made: Organization) -> Iterator[tuple[str, tuple[str, ...]]]:
    client, mark = made.client, made.mark
    cards = []
    for number in range(2):
        budget = {"limit_usd": 1_000, "alert_percents": [1]}
        entry = {"id": f"entry-{mark}-{number}", "tool_name": mark, "cost_nano_usd": 20_000_000_000}
        card = {"model": f"model-{mark}-{number}", "rates": RATES}
        added = client.post("/api/v1/rate-cards", card)
        for answer in (
            client.put(f"/api/v1/budgets/budget-{mark}-{number}", budget),
            client.post("/api/v1/usage/entries", {"entries": [entry]}),
            added,
        ):
            assert answer.status == 200, answer.content
        cards.append(added.body["id"])
    held = METHODS["UsageService/ReserveAmount"]
    names = {"agent_id": mark, "run_id": mark, "reservation_id": f"reservation-{mark}"}
    made.call(held, held.request(**names, amount_nano_usd=7))
    yield "budget_id", (f"budget-{mark}-0",)
    yield "entry_id", (f"entry-{mark}-0",)
    yield "rate_card_id", (cards[0],)
    yield "model", (f"model-{mark}-0",)
    yield "reservation_id", (f"reservation-{mark}",)


def tool_call(made: Organization) -> Any:
    """Returns the request of a tool call that the organization has made."""
    return METHODS["ToolCallService/ExecuteToolCall"].request(
        tool_call_id=f"call-{made.mark}",
        tool_name="calculator",
        arguments_json='{"operation":"add","a":1,"b":2}',
    )


def _calls(made: Organization) -> Iterator[tuple[str, tuple[str, ...]]]:
    method, request = METHODS["ToolCallService/ExecuteToolCall"], tool_call(made)
    (answer,) = made.call(method, request)
    assert answer.success
    yield "tool_call_id", (request.tool_call_id,)


def _keys(made: Organization) -> Iterator[tuple[str, tuple[str, ...]]]:
    ids = []
    for _ in range(2):
        answer = made.client.post("/api/v1/api-keys", {"name": f"key {made.mark}"})
        assert answer.status == 200, answer.content
        ids.append(answer.body["api_key"]["id"])
    yield "api_key_id", (ids[0],)


def _mcp_servers(made: Organization) -> Iterator[tuple[str, tuple[str, ...]]]:
    create_mcp_server(made.client)
    for number in range(2):
        answer = made.client.put(f"/api/v1/mcp-servers/{made.mark}{number}", MCP_SERVER)
        assert answer.status == 200, answer.content
    yield "McpServerService.name", (f"{made.mark}0",)
