"""Writes files whole or not at all, and turns what the system refuses into diagnostics."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from nlc.codes import train as codes
from nlc.diagnostics import CompileError

PARTIAL = ".partial"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that readers see the old content or the new, never a part; raises CompileError when the system refuses."""

    def fill(file: BinaryIO) -> None:
        file.write(content)

    fill_whole(path, fill)


def fill_whole(path: Path, fill: Callable[[BinaryIO], None]) -> None:
    """The same for content that `fill` writes piece by piece: beside its place first, on the disk, then renamed."""
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    with writing(path):
        try:
            with partial.open("wb") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
            _keep_name(path.parent)
        finally:
            partial.unlink(missing_ok=True)


def clear_partial(folder: Path) -> None:
    """Remove what a process that was killed in the middle of writing has left."""
    with writing(folder):
        for path in sorted(folder.rglob(f".*{PARTIAL}")):
            path.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Inside the block, the system's refusals become a diagnostic about the path."""
    try:
        yield
    except OSError as error:
        raise CompileError(codes.cannot_write(str(path), error.strerror or str(error))) from error


def _keep_name(folder: Path) -> None:
    """Put the renaming itself on the disk, where folders can be opened."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
