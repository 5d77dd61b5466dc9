"""Learning-rate range tests; searches, and the experiments that are their trials."""

import sqlalchemy as sa
from alembic import op

revision = "20261125_searches"
down_revision = "20261125_watch"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rate_search",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("failed_because", sa.Text()),
        sa.Column("device", sa.String(length=100)),
        sa.Column("curve", sa.JSON(none_as_null=True)),
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
            name=op.f("ck_rate_search_status"),
        ),
        sa.ForeignKeyConstraint(["created_by_id"], ["user_account.id"], name=op.f("fk_rate_search_created_by_id")),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name=op.f("fk_rate_search_dataset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rate_search")),
    )
    op.create_index(op.f("ix_rate_search_dataset_id"), "rate_search", ["dataset_id"])
    op.create_index(op.f("ix_rate_search_status"), "rate_search", ["status"])
    op.create_table(
        "search",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("plan", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("failed_because", sa.Text()),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("created_by_id", sa.Integer()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("status IN ('running', 'succeeded', 'failed', 'cancelled')", name=op.f("ck_search_status")),
        sa.ForeignKeyConstraint(["created_by_id"], ["user_account.id"], name=op.f("fk_search_created_by_id")),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name=op.f("fk_search_dataset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_search")),
    )
    op.create_index(op.f("ix_search_dataset_id"), "search", ["dataset_id"])
    op.create_index(op.f("ix_search_status"), "search", ["status"])
    with op.batch_alter_table("experiment") as table:
        table.add_column(sa.Column("search_id", sa.Integer()))
        table.add_column(sa.Column("trial", sa.Integer()))
        table.add_column(sa.Column("pruned_epoch", sa.Integer()))
        table.create_foreign_key(op.f("fk_experiment_search_id"), "search", ["search_id"], ["id"])
        table.create_unique_constraint(op.f("uq_experiment_search_id_trial"), ["search_id", "trial"])
        table.create_check_constraint(op.f("ck_experiment_trial"), "(search_id IS NULL) = (trial IS NULL)")


def downgrade() -> None:
    with op.batch_alter_table("experiment") as table:
        table.drop_constraint(op.f("ck_experiment_trial"), type_="check")
        table.drop_constraint(op.f("uq_experiment_search_id_trial"), type_="unique")
        table.drop_constraint(op.f("fk_experiment_search_id"), type_="foreignkey")
        table.drop_column("pruned_epoch")
        table.drop_column("trial")
        table.drop_column("search_id")
    op.drop_index(op.f("ix_search_status"), "search")
    op.drop_index(op.f("ix_search_dataset_id"), "search")
    op.drop_table("search")
    op.drop_index(op.f("ix_rate_search_status"), "rate_search")
    op.drop_index(op.f("ix_rate_search_dataset_id"), "rate_search")
    op.drop_table("rate_search")
