"""The highest number that a deleted version of a data set had, which is not given again."""

import sqlalchemy as sa
from alembic import op

revision = "20261125_numbers"
down_revision = "20261125_switch"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("dataset") as table:
        # The default stays: processes of the release before add rows while this one is rolled out.
        table.add_column(sa.Column("given_number", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    with op.batch_alter_table("dataset") as table:
        table.drop_column("given_number")
