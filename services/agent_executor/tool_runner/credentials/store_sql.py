"""Credentials in a database."""

from __future__ import annotations

import json
from typing import Final

import msgspec
from sqlalchemy import ColumnElement, and_, delete, select

from agent_executor.storage.statements import Row, StatementRunner
from agent_executor.tool_runner.credentials.store import StoredCredential
from agent_executor.tool_runner.policy.limited_insert import insert_within
from agent_executor.tool_runner.tables import CREDENTIALS

_COLUMN: Final = CREDENTIALS.c
_KEY: Final = frozenset(column.name for column in CREDENTIALS.primary_key)
_FIELDS: Final = tuple(_COLUMN[name] for name in StoredCredential.__struct_fields__)
_JSON_LISTS: Final = ("allowed_origins", "tools")


class SqlCredentialStore:
    """``CredentialStore`` in the tool-runner's database."""

    def __init__(self, runner: StatementRunner) -> None:
        self._runner = runner

    async def put(
        self, organization_id: str, credential: StoredCredential, *, credentials_max: int
    ) -> bool:
        """See ``CredentialStore``."""
        row = {"organization_id": organization_id, **msgspec.structs.asdict(credential)}
        row |= {name: json.dumps(row[name]) for name in _JSON_LISTS}
        statement = insert_within(CREDENTIALS, row, credentials_max)
        statement = statement.on_conflict_do_update(
            index_elements=list(CREDENTIALS.primary_key),
            set_={name: statement.excluded[name] for name in row if name not in _KEY},
        )
        (stored,) = await self._runner.run(statement.returning(_COLUMN.name))
        return bool(stored)

    async def find(self, organization_id: str, name: str) -> StoredCredential | None:
        """See ``CredentialStore``."""
        (rows,) = await self._runner.run(select(*_FIELDS).where(_is_key(organization_id, name)))
        return _credential_of(rows[0]) if rows else None

    async def list_credentials(
        self, organization_id: str, limit: int, after: str = ""
    ) -> list[StoredCredential]:
        """See ``CredentialStore``."""
        statement = (
            select(*_FIELDS)
            .where(_COLUMN.organization_id == organization_id, _COLUMN.name > after)
            .order_by(_COLUMN.name)
            .limit(limit)
        )
        (rows,) = await self._runner.run(statement)
        return [_credential_of(row) for row in rows]

    async def delete(self, organization_id: str, name: str) -> bool:
        """See ``CredentialStore``."""
        statement = delete(CREDENTIALS).where(_is_key(organization_id, name))
        (deleted,) = await self._runner.run(statement.returning(_COLUMN.name))
        return bool(deleted)


def _is_key(organization_id: str, name: str) -> ColumnElement[bool]:
    return and_(_COLUMN.organization_id == organization_id, _COLUMN.name == name)


def _credential_of(row: Row) -> StoredCredential:
    return StoredCredential(**row | {name: tuple(json.loads(row[name])) for name in _JSON_LISTS})
