"""What the requests of tools may reach, by environment variables."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from pydantic import Field

from agent_executor.egress.policy import DEFAULT_PORTS_ALLOWED, EgressPolicy
from agent_executor.tool_runner.builtin.http_request import HTTPRequestTool
from agent_executor.tool_runner.policy.sandbox import ToolSandbox
from agent_executor.tool_runner.tool_settings import ToolSettings


class EgressSettings(ToolSettings):
    """The part of the tool-runner's settings that is about requests to the outside."""

    egress_allowed_cidrs: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(),
        description=(
            "Internal networks that tools may reach all the same, over plain http and on every "
            'port too, as a JSON list such as ["10.1.0.0/16"].'
        ),
    )
    egress_denied_cidrs: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(),
        description=(
            "Networks that tools may not reach, beside those that nobody may, as a JSON list: "
            "for example the public addresses of your own services."
        ),
    )
    egress_allow_http: bool = Field(
        default=False, description="Whether tools may make plain http requests to public hosts."
    )
    egress_allowed_ports: tuple[int, ...] = Field(
        default=tuple(sorted(DEFAULT_PORTS_ALLOWED)),
        description="The ports of public hosts that tools may reach, as a JSON list.",
    )
    egress_allow_unverified_tls: bool = Field(
        default=False,
        description="Whether `http_request` may be told not to check a host's certificate.",
    )

    def egress_policy(self, allowed_domains: frozenset[str]) -> EgressPolicy:
        """Returns what may be reached under these settings, with these domains allowed."""
        return EgressPolicy(
            allowed_domains=allowed_domains,
            allowed_networks=self.egress_allowed_cidrs,
            denied_networks=self.egress_denied_cidrs,
            allow_http=self.egress_allow_http,
            ports=frozenset(self.egress_allowed_ports),
        )

    def http_request_tool(self, sandbox: ToolSandbox | None = None) -> HTTPRequestTool:
        """Returns the tool ``http_request`` under these settings.

        Args:
            sandbox: Its allowed domains hold where a program calls the tool itself.
        """
        return HTTPRequestTool(
            sandbox,
            allowed_networks=self.egress_allowed_cidrs,
            denied_networks=self.egress_denied_cidrs,
            allow_http=self.egress_allow_http,
            allowed_ports=frozenset(self.egress_allowed_ports),
            allow_unverified_tls=self.egress_allow_unverified_tls,
        )
