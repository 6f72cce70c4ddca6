"""The tables, the same on SQLite and PostgreSQL.

Every row that belongs to somebody has an `owner_id`; `get_owned` (in `queries`) is the only way to a row by its id.
Text columns hold any text a model or a client may send: what a database refuses (NUL, lone surrogates) is replaced on
the way in. Times are UTC.

The schema is created and changed by the migrations beside this module; a test checks that the two agree.
"""

from __future__ import annotations

import re
import secrets
import time
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy import Text as SqlText
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_newest = (0, 0)  # millisecond and number of the last id


def new_id(kind: str) -> str:
    """A new id such as `msg_0192f0c1a2b3...`: sorts by creation within a process, cannot be guessed."""
    global _newest
    # A clock that is set back must not reorder a conversation.
    moment = max(time.time_ns() // 1_000_000, _newest[0])
    _newest = (moment, _newest[1] + 1 if moment == _newest[0] else 0)
    return f"{kind}_{moment:012x}{_newest[1]:04x}{secrets.token_hex(8)}"


def now() -> datetime:
    """The present moment, UTC, in milliseconds: what both databases and JSON keep exactly."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


class Text(TypeDecorator[str]):
    """Text of any length; what a database cannot hold becomes U+FFFD."""

    impl = SqlText
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Replace NUL (PostgreSQL refuses it) and lone surrogates (no encoding has them)."""
        return None if value is None else _UNSTORABLE.sub("\ufffd", value)


class Moment(TypeDecorator[datetime]):
    """A time with its zone on both databases; SQLite keeps it as naive UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC."""
        if value is None:
            return None
        return value.astimezone(UTC).replace(tzinfo=None if dialect.name == "sqlite" else UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Read UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Id = String(64)


class Base(DeclarativeBase):
    """Names every constraint, so that migrations can change it."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {str: Text(), datetime: Moment(), dict[str, Any]: JSON(), list[Any]: JSON()}


class User(Base):
    """Somebody who owns things. `local` is whoever sits at this machine."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class ApiKey(Base):
    """A key that acts for its owner, within `scopes` (a list of words). Only the SHA-256 of the key is kept."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=lambda: new_id("key"))
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str]
    prefix: Mapped[str] = mapped_column(String(16))
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class LoginSession(Base):
    """A browser that logged in with a key: the SHA-256 of its cookie. It ends with its key."""

    __tablename__ = "sessions"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]


class Thread(Base):
    """A conversation. `head_id` is the message that ends the branch being shown."""

    __tablename__ = "threads"
    __table_args__ = (Index(None, "owner_id", "updated_at", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=lambda: new_id("thread"))
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    title: Mapped[str] = mapped_column(default="")
    model: Mapped[str] = mapped_column(default="")
    system: Mapped[str] = mapped_column(default="")
    head_id: Mapped[str | None] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)


class Message(Base):
    """One row of a conversation, in a tree by `parent_id`.

    `sources` are the passages that an answer cites, `files` what the user gave or a program of the answer wrote.
    """

    __tablename__ = "messages"
    __table_args__ = (Index(None, "thread_id", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=lambda: new_id("msg"))
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    thread_id: Mapped[str] = mapped_column(ForeignKey("threads.id"))
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("messages.id"), index=True)
    role: Mapped[str] = mapped_column(String(16))
    content: Mapped[str] = mapped_column(default="")
    reasoning: Mapped[str] = mapped_column(default="")
    status: Mapped[str] = mapped_column(String(16))
    model: Mapped[str] = mapped_column(default="")
    run_id: Mapped[str | None] = mapped_column(Id)
    error: Mapped[str] = mapped_column(default="")
    error_code: Mapped[str] = mapped_column(String(64), default="")
    usage: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    sources: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    files: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(default=now)


class Run(Base):
    """One generation: it fills `message_id`. `idempotency_key` is the client's own name for the call that began it."""

    __tablename__ = "runs"
    __table_args__ = (UniqueConstraint("owner_id", "idempotency_key"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=lambda: new_id("run"))
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    thread_id: Mapped[str] = mapped_column(ForeignKey("threads.id"), index=True)
    message_id: Mapped[str] = mapped_column(Id)
    user_message_id: Mapped[str] = mapped_column(Id)
    status: Mapped[str] = mapped_column(String(16), index=True)
    model: Mapped[str]
    params: Mapped[dict[str, Any]] = mapped_column(default=dict)
    error: Mapped[str] = mapped_column(default="")
    error_code: Mapped[str] = mapped_column(String(64), default="")
    idempotency_key: Mapped[str | None] = mapped_column(String(200))
    fingerprint: Mapped[str] = mapped_column(String(64), default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]


class Response(Base):
    """A stored answer of `POST /v1/responses`.

    `input` holds the items of this turn, `output` the items answered, `body` the response object as it was returned;
    `previous_response_id` points at the turn before (no foreign key: that one may be deleted). The conversation of a
    response is the chain of `input + output` along `previous_response_id`, oldest first.
    """

    __tablename__ = "responses"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=lambda: new_id("resp"))
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    model: Mapped[str]
    previous_response_id: Mapped[str | None] = mapped_column(Id)
    status: Mapped[str] = mapped_column(String(16))
    input: Mapped[list[Any]]
    output: Mapped[list[Any]] = mapped_column(default=list)
    body: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(default=now)


class SkillRun(Base):
    """One call of a skill over the API: what was asked, and the typed result when it is there."""

    __tablename__ = "skill_runs"
    __table_args__ = (UniqueConstraint("owner_id", "idempotency_key"), Index(None, "owner_id", "id"))

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=lambda: new_id("skill"))
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    skill: Mapped[str] = mapped_column(String(32))
    input: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    file_name: Mapped[str | None]
    file: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    status: Mapped[str] = mapped_column(String(16), index=True)
    error: Mapped[str] = mapped_column(default="")
    error_code: Mapped[str] = mapped_column(String(64), default="")
    idempotency_key: Mapped[str | None] = mapped_column(String(200))
    fingerprint: Mapped[str] = mapped_column(String(64), default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]


class Document(Base):
    """A document that somebody gave to be searched and cited; the same bytes are kept once for each owner."""

    __tablename__ = "documents"
    __table_args__ = (UniqueConstraint("owner_id", "sha256"), Index(None, "owner_id", "id"))

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=lambda: new_id("doc"))
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str]
    title: Mapped[str] = mapped_column(default="")
    url: Mapped[str] = mapped_column(default="")
    media_type: Mapped[str] = mapped_column(String(100))
    language: Mapped[str] = mapped_column(String(16), default="")
    sha256: Mapped[str] = mapped_column(String(64))
    num_bytes: Mapped[int]
    num_pages: Mapped[int | None]
    num_passages: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Passage(Base):
    """A span of a document: what is searched, and what a citation points at.

    `folded` holds the words of title, section and text as they are compared (`assistant.documents.rank.folded`); the
    full-text index of either database, made by the migration, is over it. `embedding` is float32, little endian, of
    unit length, made by the embedder named `embedder`. Ids are never used again, so that the highest and their number
    tell whether anything changed.
    """

    __tablename__ = "passages"
    __table_args__ = (Index(None, "document_id", "position"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    document_id: Mapped[str] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"))
    position: Mapped[int]
    page: Mapped[int | None]
    section: Mapped[str] = mapped_column(default="")
    text: Mapped[str]
    folded: Mapped[str]
    embedder: Mapped[str] = mapped_column(String(100), default="")
    embedding: Mapped[bytes | None] = mapped_column(LargeBinary)


class TranslatedSegment(Base):
    """The translation memory: a segment whose checks passed. `key` is a hash of all that it hangs on."""

    __tablename__ = "translated_segments"

    owner_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    source_language: Mapped[str] = mapped_column(String(16))
    target_language: Mapped[str] = mapped_column(String(16))
    source: Mapped[str]
    target: Mapped[str]
    model: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)


class Cached(Base):
    """Something public that was fetched and may be used again until `expires_at`: a web page, a search's results."""

    __tablename__ = "cached"

    kind: Mapped[str] = mapped_column(String(32), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime] = mapped_column(index=True)
