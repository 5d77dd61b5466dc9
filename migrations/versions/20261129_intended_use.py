"""What a version is for, in words of a person: nobody has written it yet for those that there are."""

import sqlalchemy as sa
from alembic import op

revision = "20261129_intended_use"
down_revision = "20261129_distances"
branch_labels = None
depends_on = None
FOREIGN_KEY = "fk_model_version_intended_use_by_id"


def upgrade() -> None:
    with op.batch_alter_table("model_version") as table:
        table.add_column(sa.Column("intended_use", sa.Text(), nullable=False, server_default=sa.text("''")))
        table.add_column(sa.Column("intended_use_by_id", sa.Integer()))
        table.add_column(sa.Column("intended_use_at", sa.DateTime(timezone=True)))
        table.create_foreign_key(op.f(FOREIGN_KEY), "user_account", ["intended_use_by_id"], ["id"])


def downgrade() -> None:
    with op.batch_alter_table("model_version") as table:
        table.drop_constraint(op.f(FOREIGN_KEY), type_="foreignkey")
        table.drop_column("intended_use_at")
        table.drop_column("intended_use_by_id")
        table.drop_column("intended_use")
