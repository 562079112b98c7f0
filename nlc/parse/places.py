"""The path that a spec gives -> the file it means, inside the spec's own folder of specs or among the shipped ones.

A spec's root is the nearest folder above it called `specs`, else its own folder. A path is taken from the folder of the file
that gives it, then from the root, then from the shipped specs; `.yaml` may be left out. Nothing outside those two roots is read:
no absolute path, no `..` out of the root, no symbolic link that leaves it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nlc.codes import parse as codes
from nlc.diagnostics import CompileError
from nlc.parse import shipped
from nlc.source import Span

ROOT_NAME = "specs"
SUFFIX = ".yaml"
LONGEST_PATH = 200
PATH = re.compile(r"(?:[A-Za-z0-9._-]+/)*[A-Za-z0-9._-]+")
MOST_SUGGESTIONS = 200


@dataclass(frozen=True, slots=True)
class Root:
    """A folder that specs may be read from, and what diagnostics call it."""

    folder: Path
    name: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text stands: its name in diagnostics, its folder and its root; a text without a folder sees shipped specs only."""

    name: str
    folder: Path | None = None
    root: Root | None = None
    path: Path | None = None


def place_of_file(path: Path) -> Place:
    """The place of a file that the user named."""
    absolute = Path(os.path.abspath(path))
    return place_in_folder(path.as_posix(), absolute.parent, absolute)


def place_in_folder(name: str, folder: Path | None, path: Path | None = None) -> Place:
    """The place of a text called `name` that stands in a folder, or in none."""
    if folder is None:
        return Place(name)
    folder = Path(os.path.abspath(folder))
    root = next((ancestor for ancestor in (folder, *folder.parents) if ancestor.name == ROOT_NAME), folder)
    steps_up = len(folder.relative_to(root).parts)
    root_name = os.path.normpath(os.path.join(os.path.dirname(name), *[os.pardir] * steps_up))
    return Place(name, folder, Root(root, Path(root_name).as_posix()), path)


def locate(text: str, span: Span, place: Place) -> Place:
    """The place of the spec that a path means when it is given at `place`; raises CompileError when there is none."""
    found = find(text, span, place)
    if found is None:
        raise CompileError(codes.no_such_spec(span, text, known_specs(place)))
    return found


def find(text: str, span: Span, place: Place) -> Place | None:
    """The place that a path means, or None when no file is there; raises CompileError for paths that are refused."""
    _refuse_bad_path(text, span)
    relative = text if text.endswith(SUFFIX) else text + SUFFIX
    has_left = True
    for base, root in _bases(place):
        path = Path(os.path.normpath(base / relative))
        inside = path.is_relative_to(root.folder)
        has_left = has_left and not inside
        if inside and os.path.isfile(path):
            if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root.folder)):
                raise CompileError(codes.path_refused(span, "a symbolic link leads out of the folder of specs"))
            name = Path(os.path.normpath(Path(root.name) / path.relative_to(root.folder))).as_posix()
            return Place(name, path.parent, root, path)
    if has_left:
        raise CompileError(codes.path_refused(span, "it leads out of the folder of specs"))
    return None


def _refuse_bad_path(text: str, span: Span) -> None:
    if text.startswith("/") or re.match(r"[A-Za-z]:", text):
        raise CompileError(codes.path_refused(span, "it is absolute"))
    if len(text) > LONGEST_PATH or not PATH.fullmatch(text):
        raise CompileError(codes.path_refused(span, "it is not made of letters, digits, `.`, `_`, `-` and `/`"))


def _bases(place: Place) -> Iterator[tuple[Path, Root]]:
    """Where to look, and what must not be left there."""
    if place.folder is not None and place.root is not None:
        yield place.folder, place.root
        yield place.root.folder, place.root
    shipped_specs = Root(shipped.shipped_specs_folder(), shipped.SHIPPED_NAME)
    yield shipped_specs.folder, shipped_specs


def known_specs(place: Place, under: str = "*") -> list[str]:
    """The specs that a path could have meant: those in folders (`under`, a pattern) of the root and of the shipped specs."""
    roots = {root.folder for _, root in _bases(place)}
    paths = (path.relative_to(root) for root in sorted(roots) if root.is_dir() for path in root.glob(f"{under}/*{SUFFIX}"))
    return sorted({path.with_suffix("").as_posix() for path, _ in zip(paths, range(MOST_SUGGESTIONS), strict=False)})
