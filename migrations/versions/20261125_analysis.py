"""What an evaluation keeps to look behind its scores; predictions without a label."""

import sqlalchemy as sa
from alembic import op

revision = "20261125_analysis"
down_revision = "20261124_studies"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("evaluation") as table:
        table.add_column(sa.Column("evidence_sha256", sa.String(length=64)))
        table.add_column(sa.Column("is_stressed", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("robustness", sa.JSON(none_as_null=True)))
    with op.batch_alter_table("evaluation") as table:
        table.alter_column("is_stressed", server_default=None)
    with op.batch_alter_table("prediction") as table:
        table.alter_column("label", existing_type=sa.String(length=200), nullable=True)
        table.alter_column("probability", existing_type=sa.Float(), nullable=True)


def downgrade() -> None:
    op.execute("DELETE FROM prediction WHERE label IS NULL")  # the release before has no word for them
    with op.batch_alter_table("prediction") as table:
        table.alter_column("probability", existing_type=sa.Float(), nullable=False)
        table.alter_column("label", existing_type=sa.String(length=200), nullable=False)
    with op.batch_alter_table("evaluation") as table:
        table.drop_column("robustness")
        table.drop_column("is_stressed")
        table.drop_column("evidence_sha256")
