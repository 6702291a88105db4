"""The first tables: nodes, tiers, requests, jobs, plans, reports."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "nodes",
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_nodes"),
    )
    op.create_table(
        "tiers",
        sa.Column("node", sa.String(128), nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("rank", sa.BigInteger(), nullable=False),
        sa.Column("numa_nodes", sa.Text(), nullable=False),
        sa.Column("capacity", sa.BigInteger(), nullable=False),
        sa.Column("latency_ns", sa.BigInteger(), nullable=False),
        sa.Column("bandwidth", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.ForeignKeyConstraint(["node"], ["nodes.name"], name="fk_tiers_node", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("node", "name", name="pk_tiers"),
    )
    op.create_table(
        "requests",
        sa.Column("token", sa.String(16), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("uid", sa.BigInteger(), nullable=False),
        sa.Column("directive", sa.Text(), nullable=False),
        sa.Column("memory", sa.BigInteger(), nullable=False),
        sa.Column("memory_from", sa.String(8), nullable=False),
        sa.Column("whole_node", sa.Boolean(), nullable=False),
        sa.Column("partition", sa.Text(), nullable=False),
        sa.Column("nodes", sa.BigInteger(), nullable=False),
        sa.Column("launch", sa.String(8), nullable=False),
        sa.Column("job_name", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("gres", sa.Text(), nullable=False),
        sa.Column("notice", sa.Text(), nullable=False),
        sa.Column("claimed", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("token", name="pk_requests"),
    )
    op.create_index("ix_requests_claimed_time", "requests", ["claimed", "time"])
    op.create_index("ix_requests_uid_time", "requests", ["uid", "time"])
    op.create_table(
        "jobs",
        *_run(),
        sa.Column("uid", sa.BigInteger(), nullable=False),
        sa.Column("directive", sa.Text(), nullable=False),
        sa.Column("memory", sa.BigInteger(), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("job_id", "restart", "token", name="pk_jobs"),
    )
    op.create_index("ix_jobs_uid_started", "jobs", ["uid", "started"])
    op.create_index("ix_jobs_started", "jobs", ["started"])
    op.create_table(
        "plans",
        *_run(),
        sa.Column("node", sa.String(128), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("uid", sa.BigInteger(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "restart", "token", "node", name="pk_plans"),
    )
    op.create_table(
        "reports",
        *_run(),
        sa.Column("node", sa.String(128), nullable=False),
        sa.Column("uid", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=False),
        sa.Column("report", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "restart", "token", "node", name="pk_reports"),
    )


def downgrade() -> None:
    for table in ("reports", "plans", "jobs", "requests", "tiers", "nodes"):
        op.drop_table(table)


def _run() -> tuple[sa.Column[int], sa.Column[int], sa.Column[str]]:
    """The key of one run of a job, as the first columns of three tables."""
    return (
        sa.Column("job_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("restart", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("token", sa.String(16), nullable=False),
    )
