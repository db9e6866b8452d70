"""Batches of Applications have numbers, by which indexes in memory follow them; labels are found by those."""

from __future__ import annotations

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_table("labels")
    for name in ("namespace", "cluster", "owner", "health", "sync"):
        op.drop_index(f"ix_apps_{name}", "apps")
    op.add_column("apps", sa.Column("version", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_index("ix_apps_owner_ready_key", "apps", ["owner", "ready", "key"], unique=False)
    op.create_index("ix_apps_version", "apps", ["version"], unique=False)
    op.create_table(
        "gone",
        sa.Column("key", sa.String(length=512), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("ix_gone_version", "gone", ["version"], unique=False)
    marks = op.create_table(
        "marks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("era", sa.String(length=36), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.bulk_insert(marks, [{"id": 1, "era": str(uuid4()), "version": 0}])


def downgrade() -> None:
    for name in ("marks", "gone"):
        op.drop_table(name)
    op.drop_index("ix_apps_version", "apps")
    op.drop_index("ix_apps_owner_ready_key", "apps")
    op.drop_column("apps", "version")
    for name in ("namespace", "cluster", "owner", "health", "sync"):
        op.create_index(f"ix_apps_{name}", "apps", [name], unique=False)
    op.create_table(
        "labels",
        sa.Column("app", sa.String(length=512), nullable=False),
        sa.Column("label", sa.String(length=317), nullable=False),
        sa.Column("value", sa.String(length=63), nullable=False),
        sa.PrimaryKeyConstraint("app", "label"),
    )
    op.create_index("ix_labels_label_value_app", "labels", ["label", "value", "app"], unique=False)
