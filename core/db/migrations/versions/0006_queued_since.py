"""the time since when a job has been queued, unaffected by repeated publishing"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    # now() is constant within the statement, so the table is not rewritten, and existing jobs count from the migration
    # on. The default is also for the previous release, which inserts rows without this column.
    waits_since = sa.Column("queued_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)
    op.add_column("job", waits_since, if_not_exists=True)
    # Committed first, so that building the index blocks only writers. CONCURRENTLY would wait for all transactions,
    # including that of another process that waits for this migration: a deadlock.
    with op.get_context().autocommit_block():
        op.create_index(
            "ix_job_waiting",
            "job",
            ["lane", "queued_at"],
            unique=False,
            postgresql_where=sa.text("status = 'queued'"),
            if_not_exists=True,
        )


def downgrade() -> None:
    op.drop_index("ix_job_waiting", table_name="job")
    op.drop_column("job", "queued_at")
