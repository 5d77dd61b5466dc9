"""How far each answered image is from the training images of its version."""

import sqlalchemy as sa
from alembic import op

revision = "20261129_distances"
down_revision = "20261125_numbers"
branch_labels = None
depends_on = None

COLUMNS = ("embedding_distance", "look_distance")


def upgrade() -> None:
    for column in COLUMNS:
        op.add_column("prediction", sa.Column(column, sa.Double(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("prediction") as table:
        for column in COLUMNS:
            table.drop_column(column)
