"""Custom tools in a database: their versions, and beside them which one is the newest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Select, and_, delete, func, literal, or_, select
from sqlalchemy.dialects.postgresql import Insert, insert

from agent_executor.storage.statements import Row, StatementRunner
from agent_executor.tool_runner.custom.custom_tool import CustomTool
from agent_executor.tool_runner.custom.store import ReachedLimit
from agent_executor.tool_runner.tables import CUSTOM_TOOL_VERSIONS, CUSTOM_TOOLS

_TOOL: Final = CUSTOM_TOOLS.c
_VERSION: Final = CUSTOM_TOOL_VERSIONS.c
_ALL_BUT_SOURCE: Final = tuple(column for column in _VERSION if column.name != "source")
_JSON_LISTS: Final = ("allowed_origins", "findings")


class SqlCustomToolStore:
    """``CustomToolStore`` in the tool-runner's database."""

    def __init__(self, runner: StatementRunner) -> None:
        self._runner = runner

    async def put(
        self, tool: CustomTool, *, tools_max: int, versions_max: int
    ) -> CustomTool | ReachedLimit:
        """See ``CustomToolStore``."""
        this_tool = _is_tool(tool.organization_id, tool.name)
        _, _, stored, versions = await self._runner.run(
            _insert_version(tool, tools_max, versions_max),
            _point_to(tool),
            _find(_ALL_BUT_SOURCE, tool.organization_id, tool.name, tool.version),
            select(func.count().label("count")).select_from(CUSTOM_TOOL_VERSIONS).where(this_tool),
        )
        if stored:
            return _tool_of(stored[0], tool.source)
        return "versions" if versions[0]["count"] >= versions_max else "tools"

    async def find(self, organization_id: str, name: str, version: str = "") -> CustomTool | None:
        """See ``CustomToolStore``."""
        statement = _find(tuple(_VERSION), organization_id, name, version)
        (found,) = await self._runner.run(statement)
        return _tool_of(found[0], found[0]["source"]) if found else None

    async def find_version(self, organization_id: str, name: str, version: str = "") -> str | None:
        """See ``CustomToolStore``."""
        statement = _find((_VERSION.version,), organization_id, name, version)
        (found,) = await self._runner.run(statement)
        return found[0]["version"] if found else None

    async def list_newest(
        self, organization_id: str, limit: int, after_name: str = ""
    ) -> list[CustomTool]:
        """See ``CustomToolStore``."""
        statement = (
            _joined(_ALL_BUT_SOURCE)
            .where(
                _TOOL.organization_id == organization_id,
                _TOOL.name > after_name,
                _VERSION.version == _TOOL.newest_version,
            )
            .order_by(_TOOL.name)
            .limit(limit)
        )
        (found,) = await self._runner.run(statement)
        return [_tool_of(row, "") for row in found]

    async def delete(self, organization_id: str, name: str) -> bool:
        """See ``CustomToolStore``."""
        pointer = delete(CUSTOM_TOOLS).where(
            _TOOL.organization_id == organization_id, _TOOL.name == name
        )
        versions = delete(CUSTOM_TOOL_VERSIONS).where(_is_tool(organization_id, name))
        deleted, _ = await self._runner.run(pointer.returning(_TOOL.name), versions)
        return bool(deleted)


def _insert_version(tool: CustomTool, tools_max: int, versions_max: int) -> Insert:
    """Inserts the version if it is new and no limit is reached."""
    tools = select(func.count()).where(_TOOL.organization_id == tool.organization_id)
    versions = select(func.count()).where(_is_tool(tool.organization_id, tool.name))
    is_known = select(_TOOL.name).where(
        _TOOL.organization_id == tool.organization_id, _TOOL.name == tool.name
    )
    has_place = and_(
        versions.scalar_subquery() < versions_max,
        or_(is_known.exists(), tools.scalar_subquery() < tools_max),
    )
    row = _row_of(tool)
    values = [literal(row[column.name], column.type).label(column.name) for column in _VERSION]
    statement = insert(CUSTOM_TOOL_VERSIONS).from_select(
        [column.name for column in _VERSION], select(*values).where(has_place)
    )
    return statement.on_conflict_do_nothing()


def _point_to(tool: CustomTool) -> Insert:
    """Makes the version the newest, if it is there."""
    key = (tool.organization_id, tool.name, tool.version)
    values = [
        literal(value, column.type).label(column.name)
        for value, column in zip(key, _TOOL, strict=True)
    ]
    is_there = select(_VERSION.version).where(
        _is_tool(tool.organization_id, tool.name), _VERSION.version == tool.version
    )
    statement = insert(CUSTOM_TOOLS).from_select(
        [column.name for column in _TOOL], select(*values).where(is_there.exists())
    )
    return statement.on_conflict_do_update(
        index_elements=[_TOOL.organization_id, _TOOL.name],
        set_={"newest_version": statement.excluded.newest_version},
    )


def _find(
    columns: Sequence[ColumnElement[Any]], organization_id: str, name: str, version: str
) -> Select[Any]:
    # Through the pointer in any case, so that versions without a tool are not there.
    return _joined(columns).where(
        _TOOL.organization_id == organization_id,
        _TOOL.name == name,
        _VERSION.version == (version or _TOOL.newest_version),
    )


def _joined(columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
    return select(*columns).join_from(
        CUSTOM_TOOLS,
        CUSTOM_TOOL_VERSIONS,
        and_(_VERSION.organization_id == _TOOL.organization_id, _VERSION.name == _TOOL.name),
    )


def _is_tool(organization_id: str, name: str) -> ColumnElement[bool]:
    return and_(_VERSION.organization_id == organization_id, _VERSION.name == name)


def _row_of(tool: CustomTool) -> Row:
    row = msgspec.structs.asdict(tool)
    lists = {name: json.dumps(row[name]) for name in _JSON_LISTS}
    return row | lists | {"requires_approval": int(tool.requires_approval)}


def _tool_of(row: Row, source: str) -> CustomTool:
    lists = {name: tuple(json.loads(row[name])) for name in _JSON_LISTS}
    values = row | lists | {"requires_approval": bool(row["requires_approval"])}
    return CustomTool(**values | {"source": source})
