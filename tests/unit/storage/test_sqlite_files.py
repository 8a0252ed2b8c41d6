"""SQLite files that are held against everybody, or seen as they were at one instant."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from agent_executor.errors import FailedPreconditionError, UnavailableError
from agent_executor.storage import sqlite_files
from agent_executor.storage.sqlite import connect_read_only, connect_writable
from agent_executor.storage.sqlite_files import check_revision, copy_file, held_alone, same_instant


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}.sqlite3" for name in "abc"]
    for path in paths:
        with closing(connect_writable(path)) as connection:
            connection.execute("CREATE TABLE numbers (number INTEGER PRIMARY KEY)")
    return paths


def numbers(connection: sqlite3.Connection) -> list[int]:
    return [number for (number,) in connection.execute("SELECT number FROM numbers ORDER BY 1")]


@contextmanager
def writing(paths: list[Path]) -> Iterator[None]:
    """Writes the same number into one file after another, all the time."""
    stop = threading.Event()
    started = threading.Event()

    def write() -> None:
        with ExitStack() as stack:
            targets = [stack.enter_context(closing(connect_writable(path))) for path in paths]
            number = 0
            while not stop.is_set():
                number += 1
                for target in targets:
                    target.execute("INSERT INTO numbers VALUES (?)", (number,))
                started.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert started.wait(60)
    try:
        yield
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_files_that_are_written_to_are_seen_at_one_instant(
    files: list[Path], tmp_path: Path, order: tuple[int, ...]
) -> None:
    with writing(files), same_instant([files[place] for place in order]) as sources:
        copies = []
        for number, source in enumerate(sources):
            copy_file(source, tmp_path / f"copy-{number}")
            with closing(connect_read_only(tmp_path / f"copy-{number}")) as copy:
                copies.append(numbers(copy))
        first, second, third = (copies[order.index(place)] for place in range(3))
        # Each file is written to before the next one, so none is ever ahead of one before it.
        assert first[: len(second)] == second
        assert second[: len(third)] == third
        assert len(first) - len(third) <= 1


def test_a_file_that_is_never_left_alone_is_given_up(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_files, "INSTANT_TIMEOUT_SECONDS", 0.01)
    with closing(connect_writable(files[1])) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match="without a pause"), same_instant(files):
            pytest.fail("it was held")
        # Nothing is held any more, either.
        with closing(connect_writable(files[0])) as other:
            other.execute("INSERT INTO numbers VALUES (1)")


def test_a_copy_is_one_private_file(files: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "copies" / "a"
    with same_instant(files) as sources:
        copy_file(sources[0], target)
        with pytest.raises(FileExistsError):
            copy_file(sources[1], target)
    assert [path.name for path in target.parent.iterdir()] == ["a"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_file_that_another_process_has_open_is_not_held_alone(files: list[Path]) -> None:
    with closing(connect_read_only(files[0])) as idle:
        assert numbers(idle) == []
        with pytest.raises(FailedPreconditionError, match="in use"), held_alone(files[0]):
            pytest.fail("it was held")
    with held_alone(files[0]) as alone:
        assert numbers(alone) == []
        other = sqlite3.connect(files[0], timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            numbers(other)
        other.close()


def test_a_file_of_another_revision_is_told(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "0001_begin.py").touch()
    with closing(connect_writable(files[0])) as connection:
        with pytest.raises(FailedPreconditionError, match=r"at revision none, .* at 0001"):
            check_revision(connection, tmp_path, "ledger")
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('0001')")
        check_revision(connection, tmp_path, "ledger")
