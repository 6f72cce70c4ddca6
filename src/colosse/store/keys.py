"""Users, API keys and browser sessions in the database.

A key is `ck-` and 32 random bytes in base 62; a session's cookie is 32 random bytes. Of both only the SHA-256 is kept:
they are random, so that nothing slower is needed, and a lookup by hash compares nothing that timing could tell.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import delete, exists, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from colosse.core.errors import NotFoundError, UserError, nearest
from colosse.store.tables import ApiKey, LoginSession, User, new_id, now

LOCAL_USER = "local"
SCOPES = ("read", "chat", "admin")
"""From least to most; each includes the ones before it."""
PREFIX = "ck-"
"""How every key begins."""
SESSION_LIFETIME = timedelta(days=30)

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def digest(secret: str) -> str:
    """What is kept of a key or a cookie."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def new_key() -> str:
    """A new API key: `ck-` and 43 characters that carry 32 random bytes."""
    number, text = int.from_bytes(secrets.token_bytes(32), "big"), ""
    for _ in range(43):
        number, digit = divmod(number, 62)
        text += _BASE62[digit]
    return PREFIX + text


async def ensure_user(session: AsyncSession, name: str) -> User:
    """The user of that name, made if there is none; `local` is the one at this machine."""
    user = await session.scalar(select(User).where(User.name == name))
    if user is None:
        user = User(id=LOCAL_USER if name == LOCAL_USER else new_id("user"), name=name)
        session.add(user)
        await session.flush()
    return user


async def create_key(
    session: AsyncSession, name: str, *, user: str = LOCAL_USER, scope: str = "chat"
) -> tuple[ApiKey, str]:
    """Make a key and return it with its text, which is not kept anywhere.

    Raises:
        UserError: an unknown scope, or a name that is empty or too long.
    """
    if scope not in SCOPES:
        raise UserError(f"unknown scope {scope!r}", hint=nearest(scope, SCOPES), param="scope")
    for what, text in (("name", name), ("user", user)):
        if not 0 < len(text) <= 100 or not text.isprintable():
            raise UserError(f"a key's {what} has 1 to 100 printable characters", param=what)
    secret = new_key()
    owner = await ensure_user(session, user)
    key = ApiKey(
        owner_id=owner.id,
        name=name,
        prefix=secret[:8],
        hash=digest(secret),
        scopes=list(SCOPES[: SCOPES.index(scope) + 1]),
    )
    session.add(key)
    await session.flush()
    return key, secret


async def list_keys(session: AsyncSession) -> list[tuple[ApiKey, User]]:
    """Every key with its owner, oldest first."""
    rows = await session.execute(select(ApiKey, User).join(User, User.id == ApiKey.owner_id).order_by(ApiKey.id))
    return [(key, user) for key, user in rows]


async def revoke_key(session: AsyncSession, key: str) -> ApiKey:
    """Revoke a key by its id, its prefix or its name; its sessions end with it.

    Raises:
        NotFoundError: none is called that.
        UserError: several are.
    """
    found = list(
        await session.scalars(
            select(ApiKey).where(
                or_(ApiKey.id == key, ApiKey.prefix == key, ApiKey.name == key), ApiKey.revoked_at.is_(None)
            )
        )
    )
    if not found:
        known = [row.name for row, _ in await list_keys(session) if row.revoked_at is None]
        raise NotFoundError(f"no key in use is called {key!r}", hint=nearest(key, known), code="key_not_found")
    if len(found) > 1:
        ids = ", ".join(row.id for row in found)
        raise UserError(f"{len(found)} keys are called {key!r}", hint=f"name one by its id: {ids}")
    found[0].revoked_at = now()
    await session.execute(delete(LoginSession).where(LoginSession.key_id == found[0].id))
    return found[0]


async def any_key(session: AsyncSession) -> bool:
    """Whether a key in use exists."""
    return bool(await session.scalar(select(exists().where(ApiKey.revoked_at.is_(None)))))


async def find_key(session: AsyncSession, secret: str) -> tuple[ApiKey, User] | None:
    """The key in use whose text is `secret`, and its owner."""
    return await _one_key(session, ApiKey.hash == digest(secret))


async def find_session(session: AsyncSession, cookie: str) -> tuple[ApiKey, User] | None:
    """The key behind a browser session that has not ended, and its owner."""
    query = select(LoginSession.key_id).where(LoginSession.hash == digest(cookie), LoginSession.expires_at > now())
    return await _one_key(session, ApiKey.id.in_(query))


async def _one_key(session: AsyncSession, condition: object) -> tuple[ApiKey, User] | None:
    query = select(ApiKey, User).join(User, User.id == ApiKey.owner_id)
    row = (await session.execute(query.where(condition, ApiKey.revoked_at.is_(None)))).first()  # type: ignore[arg-type]
    return (row[0], row[1]) if row else None


async def create_session(session: AsyncSession, key: ApiKey) -> tuple[str, datetime]:
    """Log a browser in with `key`: the cookie's text and when it ends."""
    cookie = secrets.token_urlsafe(32)
    row = LoginSession(hash=digest(cookie), key_id=key.id, expires_at=now() + SESSION_LIFETIME)
    await session.execute(delete(LoginSession).where(LoginSession.expires_at <= now()))
    session.add(row)
    return cookie, row.expires_at


async def end_session(session: AsyncSession, cookie: str) -> None:
    """Log a browser out."""
    await session.execute(delete(LoginSession).where(LoginSession.hash == digest(cookie)))


async def touch_keys(session: AsyncSession, used: dict[str, datetime]) -> None:
    """Note when keys (by id) were last used."""
    for id, moment in used.items():
        await session.execute(update(ApiKey).where(ApiKey.id == id).values(last_used_at=moment))
