"""Credentials: stored by those who may, opened by the platform alone, shown to nobody."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag

from agent_executor.errors import (
    CredentialNotFoundError,
    FailedPreconditionError,
    InvalidArgumentError,
    LimitExceededError,
)
from agent_executor.serving.security import SecurityContext
from agent_executor.storage.encryption import Encryption
from agent_executor.tool_runner.credentials.credential import (
    DEFAULT_HEADER_NAME,
    DEFAULT_HEADER_PREFIX,
    Credential,
)
from agent_executor.tool_runner.credentials.secret import Secret
from agent_executor.tool_runner.credentials.store import (
    CredentialStore,
    StoredCredential,
)
from agent_executor.tool_runner.custom.origins import CREDENTIAL_SCHEMES, normalise_origins
from agent_executor.tool_runner.paging import Page, decode_page_token, entries_of_page, page_of
from agent_executor.tool_runner.tool_base import is_tool_name

ADMIN_PERMISSION: Final = "credential:admin"
CREDENTIALS_MAX: Final = 1_000
SECRET_BYTES_MAX: Final = 16_384
ORIGINS_MAX: Final = 32
TOOLS_MAX: Final = 32

_LOGGER: Final = logging.getLogger(__name__)
_NAME: Final = re.compile(r"[a-z0-9_-]{1,64}", re.ASCII)
_HEADER_NAME: Final = re.compile(r"[a-z0-9-]{1,64}", re.ASCII)
_HEADER_PREFIX: Final = re.compile(r"[ -~]{0,64}", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
# What frames a request, chooses its server or coding, or speaks to those in between.
_REFUSED_HEADERS: Final = frozenset(
    {
        *("host", "connection", "keep-alive", "te", "trailer", "upgrade", "expect", "via"),
        *("content-length", "content-type", "content-encoding", "transfer-encoding"),
        *("accept-encoding", "range", "forwarded", "date", "origin", "referer"),
        *("idempotency-key", "traceparent", "tracestate"),
    }
)
_REFUSED_PREFIXES: Final = ("proxy-", "sec-", "x-forwarded-", "metadata", "x-http-method")


class Credentials:
    """Stores, lists, deletes and opens credentials; it is the ``CredentialVault`` of tools.

    Args:
        store: Where they are kept.
        encryption: Of the secrets.
        now_ms: The time, in milliseconds since 1970-01-01 UTC.
    """

    def __init__(
        self, store: CredentialStore, encryption: Encryption, now_ms: Callable[[], int]
    ) -> None:
        self._store = store
        self._encryption = encryption
        self._now_ms = now_ms

    async def put(
        self,
        name: str,
        secret: Secret,
        security: SecurityContext,
        *,
        header_name: str = "",
        header_prefix: str | None = None,
        allowed_origins: Sequence[str] = (),
        tools: Sequence[str] = (),
    ) -> StoredCredential:
        """Stores a credential, or replaces it whole; it is in force for the next call.

        Args:
            name: Lower-case letters, digits, ``_`` and ``-``, 1 to 64.
            secret: Up to 16 KiB without control characters.
            security: The caller.
            header_name: The request header that carries it. Default (empty): ``authorization``.
            header_prefix: What stands before it. Default (None): ``Bearer`` and a space.
            allowed_origins: Where it may be sent, up to 32.
            tools: The tools that may name it, up to 32.

        Raises:
            PermissionDeniedError: The caller lacks ``credential:admin``.
            InvalidArgumentError: A value is none. The message does not hold the secret.
            LimitExceededError: The organization has 1000 credentials.
            UnavailableError: The storage failed.
        """
        security.require(ADMIN_PERMISSION)
        _check_name(name)
        _check_secret(secret)
        _check_tools(tools)
        if len(allowed_origins) > ORIGINS_MAX:
            raise _invalid("allowed_origins", f"There are at most {ORIGINS_MAX} allowed_origins.")
        credential = StoredCredential(
            name=name,
            ciphertext=b"",
            header_name=_checked_header(header_name or DEFAULT_HEADER_NAME),
            header_prefix=_checked_prefix(header_prefix),
            allowed_origins=normalise_origins(allowed_origins, CREDENTIAL_SCHEMES),
            tools=tuple(sorted(set(tools))),
            updated_at_ms=self._now_ms(),
        )
        organization_id = security.organization_id
        binding = _binding_of(organization_id, credential)
        ciphertext = self._encryption.encrypt(secret.reveal(), binding)
        credential = msgspec.structs.replace(credential, ciphertext=ciphertext)
        if not await self._store.put(organization_id, credential, credentials_max=CREDENTIALS_MAX):
            raise LimitExceededError(
                f"The organization has {CREDENTIALS_MAX} credentials, which is the limit."
            )
        _LOGGER.info(
            "User %s of %s stored the credential %s.", security.user_id, organization_id, name
        )
        return credential

    async def list_credentials(
        self, security: SecurityContext, *, page_size: int = 0, page_token: str = ""
    ) -> Page[StoredCredential]:
        """Returns a page of the credentials, by name, their secrets encrypted.

        Raises:
            PermissionDeniedError: The caller lacks ``credential:admin``.
            InvalidArgumentError: The page's size is out of range, or its token is none.
            UnavailableError: The storage failed.
        """
        security.require(ADMIN_PERMISSION)
        entries_max = entries_of_page(page_size)
        after = decode_page_token(page_token, lambda key: _NAME.fullmatch(key) is not None)
        found = await self._store.list_credentials(security.organization_id, entries_max + 1, after)
        return page_of(found, entries_max, lambda each: each.name)

    async def delete(self, name: str, security: SecurityContext) -> None:
        """Deletes a credential; requests that name it fail from then on.

        A result of a ``read_only`` tool that was cached before is given for its time all the same.

        Raises:
            PermissionDeniedError: The caller lacks ``credential:admin``.
            CredentialNotFoundError: The organization has none of that name.
            UnavailableError: The storage failed.
        """
        security.require(ADMIN_PERMISSION)
        organization_id = security.organization_id
        if not _NAME.fullmatch(name) or not await self._store.delete(organization_id, name):
            raise _not_found(name)
        _LOGGER.info(
            "User %s of %s deleted the credential %s.", security.user_id, organization_id, name
        )

    async def open(self, organization_id: str, name: str) -> Credential:
        """See ``CredentialVault``.

        Raises:
            CredentialNotFoundError: The organization has none of that name.
            FailedPreconditionError: The key is another one, or somebody changed what is stored.
            UnavailableError: The storage failed.
        """
        stored = await self._store.find(organization_id, name) if _NAME.fullmatch(name) else None
        if stored is None:
            raise _not_found(name)
        try:
            secret = self._encryption.decrypt(
                stored.ciphertext, _binding_of(organization_id, stored)
            )
        except InvalidTag:
            raise FailedPreconditionError(
                f'The credential "{name}" cannot be opened with the key of this tool-runner; '
                "store it again."
            ) from None
        return Credential(
            name=name,
            secret=Secret(secret),
            header_name=stored.header_name,
            header_prefix=stored.header_prefix,
            allowed_origins=frozenset(stored.allowed_origins),
            tools=frozenset(stored.tools),
        )


def _binding_of(organization_id: str, credential: StoredCredential) -> str:
    """What the ciphertext is bound to, so that nobody sends the secret elsewhere by a changed row.

    A secret that was encrypted for one organization, name and destination opens for no other.
    """
    return json.dumps(
        [
            "credential",
            organization_id,
            credential.name,
            credential.header_name,
            credential.header_prefix,
            credential.allowed_origins,
            credential.tools,
        ]
    )


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise _invalid(
            "name", "A credential's name is 1 to 64 lower-case letters, digits, _ and -."
        )


def _check_secret(secret: Secret) -> None:
    value = secret.reveal()
    try:
        size_bytes = len(value.encode())
    except UnicodeEncodeError:
        size_bytes = 0
    if not 0 < size_bytes <= SECRET_BYTES_MAX or _CONTROL.search(value):
        raise _invalid(
            "secret", f"A secret is 1 to {SECRET_BYTES_MAX} bytes without control characters."
        )


def _checked_header(name: str) -> str:
    header = name.lower()
    if not _HEADER_NAME.fullmatch(header):
        raise _invalid("header_name", "header_name is 1 to 64 letters, digits and -.")
    if header in _REFUSED_HEADERS or header.startswith(_REFUSED_PREFIXES):
        raise _invalid("header_name", f'The header "{header}" cannot carry a credential.')
    return header


def _checked_prefix(prefix: str | None) -> str:
    if prefix is None:
        return DEFAULT_HEADER_PREFIX
    if not _HEADER_PREFIX.fullmatch(prefix):
        raise _invalid("header_prefix", "header_prefix is up to 64 printable ASCII characters.")
    return prefix


def _check_tools(tools: Sequence[str]) -> None:
    if len(tools) > TOOLS_MAX or not all(map(is_tool_name, tools)):
        raise _invalid("tools", f"tools is a list of up to {TOOLS_MAX} names of tools.")


def _not_found(name: str) -> CredentialNotFoundError:
    return CredentialNotFoundError(f'There is no credential named "{name}".')


def _invalid(field: str, message: str) -> InvalidArgumentError:
    return InvalidArgumentError(message, field_violations=((field, message),))
