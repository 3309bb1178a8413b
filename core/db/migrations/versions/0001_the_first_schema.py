"""the first schema"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "asset",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("format", sa.String(length=16), nullable=False),
        sa.Column("byte_size", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_asset")),
        sa.UniqueConstraint("owner_id", "sha256", name=op.f("uq_asset_owner_id_sha256")),
    )
    op.create_table(
        "bundle",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("taxonomy", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("description", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("card", sa.String(), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bundle")),
        sa.UniqueConstraint("owner_id", "name", "version", name=op.f("uq_bundle_owner_id_name_version")),
    )
    op.create_table(
        "job",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("external_id", sa.String(), nullable=True),
        sa.Column("lane", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("is_upload", sa.Boolean(), nullable=False),
        sa.Column("idempotency_key", sa.String(), nullable=True),
        sa.Column("request_digest", sa.String(length=64), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("retries", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("current_result_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint("lane in ('interactive', 'bulk')", name=op.f("ck_job_lane")),
        sa.CheckConstraint(
            "status in ('queued', 'processing', 'succeeded', 'failed', 'canceled')", name=op.f("ck_job_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        sa.UniqueConstraint("owner_id", "idempotency_key", name=op.f("uq_job_owner_id_idempotency_key")),
    )
    op.create_index(
        "ix_job_leased", "job", ["lease_expires_at"], unique=False, postgresql_where=sa.text("status = 'processing'")
    )
    op.create_index("ix_job_owner_created", "job", ["owner_id", "created_at", "id"], unique=False)
    op.create_index("ix_job_owner_external_id", "job", ["owner_id", "external_id"], unique=False)
    op.create_index("ix_job_owner_status_created", "job", ["owner_id", "status", "created_at", "id"], unique=False)
    op.create_index(
        "ix_job_queued", "job", ["lane", "published_at"], unique=False, postgresql_where=sa.text("status = 'queued'")
    )
    op.create_table(
        "result",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("asset_id", sa.Uuid(), nullable=False),
        sa.Column("bundle_name", sa.String(), nullable=False),
        sa.Column("bundle_version", sa.String(), nullable=False),
        sa.Column("taxonomy_version", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("metadata", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("predictions", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("caption_source", sa.String(length=16), nullable=True),
        sa.Column("is_degraded", sa.Boolean(), nullable=False),
        sa.Column("timings", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["asset_id"], ["asset.id"], name=op.f("fk_result_asset_id_asset")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_result_job_id_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_result")),
    )
    op.create_index("ix_result_asset_bundle", "result", ["asset_id", "bundle_name", "bundle_version"], unique=False)
    op.create_index("ix_result_job", "result", ["job_id"], unique=False)
    # The two tables reference each other, so this foreign key is added last.
    op.create_foreign_key(
        "fk_job_current_result_id_result", "job", "result", ["current_result_id"], ["id"], ondelete="SET NULL"
    )


def downgrade() -> None:
    op.drop_constraint("fk_job_current_result_id_result", "job", type_="foreignkey")
    op.drop_index("ix_result_job", table_name="result")
    op.drop_index("ix_result_asset_bundle", table_name="result")
    op.drop_table("result")
    op.drop_index("ix_job_queued", table_name="job", postgresql_where=sa.text("status = 'queued'"))
    op.drop_index("ix_job_owner_status_created", table_name="job")
    op.drop_index("ix_job_owner_external_id", table_name="job")
    op.drop_index("ix_job_owner_created", table_name="job")
    op.drop_index("ix_job_leased", table_name="job", postgresql_where=sa.text("status = 'processing'"))
    op.drop_table("job")
    op.drop_table("bundle")
    op.drop_table("asset")
