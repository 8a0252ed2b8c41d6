"""How the sandbox of custom tools is configured, by environment variables."""

from __future__ import annotations

from pydantic import Field

from agent_executor.tool_runner.isolation.limits import SandboxLimits
from agent_executor.tool_runner.tool_settings import ToolSettings

_DEFAULTS = SandboxLimits()


class SandboxSettings(ToolSettings):
    """The part of the tool-runner's settings that is about its sandbox."""

    sandbox_memory_bytes: int = Field(
        default=_DEFAULTS.memory_bytes,
        ge=128 * 1024 * 1024,
        description=(
            "The address space of a custom tool's process, in bytes, the interpreter's own of about "
            "50 MiB included."
        ),
    )
    sandbox_cpu_seconds: int = Field(
        default=_DEFAULTS.cpu_seconds,
        ge=1,
        le=3600,
        description="How long one call of a custom tool may compute, in seconds.",
    )
    sandbox_idle_workers: int = Field(
        default=_DEFAULTS.idle_workers,
        ge=1,
        le=1_000,
        description="How many processes wait for a call of a custom tool, of about 3 MB each.",
    )
    sandbox_max_workers: int = Field(
        default=_DEFAULTS.busy_workers_max,
        ge=1,
        le=1_000,
        description="How many custom tools may run at the same time; beyond it they wait.",
    )
    sandbox_max_queued_calls: int = Field(
        default=_DEFAULTS.queued_calls_max,
        ge=0,
        description="How many calls may wait for a custom tool's process; beyond it they are refused.",
    )
    sandbox_launchers: int = Field(
        default=_DEFAULTS.launchers,
        ge=1,
        le=64,
        description="How many launchers make these processes; one keeps about one core busy.",
    )
    sandbox_check_seconds: float = Field(
        default=60.0,
        gt=0,
        description=(
            "How often the sandbox is tried with attacks that it must stop, in seconds; if one "
            "gets through, no custom tool is run."
        ),
    )

    def sandbox_limits(self, output_bytes: int) -> SandboxLimits:
        """Returns the limits that the settings give.

        Args:
            output_bytes: Length of a result as JSON text, at most.
        """
        return SandboxLimits(
            memory_bytes=self.sandbox_memory_bytes,
            output_bytes=output_bytes,
            cpu_seconds=self.sandbox_cpu_seconds,
            idle_workers=self.sandbox_idle_workers,
            busy_workers_max=self.sandbox_max_workers,
            queued_calls_max=self.sandbox_max_queued_calls,
            launchers=self.sandbox_launchers,
        )
