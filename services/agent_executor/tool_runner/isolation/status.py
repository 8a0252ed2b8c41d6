"""Whether the host can isolate custom tools, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from agent_executor.errors import SandboxUnavailableError

Tier: TypeAlias = Literal["namespaces", "landlock", "none"]
# What a pool can be told to use; "best" is the first of the two that the host has.
WantedTier: TypeAlias = Literal["best", "namespaces", "landlock"]


@dataclass(frozen=True, slots=True)
class SandboxStatus:
    """The sandbox at an instant.

    Attributes:
        available: Custom tools are run. Otherwise each call is refused.
        tier: ``namespaces`` is Landlock, seccomp and limits inside namespaces of its own, which
            also hide file names; ``landlock`` is the same without the namespaces.
        landlock_abi: The version of Landlock that the kernel has; 0 for none or not known.
        missing: What the host lacks, or the attacks of the self-test that it did not stop.
        remedy: How to get what is missing, as sentences; empty if nothing is.
        checked_at_ms: When this was found, in milliseconds since 1970; 0 for never.
        idle_workers: Workers that wait for a call.
        busy_workers: Workers that serve one.
    """

    available: bool
    tier: Tier
    landlock_abi: int = 0
    missing: tuple[str, ...] = ()
    remedy: str = ""
    checked_at_ms: int = 0
    idle_workers: int = 0
    busy_workers: int = 0

    def as_error(self, tool_name: str = "") -> SandboxUnavailableError:
        """Returns the refusal of a call."""
        missing = ", ".join(self.missing) or "a sandbox that has been started"
        return SandboxUnavailableError(
            f"This host cannot isolate custom tools, so none is run; missing: {missing}. "
            f"{self.remedy}".rstrip(),
            metadata={
                "tier": self.tier,
                "landlockAbi": str(self.landlock_abi),
                "missing": missing,
                "remedy": self.remedy,
            },
            tool_name=tool_name,
        )
