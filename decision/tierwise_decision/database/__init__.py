"""The service's memory on disk: SQLite out of the box, PostgreSQL by URL, migrated by Alembic at the start."""
