"""The highest number that a deleted version of a data set had; defaults for what processes of a release before add.

While a release is rolled out, they write rows that lack the columns that are new.
"""

import sqlalchemy as sa
from alembic import op

revision = "20261125_numbers"
down_revision = "20261125_switch"
branch_labels = None
depends_on = None
NEW = (
    ("activation", "variant", "float32"),
    ("evaluation", "is_stressed", sa.false()),
    ("prediction", "is_abstained", sa.false()),
    ("prediction", "place", "0"),
    ("prediction", "variant", "float32"),
)


def upgrade() -> None:
    with op.batch_alter_table("dataset") as table:
        table.add_column(sa.Column("given_number", sa.Integer(), nullable=False, server_default="0"))
    for name, column, default in NEW:
        with op.batch_alter_table(name) as table:
            table.alter_column(column, server_default=default)


def downgrade() -> None:
    for name, column, _ in NEW:
        with op.batch_alter_table(name) as table:
            table.alter_column(column, server_default=None)
    with op.batch_alter_table("dataset") as table:
        table.drop_column("given_number")
