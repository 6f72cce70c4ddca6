"""What skills keep: their runs, documents and passages, the translation memory, what was fetched."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from colosse.store.tables import Id, Moment, Text

revision = "0002"
down_revision = "0001"


def _owner(*, key: bool = False) -> sa.Column[str]:
    return sa.Column("owner_id", Id, sa.ForeignKey("users.id"), nullable=False, primary_key=key)


def _moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, Moment(), nullable=nullable)


def _text(name: str, length: int = 0) -> sa.Column[str]:
    return sa.Column(name, sa.String(length) if length else Text(), nullable=False)


def upgrade() -> None:
    """Create the tables and indexes."""
    op.add_column("messages", sa.Column("sources", sa.JSON(none_as_null=True)))
    op.add_column("messages", sa.Column("files", sa.JSON(none_as_null=True)))
    op.create_table(
        "skill_runs",
        sa.Column("id", Id, primary_key=True),
        _owner(),
        _text("skill", 32),
        sa.Column("input", sa.JSON(), nullable=False),
        sa.Column("result", sa.JSON(none_as_null=True)),
        sa.Column("file_name", Text()),
        sa.Column("file", sa.LargeBinary()),
        _text("status", 16),
        _text("error"),
        _text("error_code", 64),
        sa.Column("idempotency_key", sa.String(200)),
        _text("fingerprint", 64),
        _moment("created_at"),
        _moment("finished_at", nullable=True),
        sa.UniqueConstraint("owner_id", "idempotency_key"),
    )
    op.create_index("ix_skill_runs_owner_id_id", "skill_runs", ["owner_id", "id"])
    op.create_index("ix_skill_runs_status", "skill_runs", ["status"])
    op.create_table(
        "documents",
        sa.Column("id", Id, primary_key=True),
        _owner(),
        _text("name"),
        _text("title"),
        _text("url"),
        _text("media_type", 100),
        _text("language", 16),
        _text("sha256", 64),
        sa.Column("num_bytes", sa.Integer(), nullable=False),
        sa.Column("num_pages", sa.Integer()),
        sa.Column("num_passages", sa.Integer(), nullable=False),
        _moment("created_at"),
        sa.UniqueConstraint("owner_id", "sha256"),
    )
    op.create_index("ix_documents_owner_id_id", "documents", ["owner_id", "id"])
    op.create_table(
        "passages",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        _owner(),
        sa.Column("document_id", Id, sa.ForeignKey("documents.id", ondelete="CASCADE"), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("page", sa.Integer()),
        _text("section"),
        _text("text"),
        _text("folded"),
        _text("embedder", 100),
        sa.Column("embedding", sa.LargeBinary()),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_passages_owner_id", "passages", ["owner_id"])
    op.create_index("ix_passages_document_id_position", "passages", ["document_id", "position"])
    _index_words(op.get_bind())
    op.create_table(
        "translated_segments",
        _owner(key=True),
        sa.Column("key", sa.String(64), primary_key=True),
        _text("source_language", 16),
        _text("target_language", 16),
        _text("source"),
        _text("target"),
        _text("model"),
        _moment("created_at"),
    )
    op.create_table(
        "cached",
        sa.Column("kind", sa.String(32), primary_key=True),
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("value", sa.JSON(), nullable=False),
        _moment("created_at"),
        _moment("expires_at"),
    )
    op.create_index("ix_cached_expires_at", "cached", ["expires_at"])


def _index_words(connection: sa.Connection) -> None:
    """The full-text index over `passages.folded`, which each database keeps in step by itself."""
    if connection.dialect.name == "postgresql":
        # The same expression as in `colosse.assistant.documents.search`, or the index is not used.
        op.execute("CREATE INDEX ix_passages_words ON passages USING gin (to_tsvector('simple', folded))")
        return
    op.execute(
        "CREATE VIRTUAL TABLE passages_words USING fts5("
        "folded, content='passages', content_rowid='id', tokenize='unicode61 remove_diacritics 2')"
    )
    new, old = (
        "INSERT INTO passages_words (rowid, folded) VALUES (new.id, new.folded);",
        ("INSERT INTO passages_words (passages_words, rowid, folded) VALUES ('delete', old.id, old.folded);"),
    )
    for name, when, what in (
        ("insert", "AFTER INSERT", new),
        ("delete", "AFTER DELETE", old),
        ("update", "AFTER UPDATE OF id, folded", old + new),
    ):
        op.execute(f"CREATE TRIGGER passages_words_{name} {when} ON passages BEGIN {what} END")
