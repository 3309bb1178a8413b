"""since when a job waits for a worker, whatever is sent again in the meantime"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    # A default that does not change within the statement costs no rewrite of the table: what is there already counts
    # from the migration on. It also serves the release before this one, which makes rows without the column.
    waits_since = sa.Column("queued_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)
    op.add_column("job", waits_since, if_not_exists=True)
    # Committed before the index is built, which then holds up writers and no readers. Not CONCURRENTLY: that waits for
    # every other transaction, and so for another process that waits to migrate, which waits for us.
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
