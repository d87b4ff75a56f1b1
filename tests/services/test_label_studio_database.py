"""Label Studio's SQLite file: nothing in it is ever deleted, and what is not ours to open is refused."""

from __future__ import annotations

import base64
import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from workflow.errors import ServiceError
from workflow.services import label_studio
from workflow.services.credentials import EMAIL, create_credentials, read_credentials
from workflow.services.service import Launch

TABLES = """
CREATE TABLE django_migrations (id integer PRIMARY KEY, app text, name text, applied text);
CREATE TABLE htx_user (id integer PRIMARY KEY, email text UNIQUE, password text);
CREATE TABLE authtoken_token (key varchar(40) PRIMARY KEY, created text, user_id integer UNIQUE);
CREATE TABLE jwt_auth_jwtsettings (organization_id integer PRIMARY KEY, legacy_api_tokens_enabled bool);
CREATE TABLE project (id integer PRIMARY KEY, title text);
CREATE TABLE task (id integer PRIMARY KEY);
CREATE TABLE task_completion (id integer PRIMARY KEY, result text);
INSERT INTO django_migrations (app, name) VALUES ('auth', '0012_x'), ('tasks', '0001_old'),
    ('tasks', '0001_all_squashed'), ('tasks', '0002_more');
"""
ACCOUNT = f"INSERT INTO htx_user VALUES (7, '{EMAIL}', 'hash');"
TOKEN = f"INSERT INTO authtoken_token VALUES ('{'r' * 40}', '2026-01-01', 7);"
WORK = "INSERT INTO project VALUES (1, 'mine'); INSERT INTO task_completion VALUES (1, '[]');"


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launch:
    """A state folder, and a Label Studio that has two migrations of tasks, one of them squashed."""
    program = tmp_path / "environment" / "bin" / "label-studio"
    package = program.parents[1] / "lib" / "python3.11" / "site-packages" / "label_studio"
    migrations = package / "tasks" / "migrations"
    migrations.mkdir(parents=True)
    for name, text in {"0001_all_squashed": "replaces = [('tasks', '0001_old')]", "0002_more": ""}.items():
        (migrations / f"{name}.py").write_text(text)
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("LABEL_STUDIO_BIN", str(program))
    said: list[str] = []
    state = tmp_path / "state"
    (state / "label-studio").mkdir(parents=True)
    return Launch(state, tmp_path, {}, warn=said.append)


def database(launch: Launch, *statements: str) -> Path:
    path = launch.state / "label-studio" / "label_studio.sqlite3"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript("".join([TABLES, *statements]))
    return path


def ask(path: Path, question: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(question).fetchall()


def said(launch: Launch) -> list[str]:
    return launch.warn.__self__  # type: ignore[attr-defined,no-any-return]


def prepare(launch: Launch) -> None:
    label_studio.SERVICE.prepare(launch)


def refused(launch: Launch, path: Path) -> str:
    before = path.read_bytes()
    with pytest.raises(ServiceError) as caught:
        prepare(launch)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_database_that_is_ours_is_left_alone(launch: Launch) -> None:
    stored = create_credentials(launch.state)
    path = database(launch, ACCOUNT, TOKEN.replace("r" * 40, stored.api_key), WORK)
    before = path.read_bytes()
    prepare(launch)
    assert (path.read_bytes(), said(launch), read_credentials(launch.state)) == (before, [], stored)


def test_a_rotated_token_is_renewed_and_nothing_else(launch: Launch) -> None:
    stored = create_credentials(launch.state)
    path = database(launch, ACCOUNT, TOKEN, WORK, "INSERT INTO jwt_auth_jwtsettings VALUES (1, 0);")
    prepare(launch)
    assert ask(path, "SELECT key, user_id FROM authtoken_token") == [(stored.api_key, 7)]
    assert ask(path, "SELECT legacy_api_tokens_enabled FROM jwt_auth_jwtsettings") == [(1,)]
    assert ask(path, "SELECT password FROM htx_user") == [("hash",)]
    assert ask(path, "SELECT count(*) FROM task_completion") == [(1,)]
    assert said(launch) == [
        f"label-studio: {EMAIL}: its token was another: renewed",
        f"label-studio: {EMAIL}: legacy tokens were switched off, which this product needs: switched on",
    ]


def test_lost_credentials_are_made_anew_for_the_same_account(launch: Launch) -> None:
    path = database(launch, ACCOUNT, TOKEN, WORK)
    prepare(launch)
    made = read_credentials(launch.state)
    assert made is not None
    assert ask(path, "SELECT key FROM authtoken_token") == [(made.api_key,)]
    ((password,),) = ask(path, "SELECT password FROM htx_user")
    algorithm, rounds, salt, digest = str(password).split("$")
    expected = hashlib.pbkdf2_hmac("sha256", made.password.encode(), salt.encode(), int(rounds))
    assert (algorithm, base64.b64decode(digest)) == ("pbkdf2_sha256", expected)
    assert said(launch)[-1] == (
        f"label-studio: {EMAIL}: its credentials file was gone: the account has a new password"
    )


def test_credentials_that_do_not_read_cost_no_label(launch: Launch) -> None:
    path = database(launch, ACCOUNT, TOKEN, WORK)
    stored = launch.state / "credentials.json"
    stored.write_text('{"email": ')
    assert refused(launch, path) == (
        f"{stored} cannot be read as the Label Studio account -> "
        f"mv {stored} {stored}.broken, then make up: the labels stay, the account gets a new password"
    )


@pytest.mark.parametrize(
    "statements",
    [(), (ACCOUNT,), ("DROP TABLE authtoken_token;", ACCOUNT), ("DROP TABLE htx_user;", "DROP TABLE task;")],
    ids=["no account", "no token", "no table of tokens", "no table of accounts"],
)
def test_a_first_start_cut_short_is_moved_aside(launch: Launch, statements: tuple[str, ...]) -> None:
    path = database(launch, *statements)
    path.with_name(f"{path.name}-wal").write_bytes(b"")
    before = path.read_bytes()
    prepare(launch)
    (moved,) = (p for p in path.parent.iterdir() if not p.name.endswith("-wal"))
    assert moved.name.startswith("label_studio.sqlite3.20") and moved.read_bytes() == before
    assert sorted(p.name for p in path.parent.iterdir()) in ([moved.name], [moved.name, f"{moved.name}-wal"])
    assert said(launch) == [
        f"label-studio: its first start was cut short, nothing was labelled; moved aside to {moved}"
    ]
    assert read_credentials(launch.state) is not None


def test_an_older_layout_with_work_in_it_is_no_first_start(launch: Launch) -> None:
    """Where the table of accounts has another name, "no such table" does not mean that nobody is there."""
    path = database(launch, WORK, "DROP TABLE htx_user; DELETE FROM django_migrations WHERE app = 'tasks';")
    assert refused(launch, path) == (
        f"an older Label Studio than the one installed wrote {path}: it lacks migration "
        "tasks.0001_all_squashed and 1 more; "
        "it is left as it is -> workflow up label-studio --upgrade, "
        "which keeps a copy and lets the one installed change it"
    )


def test_a_newer_database_is_refused(launch: Launch) -> None:
    path = database(
        launch, ACCOUNT, TOKEN, "INSERT INTO django_migrations (app, name) VALUES ('tasks', '0003_newest');"
    )
    assert refused(launch, path) == (
        f"a newer Label Studio than the one installed wrote {path}: it has migration tasks.0003_newest; "
        "it is left as it is -> install that Label Studio and export LABEL_STUDIO_BIN=.../bin/label-studio, "
        "then make up"
    )


def test_an_older_database_is_upgraded_when_asked_and_a_copy_kept(launch: Launch) -> None:
    create_credentials(launch.state)
    path = database(launch, ACCOUNT, TOKEN, WORK, "DELETE FROM django_migrations WHERE name = '0002_more';")
    with pytest.raises(ServiceError, match=r"it lacks migration tasks\.0002_more; it is left as it is"):
        prepare(launch)
    prepare(Launch(launch.state, launch.document_root, {}, upgrade=True, warn=launch.warn))
    (copied,) = (p for p in path.parent.iterdir() if p != path)
    assert ask(copied, "SELECT count(*) FROM task_completion") == [(1,)]
    assert ask(copied, "SELECT key FROM authtoken_token") == [("r" * 40,)]
    assert said(launch)[0] == f"label-studio: a copy of the older database is {copied}"


def test_somebody_elses_database_is_refused(launch: Launch) -> None:
    path = database(launch, ACCOUNT.replace(EMAIL, "me@there.org"), TOKEN, WORK)
    assert refused(launch, path) == (
        f"the Label Studio data in {path.parent} has no account of {launch.state / 'credentials.json'}, "
        "only me@there.org; it is left as it is -> put back the credentials.json that belongs to it, "
        "or start that Label Studio yourself and export LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY"
    )


def test_what_is_no_database_of_label_studios_is_refused(launch: Launch) -> None:
    path = launch.state / "label-studio" / "label_studio.sqlite3"
    path.write_bytes(b"people's work, damaged" * 100)
    assert refused(launch, path) == (
        f"Label Studio's database {path} cannot be read (file is not a database); it is left as it is"
        " -> put a backup in its place, then make up"
    )
    path.unlink()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE notes (text)")
    assert refused(launch, path) == (
        f"{path} is no database of Label Studio's; it is left as it is"
        f" -> move it out of {path.parent}, then make up"
    )


def test_a_database_somebody_writes_to_is_not_touched(launch: Launch) -> None:
    path = database(launch, ACCOUNT, TOKEN, WORK)
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ServiceError, match=r"^another program has .* open -> stop it, then make up$"):
            prepare(launch)


def test_an_empty_file_is_what_a_first_start_begins_with(launch: Launch) -> None:
    path = launch.state / "label-studio" / "label_studio.sqlite3"
    path.touch()
    prepare(launch)
    assert (path.stat().st_size, said(launch)) == (0, [])
