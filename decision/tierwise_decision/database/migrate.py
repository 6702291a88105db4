"""Bringing a database to the schema of this version."""

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, text

from tierwise.errors import TierwiseError
from tierwise_decision.database import selection, telemetry  # noqa: F401  their tables are Base's, too
from tierwise_decision.database.models import Base

_LOCK = 6830
"""Any number that is ours: two services that start at once must not migrate at once (PostgreSQL)."""


class SchemaError(TierwiseError):
    """The database has a schema that this version doesn't know."""


def migrate(engine: Engine) -> None:
    """Upgrade to the newest schema; does not write when it is there already. Raises SchemaError and what SQLAlchemy
    raises."""
    config = configuration()
    head = ScriptDirectory.from_config(config).get_current_head()
    with engine.connect() as connection:
        if MigrationContext.configure(connection).get_current_revision() == head:
            return
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise SchemaError(
                f"the database was made by another version of tierwise ({error}): install that version, or go back "
                "to the copy of the database that was made before the upgrade"
            ) from None


def drift(connection: Connection) -> list[object]:
    """What the migrations made that the models don't say, or the other way round; empty is right."""
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, Base.metadata))


def configuration() -> Config:
    """Alembic's configuration; it wants a connection in `attributes`."""
    config = Config()
    config.set_main_option("script_location", "tierwise_decision.database:migrations")
    config.set_main_option("path_separator", "os")
    return config
