"""Which variant of a version serves, and answered; answers that were no decision."""

import sqlalchemy as sa
from alembic import op

revision = "20261125_switch"
down_revision = "20261125_rest"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("activation", "prediction"):
        with op.batch_alter_table(name) as table:
            table.add_column(sa.Column("variant", sa.String(length=20), nullable=False, server_default="float32"))
    with op.batch_alter_table("prediction") as table:
        table.add_column(sa.Column("is_abstained", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute(sa.text("UPDATE prediction SET is_abstained = :yes WHERE label IS NULL").bindparams(yes=True))
    for name, column in (("activation", "variant"), ("prediction", "variant"), ("prediction", "is_abstained")):
        with op.batch_alter_table(name) as table:
            table.alter_column(column, server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("prediction") as table:
        table.drop_column("is_abstained")
    for name in ("prediction", "activation"):
        with op.batch_alter_table(name) as table:
            table.drop_column("variant")
