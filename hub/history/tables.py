"""The tables.

`apps` and `sets` say what is now, and are made again from the caches at every start. The one row of `marks` numbers
the batches in which `apps` is written, and `gone` has what went in which, for the indexes in memory.

`releases`, `outputs` and `events` say what was; of those, the last releases and the present outputs come back from
the objects' own status. `audit` and `answers` are nowhere else.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)
_ID = BigInteger().with_variant(Integer, "sqlite")
_KEY = String(512)
_WORD = String(253)

apps = Table(
    "apps",
    metadata,
    Column("key", _KEY, primary_key=True),
    Column("namespace", _WORD, nullable=False),
    Column("name", _WORD, nullable=False),
    Column("cluster", _WORD, nullable=False),
    Column("owner", _KEY, nullable=False),
    Column("sync", String(32), nullable=False),
    Column("health", String(32), nullable=False),
    Column("message", Text, nullable=False),
    Column("blocked", String(64), nullable=False),
    Column("ready", Boolean, nullable=False),
    Column("plan", Integer, nullable=False),
    Column("target", String(64), nullable=False),
    Column("released", String(64), nullable=False),
    Column("release", Integer, nullable=False),
    Column("revision", String(255), nullable=False),
    Column("observed_at", String(40), nullable=False),
    Column("labels", JSON, nullable=False),
    Column("words", Text, nullable=False),
    Column("version", BigInteger, nullable=False, server_default="0"),
    Index("ix_apps_owner_ready_key", "owner", "ready", "key"),
    Index("ix_apps_version", "version"),
)
gone = Table(
    "gone",
    metadata,
    Column("key", _KEY, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Index("ix_gone_version", "version"),
)
marks = Table(
    "marks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("era", String(36), nullable=False),
    Column("version", BigInteger, nullable=False),
)
sets = Table(
    "sets",
    metadata,
    Column("key", _KEY, primary_key=True),
    Column("namespace", _WORD, nullable=False),
    Column("name", _WORD, nullable=False),
    Column("health", String(32), nullable=False),
    Column("message", Text, nullable=False),
    Column("ready", Boolean, nullable=False),
    Column("settled", Boolean, nullable=False),
    Column("plan", Integer, nullable=False),
    Column("revisions", JSON, nullable=False),
    Column("children", Integer, nullable=False),
    Column("sync", JSON, nullable=False),
    Column("counts", JSON, nullable=False),
    Column("waves", JSON, nullable=False),
)
releases = Table(
    "releases",
    metadata,
    Column("app", _KEY, primary_key=True),
    Column("release", Integer, primary_key=True),
    Column("cluster", _WORD, nullable=False),
    Column("owner", _KEY, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("revision", String(255), nullable=False),
    Column("at", String(40), nullable=False),
    Column("well", Boolean, nullable=False),
    Index("ix_releases_at", "at"),
)
outputs = Table(
    "outputs",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("app", _KEY, nullable=False),
    Column("cluster", _WORD, nullable=False),
    Column("name", String(63), nullable=False),
    Column("value", JSON, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("revision", String(255), nullable=False),
    Column("at", String(40), nullable=False),
    UniqueConstraint("app", "name", "digest", "at"),
)
events = Table(
    "events",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("at", String(40), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("namespace", _WORD, nullable=False),
    Column("name", _WORD, nullable=False),
    Column("cluster", _WORD, nullable=False),
    Column("owner", _KEY, nullable=False),
    Column("reason", String(64), nullable=False),
    Column("old", String(253), nullable=False),
    Column("new", String(253), nullable=False),
    Column("message", Text, nullable=False),
    Index("ix_events_namespace_name", "namespace", "name"),
    Index("ix_events_at", "at"),
    sqlite_autoincrement=True,
)
audit = Table(
    "audit",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("at", String(40), nullable=False),
    Column("who", String(512), nullable=False),
    Column("source", String(64), nullable=False),
    Column("act", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("namespace", _WORD, nullable=False),
    Column("name", _WORD, nullable=False),
    Column("detail", JSON, nullable=False),
    Column("outcome", String(64), nullable=False),
    Index("ix_audit_at", "at"),
    sqlite_autoincrement=True,
)
notices = Table(
    "notices",
    metadata,
    Column("kind", String(32), primary_key=True),
    Column("key", _KEY, primary_key=True),
    Column("sink", _WORD, primary_key=True),
    Column("topic", String(32), primary_key=True),
    Column("word", String(64), nullable=False),
    Column("at", String(40), nullable=False),
)
answers = Table(
    "answers",
    metadata,
    Column("who", String(512), primary_key=True),
    Column("key", String(128), primary_key=True),
    Column("asked", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("body", JSON, nullable=False),
    Column("at", String(40), nullable=False),
)
questions = Table(
    "questions",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("at", String(40), nullable=False),
    Column("asked", JSON, nullable=False),
    Column("answer", JSON, nullable=True),
)
