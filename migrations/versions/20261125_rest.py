"""Batch predictions, and tokens that expire."""

import sqlalchemy as sa
from alembic import op

revision = "20261125_rest"
down_revision = "20261125_searches"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "batch_prediction",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("archive_part_sha256s", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("failed_because", sa.Text()),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("errors", sa.Integer(), nullable=False),
        sa.Column("left_out", sa.Integer(), nullable=False),
        sa.Column("results_sha256", sa.String(length=64)),
        sa.Column("created_by_id", sa.Integer()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempt_token", sa.String(length=64)),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("losses", sa.Integer(), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True)),
        sa.Column("rung_at", sa.DateTime(timezone=True)),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("phase", sa.String(length=40), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'cancelling', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_batch_prediction_status"),
        ),
        sa.ForeignKeyConstraint(["created_by_id"], ["user_account.id"], name=op.f("fk_batch_prediction_created_by_id")),
        sa.ForeignKeyConstraint(["version_id"], ["model_version.id"], name=op.f("fk_batch_prediction_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batch_prediction")),
    )
    op.create_index(op.f("ix_batch_prediction_status"), "batch_prediction", ["status"])
    op.create_index(op.f("ix_batch_prediction_version_id"), "batch_prediction", ["version_id"])
    op.add_column("api_token", sa.Column("expires_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    op.drop_column("api_token", "expires_at")
    op.drop_index(op.f("ix_batch_prediction_version_id"), "batch_prediction")
    op.drop_index(op.f("ix_batch_prediction_status"), "batch_prediction")
    op.drop_table("batch_prediction")
