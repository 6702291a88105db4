"""The tables of what Slurm was told about nodes: the site's own weights, and what jobs are kept off."""

import time
from typing import Any

from sqlalchemy import Connection, Index, String, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from tierwise_decision.database.models import Base
from tierwise_decision.database.statements import upsert

Row = dict[str, Any]
MAX_EXCLUSIONS = 50_000


class SiteWeight(Base):
    """The weight that a node had before we changed it."""

    __tablename__ = "node_weights"
    node: Mapped[str] = mapped_column(String(128), primary_key=True)
    site: Mapped[int]


class Exclusion(Base):
    """The nodes that the job with this token is kept off, with commas between."""

    __tablename__ = "exclusions"
    __table_args__ = (Index("ix_exclusions_time", "time"),)
    token: Mapped[str] = mapped_column(String(16), primary_key=True)
    time: Mapped[int]
    nodes: Mapped[str]


class SelectionRows:
    """What is to be written of it."""

    def __init__(self) -> None:
        self.site_weights: dict[str, int] = {}
        self.exclusions: dict[str, Row] = {}

    def __len__(self) -> int:
        return len(self.site_weights) + len(self.exclusions)

    def exclude(self, token: str, names: tuple[str, ...]) -> None:
        """A job is kept off these nodes."""
        self.exclusions[token] = {"token": token, "time": time.time_ns(), "nodes": ",".join(names)}

    def before(self, newer: "SelectionRows") -> "SelectionRows":
        """These rows, which failed, then newer ones."""
        self.site_weights |= newer.site_weights
        self.exclusions |= newer.exclusions
        return self

    def write(self, connection: Connection) -> None:
        """Everything."""
        dialect = connection.dialect.name
        if self.site_weights:
            rows = [{"node": node, "site": site} for node, site in sorted(self.site_weights.items())]
            connection.execute(upsert(dialect, SiteWeight), rows)
        if self.exclusions:
            connection.execute(upsert(dialect, Exclusion), list(self.exclusions.values()))


def site_weights(connection: Connection) -> dict[str, int]:
    """The site's own weights of the nodes that we ever changed."""
    return {row.node: row.site for row in connection.execute(select(SiteWeight.__table__))}


def exclusions(connection: Connection) -> dict[str, tuple[str, ...]]:
    """What the newest jobs are kept off, by token."""
    query = select(Exclusion.__table__).order_by(Exclusion.time.desc()).limit(MAX_EXCLUSIONS)
    return {row.token: tuple(filter(None, row.nodes.split(","))) for row in connection.execute(query)}


def forget(connection: Connection, before: int) -> None:
    """Drop the exclusions of jobs from before a time."""
    connection.execute(delete(Exclusion).where(Exclusion.time < before))
