"""The first schema: users, keys, sessions, threads, messages, runs, responses."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from colosse.store.tables import Id, Moment, Text

revision = "0001"
down_revision = None


def _key() -> sa.Column[str]:
    return sa.Column("id", Id, primary_key=True)


def _owner() -> sa.Column[str]:
    return sa.Column("owner_id", Id, sa.ForeignKey("users.id"), nullable=False)


def _created() -> sa.Column[object]:
    return sa.Column("created_at", Moment(), nullable=False)


def upgrade() -> None:
    """Create every table and index."""
    op.create_table("users", _key(), sa.Column("name", sa.String(100), nullable=False, unique=True), _created())
    op.create_table(
        "api_keys",
        _key(),
        _owner(),
        sa.Column("name", Text(), nullable=False),
        sa.Column("prefix", sa.String(16), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False, unique=True),
        sa.Column("scopes", sa.JSON(), nullable=False),
        _created(),
        sa.Column("last_used_at", Moment()),
        sa.Column("revoked_at", Moment()),
    )
    op.create_index("ix_api_keys_owner_id", "api_keys", ["owner_id"])
    op.create_table(
        "sessions",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("key_id", Id, sa.ForeignKey("api_keys.id", ondelete="CASCADE"), nullable=False),
        _created(),
        sa.Column("expires_at", Moment(), nullable=False),
    )
    op.create_index("ix_sessions_key_id", "sessions", ["key_id"])
    op.create_table(
        "threads",
        _key(),
        _owner(),
        sa.Column("title", Text(), nullable=False),
        sa.Column("model", Text(), nullable=False),
        sa.Column("system", Text(), nullable=False),
        sa.Column("head_id", Id),
        _created(),
        sa.Column("updated_at", Moment(), nullable=False),
    )
    op.create_index("ix_threads_owner_id_updated_at_id", "threads", ["owner_id", "updated_at", "id"])
    op.create_table(
        "messages",
        _key(),
        _owner(),
        sa.Column("thread_id", Id, sa.ForeignKey("threads.id"), nullable=False),
        sa.Column("parent_id", Id, sa.ForeignKey("messages.id")),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("content", Text(), nullable=False),
        sa.Column("reasoning", Text(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("model", Text(), nullable=False),
        sa.Column("run_id", Id),
        sa.Column("error", Text(), nullable=False),
        sa.Column("error_code", sa.String(64), nullable=False),
        sa.Column("usage", sa.JSON(none_as_null=True)),
        _created(),
    )
    op.create_index("ix_messages_thread_id_id", "messages", ["thread_id", "id"])
    op.create_index("ix_messages_parent_id", "messages", ["parent_id"])
    op.create_table(
        "runs",
        _key(),
        _owner(),
        sa.Column("thread_id", Id, sa.ForeignKey("threads.id"), nullable=False),
        sa.Column("message_id", Id, nullable=False),
        sa.Column("user_message_id", Id, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("model", Text(), nullable=False),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("error", Text(), nullable=False),
        sa.Column("error_code", sa.String(64), nullable=False),
        sa.Column("idempotency_key", sa.String(200)),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        _created(),
        sa.Column("finished_at", Moment()),
        sa.UniqueConstraint("owner_id", "idempotency_key"),
    )
    op.create_index("ix_runs_thread_id", "runs", ["thread_id"])
    op.create_index("ix_runs_status", "runs", ["status"])
    op.create_table(
        "responses",
        _key(),
        _owner(),
        sa.Column("model", Text(), nullable=False),
        sa.Column("previous_response_id", Id),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("input", sa.JSON(), nullable=False),
        sa.Column("output", sa.JSON(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        _created(),
    )
    op.create_index("ix_responses_owner_id", "responses", ["owner_id"])
