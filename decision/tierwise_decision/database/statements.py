"""The statements that write, each made once. All can be repeated safely."""

from functools import cache
from typing import Any

from sqlalchemy import Table, bindparam, delete, func, insert, update
from sqlalchemy.dialects import postgresql, sqlite

from tierwise_decision.database.models import Base, Job, NodeTier, Request


def _table(model: type[Base]) -> Table:
    return Base.metadata.tables[model.__tablename__]


TIER = insert(_table(NodeTier))
NO_TIERS = delete(_table(NodeTier)).where(NodeTier.node == bindparam("of_node"))
CLAIM = (
    update(_table(Request))
    .where(Request.token == bindparam("of_token"), Request.claimed.is_(None))
    .values(claimed=bindparam("at"))
)
FORGET = delete(_table(Request)).where(Request.claimed.is_(None), Request.time < bindparam("before"))


@cache
def upsert(dialect: str, model: type[Base]) -> Any:
    """INSERT, and where the row is there already: requests stay as they are, jobs are merged, others replaced."""
    table = _table(model)
    statement: Any = (postgresql if dialect == "postgresql" else sqlite).insert(table)
    if model is Request:
        return statement.on_conflict_do_nothing()
    changes = _merged(statement) if model is Job else _replaced(statement)
    return statement.on_conflict_do_update(index_elements=table.primary_key.columns, set_=changes)


def _replaced(statement: Any) -> dict[str, Any]:
    new = statement.excluded
    return {column.name: new[column.name] for column in statement.table.columns if not column.primary_key}


def _merged(statement: Any) -> dict[str, Any]:
    """A job is told of by many: by each node's plan, samples and report. The first start and the last end count."""
    old, new = statement.table.c, statement.excluded
    return {
        "uid": new.uid,
        "directive": func.coalesce(func.nullif(new.directive, ""), old.directive),
        "memory": func.coalesce(func.nullif(new.memory, 0), old.memory),
        "ended": func.coalesce(new.ended, old.ended),
    }
