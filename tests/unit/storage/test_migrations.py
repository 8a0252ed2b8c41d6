from __future__ import annotations

import fcntl
import logging
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from agent_executor.storage.migrations import MigrationError, upgrade

CREATE = 'op.execute("CREATE TABLE things (name TEXT)")'
ADD = 'op.execute("ALTER TABLE things ADD COLUMN size INTEGER")'


def write_revisions(folder: Path, revisions: Mapping[str, str]) -> Path:
    """Write revisions, each following the one before; the keys are file names."""
    versions = folder / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    previous = None
    for name, body in revisions.items():
        number = name.partition("_")[0]
        (versions / f"{name}.py").write_text(
            "from alembic import op\n"
            f"revision = {number!r}\n"
            f"down_revision = {previous!r}\n"
            f"def upgrade():\n    {body}\n"
        )
        previous = number
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_revisions(tmp_path / "migrations", {"0001_create": CREATE, "0002_add": ADD})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    # A per cent sign, for alembic would expand it in an option.
    return tmp_path / "100% new" / "things.sqlite3"


def columns(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    names = [row[1] for row in connection.execute("PRAGMA table_info(things)")]
    connection.close()
    return names


def test_a_new_database_is_private_and_has_every_revision(path: Path, folder: Path) -> None:
    upgrade(path, folder)
    assert columns(path) == ["name", "size"]
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


def test_a_later_revision_is_added_and_the_rows_are_kept(path: Path, tmp_path: Path) -> None:
    folder = write_revisions(tmp_path / "migrations", {"0001_create": CREATE})
    upgrade(path, folder)
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO things VALUES ('kept')")
    connection.commit()
    upgrade(path, write_revisions(folder, {"0001_create": CREATE, "0002_add": ADD}))
    assert connection.execute("SELECT name, size FROM things").fetchall() == [("kept", None)]
    connection.close()


def test_alembic_is_not_loaded_when_nothing_is_to_be_done(path: Path, folder: Path) -> None:
    upgrade(path, folder)
    script = (
        "import pathlib, sys\n"
        "from agent_executor.storage.migrations import upgrade\n"
        "upgrade(*map(pathlib.Path, sys.argv[1:]))\n"
        "assert not {'alembic', 'sqlalchemy'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", script, path, folder], check=True)


def test_a_revision_that_fails_leaves_the_ones_before_it_whole(path: Path, tmp_path: Path) -> None:
    folder = write_revisions(
        tmp_path / "migrations",
        {"0001_create": CREATE, "0002_add": f'{ADD}; op.execute("NO SUCH STATEMENT")'},
    )
    with pytest.raises(Exception, match="syntax error"):
        upgrade(path, folder)
    assert columns(path) == ["name"]
    upgrade(path, write_revisions(folder, {"0001_create": CREATE, "0002_add": ADD}))
    assert columns(path) == ["name", "size"]


def test_copying_a_table_keeps_the_rows_that_refer_to_it(path: Path, tmp_path: Path) -> None:
    parent = 'op.execute("CREATE TABLE parents (id INTEGER PRIMARY KEY, name TEXT)")'
    child = 'op.execute("CREATE TABLE things (name INTEGER REFERENCES parents ON DELETE CASCADE)")'
    revisions = {"0001_create": f"{parent}; {child}"}
    folder = write_revisions(tmp_path / "migrations", revisions)
    upgrade(path, folder)
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO parents VALUES (1, 'a')")
    connection.execute("INSERT INTO things VALUES (1)")
    connection.commit()
    copy = 'with op.batch_alter_table("parents") as table: table.drop_column("name")'
    upgrade(path, write_revisions(folder, {**revisions, "0002_copy": copy}))
    assert connection.execute("SELECT * FROM parents JOIN things").fetchall() == [(1, 1)]
    connection.close()


def test_a_newer_database_is_refused_and_left_alone(
    path: Path, folder: Path, tmp_path: Path
) -> None:
    upgrade(path, folder)
    older = write_revisions(tmp_path / "older", {"0001_create": CREATE})
    with pytest.raises(MigrationError, match=r"revision 0002.*none after 0001.*newer version"):
        upgrade(path, older)
    assert columns(path) == ["name", "size"]


@pytest.mark.parametrize("names", [[], ["0002_second"], ["0001_first", "0003_third"], ["1_first"]])
def test_revisions_must_be_numbered_without_a_gap(
    path: Path, tmp_path: Path, names: list[str]
) -> None:
    folder = write_revisions(tmp_path / "migrations", dict.fromkeys(names, CREATE))
    with pytest.raises(MigrationError, match="not numbered"):
        upgrade(path, folder)
    assert not path.exists()


def test_the_file_names_must_tell_the_newest_revision(path: Path, tmp_path: Path) -> None:
    folder = write_revisions(tmp_path / "migrations", {"0001_create": CREATE})
    (folder / "versions" / "0001_create.py").write_text(
        'revision = "first"\ndown_revision = None\ndef upgrade(): pass\n'
    )
    with pytest.raises(MigrationError):
        upgrade(path, folder)


def test_a_migration_under_way_elsewhere_is_not_waited_for_without_end(
    path: Path, folder: Path
) -> None:
    path.parent.mkdir()
    with path.with_name("things.sqlite3.migration-lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(MigrationError, match="Another process"):
            upgrade(path, folder, lock_timeout_seconds=0.05)
    upgrade(path, folder)
    assert columns(path) == ["name", "size"]


def test_one_line_is_logged_for_an_upgrade_and_none_for_a_start_without_one(
    path: Path, folder: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    upgrade(path, folder)
    assert caplog.messages == ["Migrated things.sqlite3 to revision 0002."]
    caplog.clear()
    upgrade(path, folder)
    assert caplog.messages == []
    assert capfd.readouterr() == ("", "")
