"""Where the executor keeps what must last: a SQLite file, or a PostgreSQL database it may share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from agent_executor.executor.agents.store import AgentStore
from agent_executor.executor.agents.store_sqlite import SqliteAgentStore
from agent_executor.executor.api_keys.store import ApiKeyStore
from agent_executor.executor.api_keys.store_sql import SqlApiKeyStore
from agent_executor.executor.approvals.store import ApprovalStore
from agent_executor.executor.approvals.store_sql import SqlApprovalStore
from agent_executor.executor.conversations.store import ConversationStore
from agent_executor.executor.conversations.store_sql import SqlConversationStore
from agent_executor.executor.journal.journal import Journal
from agent_executor.executor.journal.journal_sqlite import SqliteJournal
from agent_executor.executor.monitor.run_news import RunNews
from agent_executor.executor.monitor.run_news_sql import SqlRunNews
from agent_executor.executor.provider_batches.store import BatchStore
from agent_executor.executor.provider_batches.store_sql import SqlBatchStore
from agent_executor.executor.schema import MIGRATIONS
from agent_executor.executor.settings import ExecutorSettings
from agent_executor.executor.webhooks.store import WebhookStore
from agent_executor.executor.webhooks.store_sql import SqlWebhookStore
from agent_executor.storage.group_commit import BatchStatistics
from agent_executor.storage.migrations import upgrade
from agent_executor.storage.sqlite import SqliteDatabase
from agent_executor.storage.statements import StatementRunner
from agent_executor.storage.statements_sqlite import SqliteStatementRunner


@dataclass(frozen=True, slots=True)
class ExecutorStorage:
    """An open database.

    Attributes:
        journal: Runs and their logs.
        agents: Agents and their versions.
        api_keys: Keys of programs and sessions of browsers.
        conversations: What runs have said to be continued.
        approvals: Tool calls that people decide about.
        batches: Model calls that go through batches of their provider.
        webhooks: Ends of runs that are to be told.
        run_news: Which runs have gone on.
        statements: For stores that are written in SQLAlchemy Core.
        close: Ends what was submitted, and closes the database.
        connections: Returns how many connections to a server are open, by use; none without one.
    """

    journal: Journal
    agents: AgentStore
    api_keys: ApiKeyStore
    conversations: ConversationStore
    approvals: ApprovalStore
    batches: BatchStore
    webhooks: WebhookStore
    run_news: RunNews
    statements: StatementRunner
    close: Callable[[], Awaitable[None]]
    connections: Callable[[], Mapping[str, int]] = dict


async def open_storage(
    settings: ExecutorSettings, on_batch: Callable[[BatchStatistics], None] | None = None
) -> ExecutorStorage:
    """Opens the database that the settings name, at the newest revision.

    Args:
        settings: The settings.
        on_batch: Called in the event loop after each batch of writes.

    Raises:
        MigrationError: The database cannot be brought to the revision of the code.
        OSError: The file cannot be made.
        sqlite3.Error: The file is not a database.
    """
    if settings.postgres_url:
        return await _open_postgres(settings, on_batch)
    upgrade(settings.journal_file, MIGRATIONS)
    database = SqliteDatabase(settings.journal_file, on_batch=on_batch)
    statements = SqliteStatementRunner(database)
    return ExecutorStorage(
        journal=SqliteJournal(database),
        agents=SqliteAgentStore(database),
        api_keys=SqlApiKeyStore(statements),
        conversations=SqlConversationStore(statements),
        approvals=SqlApprovalStore(statements),
        batches=SqlBatchStore(statements),
        webhooks=SqlWebhookStore(statements),
        run_news=SqlRunNews(statements),
        statements=statements,
        close=database.close,
    )


async def _open_postgres(
    settings: ExecutorSettings, on_batch: Callable[[BatchStatistics], None] | None
) -> ExecutorStorage:
    # Imported here, for most have a SQLite file.
    from agent_executor.executor.agents.store_sql import SqlAgentStore
    from agent_executor.executor.journal.journal_postgres import PostgresJournal
    from agent_executor.storage.migrations_postgres import upgrade_postgres
    from agent_executor.storage.postgres import PostgresDatabase
    from agent_executor.storage.statements_postgres import PostgresStatementRunner

    database_url = settings.postgres_url
    await upgrade_postgres(database_url, MIGRATIONS)
    database = PostgresDatabase(database_url, on_batch=on_batch)
    statements = PostgresStatementRunner(database)
    return ExecutorStorage(
        journal=PostgresJournal(database),
        agents=SqlAgentStore(statements),
        api_keys=SqlApiKeyStore(statements),
        conversations=SqlConversationStore(statements),
        approvals=SqlApprovalStore(statements),
        batches=SqlBatchStore(statements),
        webhooks=SqlWebhookStore(statements),
        run_news=SqlRunNews(statements),
        statements=statements,
        close=database.close,
        connections=lambda: database.connections,
    )
