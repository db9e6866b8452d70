"""Events count on from the present moment: one that is begun anew gives no id that an earlier database gave."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # By milliseconds: no hub tells of a thousand changes a second all the years, so the next database is ahead.
    connection, first = op.get_bind(), time.time_ns() // 1_000_000
    if connection.dialect.name == "postgresql":
        asked = sa.text("SELECT setval(pg_get_serial_sequence('events', 'id'), :first, false)")
        connection.execute(asked, {"first": first})
        return
    connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = 'events'"))
    asked = sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', :last)")
    connection.execute(asked, {"last": first - 1})


def downgrade() -> None:
    """Nothing: ids that go on from where they are suit the former tables as well."""
