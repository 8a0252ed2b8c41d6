"""Writes what arrives piece by piece to a file, which is there wholly or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import typer
from rich.console import Console

from agent_executor.cli.connection import FAILURE_EXIT_CODE, ConnectionFaultError
from agent_executor.cli.reading import ReadingProgress


def save(pieces: Iterator[bytes], path: Path, console: Console) -> tuple[int, int]:
    """Writes a file, and tells on a console how far it is.

    What was at the path before is there until all has arrived, and after a failure.

    Returns:
        How many bytes it has, and how many lines.

    Raises:
        ConnectionFaultError: It cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    size_bytes = lines = 0
    try:
        file = unfinished.open("wb")
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror}."
        raise ConnectionFaultError(msg) from error
    try:
        with file, ReadingProgress(console) as progress:
            for piece in pieces:
                file.write(piece)
                size_bytes += len(piece)
                lines += piece.count(b"\n")
                progress.tell(f"{lines:,} lines, {size_bytes:,} bytes")
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return size_bytes, lines


def write_out(pieces: Iterator[bytes]) -> None:
    """Writes to standard output; ends the command where nobody reads that any more."""
    for piece in pieces:
        try:
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            # What is still in the buffer would fail again at the end of the process.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(FAILURE_EXIT_CODE) from None
