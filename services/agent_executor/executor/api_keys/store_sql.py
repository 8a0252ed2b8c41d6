"""Keys in any database that runs statements."""

from __future__ import annotations

from typing import Final

import msgspec
from sqlalchemy import ColumnElement, and_, delete, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from agent_executor.executor.api_keys.api_key import ApiKey
from agent_executor.executor.api_keys.store import ApiKeyQuery
from agent_executor.executor.tables import API_KEYS
from agent_executor.storage.statements import Row, StatementRunner

_COLUMNS: Final = [API_KEYS.c[name] for name in ApiKey.__struct_fields__]
_PERMISSIONS: Final = msgspec.json.Decoder(tuple[str, ...])
_IS_REVOKED: Final = API_KEYS.c.revoked_at_ms > 0


class SqlApiKeyStore:
    """An ``ApiKeyStore`` over a ``StatementRunner``. Closing the database is its owner's task."""

    def __init__(self, statements: StatementRunner) -> None:
        self._statements = statements

    async def create(self, key: ApiKey, active_max: int, ended_before_ms: int) -> bool:
        """See ``ApiKeyStore``."""
        is_users = and_(
            API_KEYS.c.organization_id == key.organization_id, API_KEYS.c.user_id == key.user_id
        )
        tidy = delete(API_KEYS).where(
            is_users,
            or_(
                and_(_IS_REVOKED, API_KEYS.c.revoked_at_ms < ended_before_ms),
                API_KEYS.c.expires_at_ms < ended_before_ms,
            ),
        )
        active = select(func.count()).where(is_users, _stands("active", key.created_at_ms))
        row = msgspec.structs.asdict(key)
        row["permissions"] = msgspec.json.encode(key.permissions).decode()
        values = [literal(row[column.name], column.type).label(column.name) for column in _COLUMNS]
        added = insert(API_KEYS).from_select(
            [column.name for column in _COLUMNS],
            select(*values).where(active.scalar_subquery() < active_max),
        )
        _, rows = await self._statements.run(tidy, added.returning(API_KEYS.c.key_id))
        return bool(rows)

    async def find(self, digest: bytes) -> ApiKey | None:
        """See ``ApiKeyStore``."""
        [rows] = await self._statements.run(select(*_COLUMNS).where(API_KEYS.c.digest == digest))
        return _key(rows[0]) if rows else None

    async def get(self, organization_id: str, key_id: str) -> ApiKey | None:
        """See ``ApiKeyStore``."""
        [rows] = await self._statements.run(
            select(*_COLUMNS).where(_is(organization_id, _text(key_id)))
        )
        return _key(rows[0]) if rows else None

    async def list_keys(self, query: ApiKeyQuery) -> list[ApiKey]:
        """See ``ApiKeyStore``."""
        statement = (
            select(*_COLUMNS)
            .where(API_KEYS.c.organization_id == query.organization_id)
            .order_by(API_KEYS.c.key_id.desc())
            .limit(query.limit)
        )
        if query.before:
            statement = statement.where(API_KEYS.c.key_id < query.before)
        if query.user_id:
            statement = statement.where(API_KEYS.c.user_id == _text(query.user_id))
        if query.state:
            statement = statement.where(_stands(query.state, query.now_ms))
        [rows] = await self._statements.run(statement)
        return [_key(row) for row in rows]

    async def revoke(self, organization_id: str, key_id: str, now_ms: int) -> ApiKey | None:
        """See ``ApiKeyStore``."""
        is_it = _is(organization_id, _text(key_id))
        _, rows = await self._statements.run(
            update(API_KEYS).where(is_it, ~_IS_REVOKED).values(revoked_at_ms=now_ms),
            select(*_COLUMNS).where(is_it),
        )
        return _key(rows[0]) if rows else None

    async def note_use(self, key_id: str, now_ms: int, unless_since_ms: int) -> None:
        """See ``ApiKeyStore``."""
        await self._statements.run(
            update(API_KEYS)
            .where(API_KEYS.c.key_id == key_id, API_KEYS.c.last_used_at_ms < unless_since_ms)
            .values(last_used_at_ms=now_ms)
        )


def _is(organization_id: str, key_id: str) -> ColumnElement[bool]:
    return and_(API_KEYS.c.organization_id == organization_id, API_KEYS.c.key_id == key_id)


def _stands(state: str, now_ms: int) -> ColumnElement[bool]:
    if state == "revoked":
        return _IS_REVOKED
    is_over = API_KEYS.c.expires_at_ms <= now_ms
    return and_(~_IS_REVOKED, is_over if state == "expired" else ~is_over)


def _text(value: str) -> str:
    """PostgreSQL stores no NUL character, and refuses to look for one; nothing stored has any."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _key(row: Row) -> ApiKey:
    return ApiKey(**{**row, "permissions": _PERMISSIONS.decode(row["permissions"])})
