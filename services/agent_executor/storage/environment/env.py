"""What alembic runs for every service: the pending migrations, on the connection it was given."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    # SQLite can roll back a table's definition; alembic assumes that it cannot.
    transactional_ddl=True,
    transaction_per_migration=True,
    # It cannot alter most of one in place, so batch operations copy the table.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
