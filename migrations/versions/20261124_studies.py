"""Studies, and the experiments that are their members."""

import sqlalchemy as sa
from alembic import op

revision = "20261124_studies"
down_revision = "20261124_initial"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "study",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("k", sa.Integer(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("pooled", sa.JSON(none_as_null=True)),
        sa.Column("created_by_id", sa.Integer()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('folds', 'seeds')", name=op.f("ck_study_kind")),
        sa.CheckConstraint("k BETWEEN 2 AND 20", name=op.f("ck_study_k")),
        sa.ForeignKeyConstraint(["created_by_id"], ["user_account.id"], name=op.f("fk_study_created_by_id")),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name=op.f("fk_study_dataset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study")),
    )
    op.create_index(op.f("ix_study_dataset_id"), "study", ["dataset_id"])
    with op.batch_alter_table("experiment") as table:
        table.add_column(sa.Column("study_id", sa.Integer()))
        table.add_column(sa.Column("member", sa.Integer()))
        table.create_foreign_key(op.f("fk_experiment_study_id"), "study", ["study_id"], ["id"])
        table.create_unique_constraint(op.f("uq_experiment_study_id_member"), ["study_id", "member"])
        table.create_check_constraint(op.f("ck_experiment_member"), "(study_id IS NULL) = (member IS NULL)")


def downgrade() -> None:
    with op.batch_alter_table("experiment") as table:
        table.drop_constraint(op.f("ck_experiment_member"), type_="check")
        table.drop_constraint(op.f("uq_experiment_study_id_member"), type_="unique")
        table.drop_constraint(op.f("fk_experiment_study_id"), type_="foreignkey")
        table.drop_column("member")
        table.drop_column("study_id")
    op.drop_index(op.f("ix_study_dataset_id"), "study")
    op.drop_table("study")
