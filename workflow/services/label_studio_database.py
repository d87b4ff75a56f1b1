"""The SQLite file of our own Label Studio: whether the one installed may open it, and our account in it.

It holds what people labelled, so nothing here deletes it, and whatever is not understood is refused.
Tables as Label Studio 1.23 has them: django_migrations(app, name), htx_user(id, email, password),
authtoken_token(key, created, user_id), jwt_auth_jwtsettings(legacy_api_tokens_enabled).
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workflow.errors import ServiceError
from workflow.project.aside import dated
from workflow.services.credentials import EMAIL, Credentials

Migration = tuple[str, str]
_SUFFIXES = ("", "-journal", "-wal", "-shm")
# What somebody has made, if there is a row in one of these.
_WORK = ("project", "task", "task_completion", "tasks_annotationdraft")
_ROUNDS = 600_000


@dataclass(frozen=True)
class Content:
    """What was read of a database: its tables, applied migrations, accounts, tokens, and rows of work."""

    tables: frozenset[str]
    migrations: frozenset[Migration] = frozenset()
    emails: tuple[str, ...] = ()
    tokens: dict[str, str] = field(default_factory=dict, repr=False)
    work: int = 0


def read(database: Path) -> Content:
    """What the file holds. ServiceError where it cannot be read as a database."""
    with _open(database) as connection:
        tables = frozenset(row[0] for row in connection.execute("SELECT name FROM sqlite_master"))
        migrations = _rows(connection, tables, "django_migrations", "app, name")
        emails = tuple(row[0] for row in _rows(connection, tables, "htx_user", "email"))
        both = {"htx_user", "authtoken_token"} <= tables and emails
        owners = "SELECT email, key FROM authtoken_token JOIN htx_user ON htx_user.id = user_id"
        tokens = dict(connection.execute(owners)) if both else {}
        work = sum(_rows(connection, tables, name, "count(*)")[0][0] for name in _WORK if name in tables)
        return Content(tables, frozenset(migrations), emails, tokens, work)


def _rows(connection: sqlite3.Connection, tables: Collection[str], table: str, what: str) -> list[Any]:
    return connection.execute(f"SELECT {what} FROM {table}").fetchall() if table in tables else []


@contextmanager
def _open(database: Path) -> Iterator[sqlite3.Connection]:
    try:
        uri = f"{database.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=5)) as connection, connection:
            yield connection
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            fix = "stop it, then make up"
            raise ServiceError(f"another program has {database} open", fix) from None
        raise _unreadable(database, error) from None
    except sqlite3.DatabaseError as error:
        raise _unreadable(database, error) from None


def _unreadable(database: Path, error: sqlite3.Error) -> ServiceError:
    what = f"Label Studio's database {database} cannot be read ({error}); it is left as it is"
    return ServiceError(what, "put a backup in its place, then make up")


@dataclass(frozen=True)
class Installed:
    """The (app, name) of each migration of a Label Studio, and of those that one of them replaces."""

    migrations: frozenset[Migration]
    replaced: frozenset[Migration]


def installed(executable: Path) -> Installed | None:
    """What the Label Studio of that program knows; None where its package is not beside it."""
    for package in executable.resolve().parents[1].glob("lib/python*/site-packages/label_studio"):
        files = [p for p in package.glob("*/migrations/*.py") if p.stem != "__init__"]
        squashed = (p.read_text(encoding="utf-8") for p in files if "squashed" in p.stem)
        replaced = (pair for text in squashed for pair in re.findall(r"\('(\w+)', '(\w+)'\)", text))
        return Installed(frozenset((p.parts[-3], p.stem) for p in files), frozenset(replaced))
    return None


def check(database: Path, content: Content, knows: Installed | None, upgrade: bool = False) -> None:
    """ServiceError where the database is none of Label Studio's, or a newer one's, or an older one's.

    An older one is let through with `upgrade`. Versions are not compared where `knows` is None.
    """
    if "django_migrations" not in content.tables:
        fix = f"move it out of {database.parent}, then make up"
        raise ServiceError(f"{database} is no database of Label Studio's; it is left as it is", fix)
    if knows is None:
        return
    apps = {app for app, _ in knows.migrations}
    applied = {m for m in content.migrations if m[0] in apps}
    if newer := sorted(applied - knows.migrations - knows.replaced):
        raise ServiceError(
            f"a newer Label Studio than the one installed wrote {database}: "
            f"it has {_named(newer)}; it is left as it is",
            "install that Label Studio and export LABEL_STUDIO_BIN=.../bin/label-studio, then make up",
        )
    if (older := sorted(knows.migrations - applied)) and not upgrade:
        raise ServiceError(
            f"an older Label Studio than the one installed wrote {database}: "
            f"it lacks {_named(older)}; it is left as it is",
            "workflow up label-studio --upgrade, which keeps a copy and lets the one installed change it",
        )


def _named(migrations: list[Migration]) -> str:
    more = f" and {len(migrations) - 1} more" if len(migrations) > 1 else ""
    return f"migration {'.'.join(migrations[0])}{more}"


def is_unused(content: Content) -> bool:
    """Whether a first start was cut short: no row of work, and no account, or ours before it got a token."""
    return not content.work and not content.tokens and set(content.emails) <= {EMAIL}


def set_aside(database: Path) -> Path:
    """Move the database aside with its journals, under one date; where it is now."""
    target = dated(database)
    for suffix in _SUFFIXES:
        part = database.with_name(database.name + suffix)
        if part.exists():
            part.rename(target.with_name(target.name + suffix))
    return target


def copy(database: Path) -> Path:
    """A whole copy under a dated name, also of what is still in the journal."""
    target = dated(database)
    with _open(database) as source, closing(sqlite3.connect(target)) as sink:
        source.backup(sink)
    target.chmod(0o600)
    return target


def let_in(database: Path, stored: Credentials, with_password: bool = False) -> list[str]:
    """Make our account's token the stored one, and legacy tokens valid; what was changed, in words.

    `with_password` sets its password too. Call it while no server has the database open.
    """
    notes = []
    with _open(database) as connection:
        user, key = connection.execute(
            "SELECT htx_user.id, key FROM htx_user LEFT JOIN authtoken_token ON htx_user.id = user_id"
            " WHERE email = ?",
            (stored.email,),
        ).fetchone()
        if key != stored.api_key:
            connection.execute("DELETE FROM authtoken_token WHERE user_id = ?", (user,))
            row = (stored.api_key, user)
            connection.execute("INSERT INTO authtoken_token VALUES (?, datetime('now'), ?)", row)
            notes.append("its token was another: renewed")
        # An older database, which is upgraded only when the server starts, has no such switch.
        if "legacy_api_tokens_enabled" in _columns(connection, "jwt_auth_jwtsettings"):
            off = "jwt_auth_jwtsettings SET legacy_api_tokens_enabled = 1 WHERE legacy_api_tokens_enabled = 0"
            if connection.execute(f"UPDATE {off}").rowcount:
                notes.append("legacy tokens were switched off, which this product needs: switched on")
        if with_password:
            hashed = _password_hash(stored.password)
            connection.execute("UPDATE htx_user SET password = ? WHERE id = ?", (hashed, user))
            notes.append("its credentials file was gone: the account has a new password")
    return notes


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[0] for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))}


def _password_hash(password: str) -> str:
    """As django.contrib.auth.hashers.PBKDF2PasswordHasher writes it."""
    salt = secrets.token_hex(11)
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), _ROUNDS)
    return f"pbkdf2_sha256${_ROUNDS}${salt}${base64.b64encode(digest).decode()}"
