"""Alembic's entry: runs the migrations on the connection that migrate.py hands over."""

from alembic import context

from tierwise_decision.database.models import Base

connection = context.config.attributes["connection"]
# SQLite can't alter most things in place: batch mode copies the table.
context.configure(
    connection=connection, target_metadata=Base.metadata, render_as_batch=connection.dialect.name == "sqlite"
)
with context.begin_transaction():
    context.run_migrations()
