"""Module texts -> files: each whole or not at all, and never over what a person wrote."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

from nlc.codes import emit as codes
from nlc.diagnostics import CompileError, Diagnostic
from nlc.emit.digest import is_generated, is_sealed


def write_module(text: str, path: Path, force: bool = False, root: Path | None = None) -> bool:
    """Write one generated module; whether the file changed. Raises as `write_modules`."""
    ((_, changed),) = write_modules([(path, text)], force=force, root=root)
    return changed


def write_modules(modules: Sequence[tuple[Path, str]], *, force: bool = False, root: Path | None = None) -> list[tuple[Path, bool]]:
    """Write generated modules; each path, and whether its file changed. Every check comes before the first write.

    Folders below `root` (default: the nearest folder called `generated`, else the module's own) must not be links. A file edited by
    hand is refused, or with `force` kept as `.orig`. Raises CompileError with every reason not to write.
    """
    problems = [*_clashes([path for path, _ in modules]), *(item for path, _ in modules for item in _refusals(path, force, root))]
    if problems:
        raise CompileError(*problems)
    return [(path, _replace(path, text)) for path, text in modules]


def write_text(path: Path, text: str) -> None:
    """Write a file so that at every moment it is the old one or the new one, whole; raises OSError."""
    with NamedTemporaryFile("w", encoding="utf-8", newline="\n", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _replace(path: Path, text: str) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        present = _present(path)
        if present == text:
            return False
        if present is not None and not is_sealed(present):
            write_text(_free_name(path), present)
        write_text(path, text)
    except OSError as error:
        raise CompileError(codes.cannot_write(path, error.strerror or str(error))) from error
    return True


def _free_name(path: Path) -> Path:
    """Where a file edited by hand is kept: `.orig`, or with a number where that is taken."""
    names = (path.with_name(f"{path.name}.orig{number}") for number in ("", *range(2, 1_000_000)))
    return next(name for name in names if not name.exists())


def _present(path: Path) -> str | None:
    """The text of the file now; None when there is none. What is no text cannot be nlc's."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        return ""


def _refusals(path: Path, force: bool, root: Path | None) -> Iterator[Diagnostic]:
    try:
        link = next((place for place in (path, *_folders(path, root)) if place.is_symlink()), None)
        if link is not None:
            yield codes.symbolic_link(link)
            return
        other = next((item for item in _neighbours(path) if item.name != path.name and item.name.casefold() == path.name.casefold()), None)
        present = _present(path)
    except OSError as error:
        yield codes.cannot_write(path, error.strerror or str(error))
        return
    if other is not None:
        yield codes.case_clash(path, other)
    if present is not None and not is_generated(present):
        yield codes.foreign_file(path)
    elif present is not None and not is_sealed(present) and not force:
        yield codes.edited_by_hand(path)


def _folders(path: Path, root: Path | None) -> list[Path]:
    """The folders from the file's own up to, and without, the output folder."""
    top = root or next((folder for folder in path.parents if folder.name == "generated"), path.parent)
    return [folder for folder in path.parents if folder != top and folder.is_relative_to(top)]


def _neighbours(path: Path) -> list[Path]:
    return sorted(path.parent.iterdir()) if path.parent.is_dir() else []


def _clashes(paths: Sequence[Path]) -> Iterator[Diagnostic]:
    """Paths that are one on a file system that does not tell upper from lower case."""
    first: dict[str, Path] = {}
    for path in paths:
        other = first.setdefault(str(path).casefold(), path)
        if other != path:
            yield codes.case_clash(path, other)
