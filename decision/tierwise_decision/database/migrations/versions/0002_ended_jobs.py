"""Jobs that have ended, and how often a job may be requeued."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("requests", sa.Column("retry", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_table(
        "ended_jobs",
        sa.Column("job_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("started", sa.BigInteger(), autoincrement=False, nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("restart", "uid")),
        *(sa.Column(name, sa.String(16), nullable=False) for name in ("key_exact", "key_script", "key_name", "token")),
        sa.Column("array", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("cause", sa.String(16), nullable=False),
        sa.Column("failed", sa.Boolean(), nullable=False),
        *(_number(name) for name in ("exit_code", "exit_signal", "asked_memory", "peak")),
        sa.Column("seconds", sa.Float(), nullable=False),
        *(_number(name) for name in ("time_limit", "input_bytes", "nodes")),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("node_list", "partition", "job_name")),
        _number("ended"),
        sa.Column("action", sa.Text(), nullable=False),
        *(_number(name) for name in ("next_memory", "next_seconds")),
        sa.Column("retried", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "started", name="pk_ended_jobs"),
    )
    for name in ("key_exact", "key_script", "key_name"):
        op.create_index(f"ix_ended_jobs_{name}_ended", "ended_jobs", [name, "ended"])
    op.create_index("ix_ended_jobs_ended", "ended_jobs", ["ended"])


def downgrade() -> None:
    op.drop_table("ended_jobs")
    op.drop_column("requests", "retry")


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)
