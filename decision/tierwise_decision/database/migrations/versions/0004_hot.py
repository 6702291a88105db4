"""How much of an ended job was hot: what its kind is placed by, where it doesn't say."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("ended_jobs", sa.Column("hot", sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("ended_jobs", "hot")
