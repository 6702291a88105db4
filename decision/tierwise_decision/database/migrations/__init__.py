"""Alembic's environment and the versions of the schema.

A new version is a file `versions/000N_what.py` like the others, with `down_revision` naming the one before, and the
same change in models.py: `migrate.drift` (a test) says what is missing in one of them. Old versions are never changed.
"""
