"""One resource of each kind that the tool-runner keeps for an organization."""

from __future__ import annotations

from typing import Any, Final

from tests.platforms import Client

TOOL_NAME: Final = "greeter"
TOOL: Final[dict[str, Any]] = {
    "name": TOOL_NAME,
    "class_name": "Greeter",
    "source": """
from agent_executor import ToolBase


class Greeter(ToolBase):
    def __init__(self):
        super().__init__("greeter", "Greets.", effect="read_only")

    def _execute_impl(self, arguments):
        return "Hello!"
""",
}
DOMAIN: Final = "ours.example.com"
CREDENTIAL_NAME: Final = "ours"
# By the names that they have in paths.
NAMES: Final = {"tool_name": TOOL_NAME, "domain": DOMAIN, "name": CREDENTIAL_NAME}


def create_tool_runner_resources(client: Client) -> None:
    """Creates them, and a rate limit of the tool."""
    for answer in (
        client.post("/api/v1/tools", TOOL),
        client.put(f"/api/v1/tools/{TOOL_NAME}/rate-limit", {"max_calls": 9, "window_seconds": 1}),
        client.post("/api/v1/allowed-domains", {"domain": DOMAIN}),
        client.put(f"/api/v1/credentials/{CREDENTIAL_NAME}", {"secret": "s3cret"}),
    ):
        assert answer.status == 200, answer.content
