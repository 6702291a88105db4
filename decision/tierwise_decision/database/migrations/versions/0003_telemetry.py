"""Measurements, loads, events, stragglers and exposures of nodes."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_SHARES = ("cpu", "memory", "network", "gpu", "gpu_memory")


def upgrade() -> None:
    op.create_table(
        "measurements",
        sa.Column("node", sa.String(128), nullable=False),
        sa.Column("span", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("time", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        *(sa.Column(name, sa.Float(), nullable=False) for name in _SHARES),
        *(sa.Column(f"others_{name}", sa.Float(), nullable=False) for name in _SHARES),
        sa.Column("latency_ns", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("node", "span", "time", name="pk_measurements"),
    )
    op.create_index("ix_measurements_span_time", "measurements", ["span", "time"])
    op.create_table(
        "node_loads",
        sa.Column("node", sa.String(128), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("written", sa.BigInteger(), nullable=False),
        sa.Column("load", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("node", name="pk_node_loads"),
    )
    op.create_index("ix_node_loads_written", "node_loads", ["written"])
    op.create_table(
        "node_events",
        sa.Column("node", sa.String(128), nullable=False),
        sa.Column("time", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("node", "time", "kind", name="pk_node_events"),
    )
    op.create_index("ix_node_events_time", "node_events", ["time"])
    op.create_table(
        "stragglers",
        sa.Column("node", sa.String(128), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("number", sa.Float(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("node", name="pk_stragglers"),
    )
    op.create_table(
        "exposures",
        sa.Column("job_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("restart", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("node", sa.String(128), nullable=False),
        sa.Column("signature", sa.String(32), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("slowdown", sa.Float(), nullable=False),
        sa.Column("others", sa.Text(), nullable=False),
        sa.Column("own", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "restart", "node", name="pk_exposures"),
    )
    op.create_index("ix_exposures_signature_ended", "exposures", ["signature", "ended"])
    op.create_index("ix_exposures_ended", "exposures", ["ended"])


def downgrade() -> None:
    for table in ("exposures", "stragglers", "node_events", "node_loads", "measurements"):
        op.drop_table(table)
