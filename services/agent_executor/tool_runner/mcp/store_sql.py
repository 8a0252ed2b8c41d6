"""MCP servers in a database, and beside them the versions of their tools."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Delete, Select, and_, delete, literal, select, update
from sqlalchemy.dialects.postgresql import Insert, insert

from agent_executor.storage.statements import Row, StatementRunner
from agent_executor.tool_runner.mcp.mcp_server import (
    GENERATIONS_KEPT,
    McpServer,
    McpTool,
    server_name_of,
)
from agent_executor.tool_runner.policy.limited_insert import insert_within
from agent_executor.tool_runner.tables import MCP_SERVERS, MCP_TOOL_VERSIONS

_SERVER: Final = MCP_SERVERS.c
_TOOL: Final = MCP_TOOL_VERSIONS.c
_KEY: Final = frozenset(column.name for column in MCP_SERVERS.primary_key)
_SERVER_FIELDS: Final = tuple(
    _SERVER[name] for name in McpServer.__struct_fields__ if name != "tools"
)
_TOOL_FIELDS: Final = tuple(_TOOL[name] for name in McpTool.__struct_fields__)
_JSON_LISTS: Final = ("allowed_tools", "findings")
_BOOLEANS: Final = ("trusts_hints", "requires_approval")


class SqlMcpServerStore:
    """``McpServerStore`` in the tool-runner's database."""

    def __init__(self, runner: StatementRunner) -> None:
        self._runner = runner

    async def put(self, organization_id: str, server: McpServer, *, servers_max: int) -> bool:
        """See ``McpServerStore``."""
        row = _row_of(organization_id, server) | {"generation": server.refreshed_at_ms}
        statement = insert_within(MCP_SERVERS, row, servers_max)
        changes = {name: statement.excluded[name] for name in row if name not in _KEY}
        statement = statement.on_conflict_do_update(
            index_elements=list(MCP_SERVERS.primary_key),
            set_=changes | {"generation": _SERVER.generation + 1},
        )
        is_there = _is_server(organization_id, server.name)
        stored, *_ = await self._runner.run(
            statement.returning(_SERVER.name),
            *_put_tools(organization_id, server.tools, is_there, _SERVER.generation),
            _drop_old_tools(organization_id, server.name),
        )
        return bool(stored)

    async def renew(self, organization_id: str, server: McpServer) -> bool:
        """See ``McpServerStore``."""
        is_as_read = and_(
            _is_server(organization_id, server.name), _SERVER.generation == server.generation
        )
        row = _row_of(organization_id, server) | {"generation": server.generation + 1}
        changes = {name: value for name, value in row.items() if name not in _KEY}
        # The lock keeps others out from here on; SQLite has one writer anyway. The server comes
        # after its tools, for they go in only where it is as it was read.
        _, *_, stored, _ = await self._runner.run(
            select(_SERVER.name).where(is_as_read).with_for_update(),
            *_put_tools(organization_id, server.tools, is_as_read, _SERVER.generation + 1),
            update(MCP_SERVERS).where(is_as_read).values(**changes).returning(_SERVER.name),
            _drop_old_tools(organization_id, server.name),
        )
        return bool(stored)

    async def find(self, organization_id: str, name: str) -> McpServer | None:
        """See ``McpServerStore``."""
        servers, tools = await self._runner.run(
            select(*_SERVER_FIELDS).where(_is_server(organization_id, name)),
            _in_force().where(_of_server(organization_id, name)),
        )
        return _server_of(servers[0], tools) if servers else None

    async def list_servers(
        self, organization_id: str, limit: int, after: str = ""
    ) -> list[McpServer]:
        """See ``McpServerStore``."""
        page = (
            select(*_SERVER_FIELDS)
            .where(_SERVER.organization_id == organization_id, _SERVER.name > after)
            .order_by(_SERVER.name)
            .limit(limit)
        )
        names = page.with_only_columns(_SERVER.name).subquery()
        is_of_page = _TOOL.server_name.in_(select(names.c.name))
        servers, tools = await self._runner.run(
            page,
            _in_force(_TOOL.server_name).where(
                _TOOL.organization_id == organization_id, is_of_page
            ),
        )
        tools_of: dict[str, list[Row]] = {}
        for row in tools:
            tools_of.setdefault(row["server_name"], []).append(row)
        return [_server_of(row, tools_of.get(row["name"], ())) for row in servers]

    async def delete(self, organization_id: str, name: str) -> bool:
        """See ``McpServerStore``."""
        deleted, _ = await self._runner.run(
            delete(MCP_SERVERS).where(_is_server(organization_id, name)).returning(_SERVER.name),
            delete(MCP_TOOL_VERSIONS).where(_of_server(organization_id, name)),
        )
        return bool(deleted)

    async def find_tool(
        self, organization_id: str, tool_name: str, version: str = ""
    ) -> tuple[McpServer, McpTool] | None:
        """See ``McpServerStore``."""
        server_name = server_name_of(tool_name)
        if not server_name:
            return None
        current = _in_force().where(
            _TOOL.organization_id == organization_id, _TOOL.name == tool_name
        )
        is_wanted = (_TOOL.organization_id == organization_id, _TOOL.name == tool_name)
        servers, in_force, tools = await self._runner.run(
            select(*_SERVER_FIELDS).where(_is_server(organization_id, server_name)),
            current,
            select(*_TOOL_FIELDS).where(*is_wanted, _TOOL.version == version),
        )
        found = tools if version else in_force
        if not servers or not in_force or not found:
            return None
        return _server_of(servers[0], ()), _tool_of(found[0])

    async def list_tools(
        self, organization_id: str, limit: int, after_name: str = ""
    ) -> list[McpTool]:
        """See ``McpServerStore``."""
        statement = (
            _in_force()
            .where(_TOOL.organization_id == organization_id, _TOOL.name > after_name)
            .limit(limit)
        )
        (rows,) = await self._runner.run(statement)
        return [_tool_of(row) for row in rows]


def _put_tools(
    organization_id: str,
    tools: Iterable[McpTool],
    is_server: ColumnElement[bool],
    generation: ColumnElement[int],
) -> Iterator[Insert]:
    """Yields what gives tools a generation, where there is such a server."""
    for tool in tools:
        row = {
            "organization_id": organization_id,
            "server_name": server_name_of(tool.name),
            **msgspec.structs.asdict(tool),
            "requires_approval": int(tool.requires_approval),
        }
        columns = [column for column in _TOOL if column.name != "generation"]
        values = [literal(row[column.name], column.type).label(column.name) for column in columns]
        statement = insert(MCP_TOOL_VERSIONS).from_select(
            [*(column.name for column in columns), "generation"],
            select(*values, generation.label("generation")).where(is_server),
        )
        yield statement.on_conflict_do_update(
            index_elements=list(MCP_TOOL_VERSIONS.primary_key),
            set_={"generation": statement.excluded.generation},
        )


def _drop_old_tools(organization_id: str, server_name: str) -> Delete:
    newest_dropped = select(_SERVER.generation - GENERATIONS_KEPT).where(
        _is_server(organization_id, server_name)
    )
    return delete(MCP_TOOL_VERSIONS).where(
        _of_server(organization_id, server_name),
        _TOOL.generation <= newest_dropped.scalar_subquery(),
    )


def _in_force(*further: ColumnElement[Any]) -> Select[Any]:
    return (
        select(*_TOOL_FIELDS, *further)
        .join_from(
            MCP_TOOL_VERSIONS,
            MCP_SERVERS,
            and_(
                _SERVER.organization_id == _TOOL.organization_id,
                _SERVER.name == _TOOL.server_name,
                _SERVER.generation == _TOOL.generation,
            ),
        )
        .order_by(_TOOL.name)
    )


def _is_server(organization_id: str, name: str) -> ColumnElement[bool]:
    return and_(_SERVER.organization_id == organization_id, _SERVER.name == name)


def _of_server(organization_id: str, name: str) -> ColumnElement[bool]:
    return and_(_TOOL.organization_id == organization_id, _TOOL.server_name == name)


def _row_of(organization_id: str, server: McpServer) -> Row:
    row = {"organization_id": organization_id, **msgspec.structs.asdict(server)}
    del row["tools"]
    row |= {name: json.dumps(row[name]) for name in _JSON_LISTS}
    return row | {name: int(row[name]) for name in _BOOLEANS}


def _server_of(row: Row, tools: Iterable[Row]) -> McpServer:
    lists = {name: tuple(json.loads(row[name])) for name in _JSON_LISTS}
    booleans = {name: bool(row[name]) for name in _BOOLEANS}
    return McpServer(**row | lists | booleans | {"tools": tuple(map(_tool_of, tools))})


def _tool_of(row: Row) -> McpTool:
    fields = {name: row[name] for name in McpTool.__struct_fields__}
    return McpTool(**fields | {"requires_approval": bool(row["requires_approval"])})
