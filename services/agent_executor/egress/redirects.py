"""One step of a request, and the step that a redirect makes of it (RFC 9110, section 15.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent_executor.egress.headers import headers_for_redirect
from agent_executor.egress.policy import denied
from agent_executor.egress.urls import Target, join_url
from agent_executor.errors import InvalidArgumentError, ToolExecutionError

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MAY_BECOME_GET: Final = frozenset({301, 302})
_SEE_OTHER: Final = 303


@dataclass(frozen=True, slots=True)
class Step:
    """One request of those that redirects make of a caller's.

    Attributes:
        method: In capitals.
        target: Where it goes.
        headers: The caller's that go along, by name in lower case.
        content: The body, or None.
    """

    method: str
    target: Target
    headers: dict[str, str]
    content: bytes | None


def next_step(step: Step, status_code: int, location: str) -> Step:
    """Returns the step that a redirect asks for; the policy is yet to decide on its target.

    Raises:
        ToolExecutionError: The URL of the redirect is none.
        PermissionDeniedError: It leads from https to plain http.
    """
    try:
        target = join_url(step.target, location)
    except InvalidArgumentError:
        raise ToolExecutionError(
            "The server answered with a redirect to something that is no valid URL."
        ) from None
    if step.target.scheme == "https" and target.scheme != "https":
        raise denied(target.host, "redirect", "A redirect from https to http is not followed.")
    becomes_get = (status_code == _SEE_OTHER and step.method != "HEAD") or (
        status_code in _MAY_BECOME_GET and step.method == "POST"
    )
    return Step(
        method="GET" if becomes_get else step.method,
        target=target,
        headers=headers_for_redirect(
            step.headers,
            same_origin=target.origin == step.target.origin,
            keeps_body=not becomes_get,
        ),
        content=None if becomes_get else step.content,
    )
