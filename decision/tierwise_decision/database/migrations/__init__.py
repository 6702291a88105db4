"""Alembic's environment and versions. A new one: see CONTRIBUTING, «A change of the database»."""
