"""What jobs ask of their nodes, the site's own node weights, and the exclusions that we gave to jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_ASKED = ("cpus", "net", "latency_ns")


def upgrade() -> None:
    for name in _ASKED:
        op.add_column("requests", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.create_table(
        "node_weights",
        sa.Column("node", sa.String(128), nullable=False),
        sa.Column("site", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("node", name="pk_node_weights"),
    )
    op.create_table(
        "exclusions",
        sa.Column("token", sa.String(16), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("nodes", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("token", name="pk_exclusions"),
    )
    op.create_index("ix_exclusions_time", "exclusions", ["time"])


def downgrade() -> None:
    op.drop_table("exclusions")
    op.drop_table("node_weights")
    for name in _ASKED:
        op.drop_column("requests", name)
