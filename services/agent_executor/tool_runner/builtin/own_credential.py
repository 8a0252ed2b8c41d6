"""The secret of a tool that the platform configures: from the vault, a file or the program."""

from __future__ import annotations

from pathlib import Path

from agent_executor.errors import (
    CredentialNotFoundError,
    FailedPreconditionError,
    PermissionDeniedError,
)
from agent_executor.tool_runner.calls.context import current_call
from agent_executor.tool_runner.credentials.credential import Credential
from agent_executor.tool_runner.credentials.secret import Secret


async def open_secret(
    credential_name: str,
    *,
    tool_name: str,
    origin: str,
    given: Secret | None = None,
    file: Path | None = None,
) -> Secret | None:
    """Returns the secret that a tool sends, to be called at the last moment before it does.

    Args:
        credential_name: The credential of the organization whose call is served.
        tool_name: The tool.
        origin: Where the secret goes.
        given: What a program that uses the library has passed; it goes before everything.
        file: Holds the secret where the organization has no credential of that name.

    Returns:
        The secret, or None if there is none.

    Raises:
        PermissionDeniedError: The credential is for other tools or other origins.
        FailedPreconditionError: The file cannot be read.
        UnavailableError: The storage of credentials failed.
    """
    if given is not None:
        return given
    call = current_call.get()
    if call is not None and call.credentials is not None:
        try:
            credential = await call.credentials.open(call.organization_id, credential_name)
        except CredentialNotFoundError:
            pass
        else:
            _check(credential, tool_name, origin)
            return credential.secret
    return None if file is None else _secret_in(file, tool_name)


def _check(credential: Credential, tool_name: str, origin: str) -> None:
    if credential.tools and tool_name not in credential.tools:
        raise PermissionDeniedError(
            f'The credential "{credential.name}" is not for the tool {tool_name}.',
            tool_name=tool_name,
        )
    # Without origins it is one for this tool alone, whose only origin the operator chose.
    if credential.allowed_origins and origin not in credential.allowed_origins:
        raise PermissionDeniedError(
            f'The credential "{credential.name}" may not be sent to {origin}.',
            tool_name=tool_name,
        )


def _secret_in(file: Path, tool_name: str) -> Secret:
    try:
        return Secret(file.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError):
        raise FailedPreconditionError(
            f"The file with the secret of the tool {tool_name} cannot be read.",
            tool_name=tool_name,
        ) from None
