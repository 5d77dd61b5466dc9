"""Feedback on answers; the place of each image within its request; what the history is filtered by."""

import sqlalchemy as sa
from alembic import op

revision = "20261125_watch"
down_revision = "20261125_analysis"
branch_labels = None
depends_on = None

FILTERS = ("label", "user_id", "token_id")


def upgrade() -> None:
    with op.batch_alter_table("prediction") as table:
        table.add_column(sa.Column("place", sa.Integer(), nullable=False, server_default="0"))
    with op.batch_alter_table("prediction") as table:
        table.alter_column("place", server_default=None)
    op.create_index(op.f("ix_prediction_created_at"), "prediction", ["created_at"])
    op.create_index(op.f("ix_prediction_request_id"), "prediction", ["request_id"])
    for column in FILTERS:
        op.create_index(f"ix_prediction_{column}_created_at", "prediction", [column, "created_at"])
    # As far as it can be known: an image that was refused left no row to count.
    op.execute(
        "UPDATE prediction SET place = (SELECT count(*) FROM prediction AS earlier WHERE"
        " earlier.request_id = prediction.request_id AND earlier.user_id = prediction.user_id"
        " AND earlier.id < prediction.id)"
    )
    op.create_table(
        "feedback",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("prediction_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("truth", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["prediction_id"], ["prediction.id"], name=op.f("fk_feedback_prediction_id")),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.id"], name=op.f("fk_feedback_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback")),
        sa.UniqueConstraint("prediction_id", name=op.f("uq_feedback_prediction_id")),
    )


def downgrade() -> None:
    op.drop_table("feedback")
    for column in FILTERS:
        op.drop_index(f"ix_prediction_{column}_created_at", "prediction")
    op.drop_index(op.f("ix_prediction_request_id"), "prediction")
    op.drop_index(op.f("ix_prediction_created_at"), "prediction")
    with op.batch_alter_table("prediction") as table:
        table.drop_column("place")
