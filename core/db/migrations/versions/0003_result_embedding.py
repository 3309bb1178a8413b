"""the image embedding of each result, and its in-domain score"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("result", sa.Column("embedding", sa.LargeBinary(), nullable=True))
    op.add_column("result", sa.Column("in_domain", sa.Float(), nullable=True))


def downgrade() -> None:
    op.drop_column("result", "in_domain")
    op.drop_column("result", "embedding")
