"""Indices by which old reports and plans are found, to be forgotten."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_index("ix_reports_ended", "reports", ["ended"])
    op.create_index("ix_plans_time", "plans", ["time"])


def downgrade() -> None:
    op.drop_index("ix_plans_time", "plans")
    op.drop_index("ix_reports_ended", "reports")
