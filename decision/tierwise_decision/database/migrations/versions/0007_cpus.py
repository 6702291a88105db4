"""How many CPUs an ended job had on each node; what it read nobody ever told."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("ended_jobs", sa.Column("cpus", sa.BigInteger(), nullable=False, server_default="0"))
    op.drop_column("ended_jobs", "input_bytes")


def downgrade() -> None:
    op.add_column("ended_jobs", sa.Column("input_bytes", sa.BigInteger(), nullable=False, server_default="0"))
    op.drop_column("ended_jobs", "cpus")
