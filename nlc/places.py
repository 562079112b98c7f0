"""Paths on the command line -> spec files, and each spec file -> where its generated module belongs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SPEC_SUFFIXES = (".yaml", ".yml")
LONGEST_QUOTE = 60


class UsageError(Exception):
    """The command was given something that it cannot use: exit status 2."""


@dataclass(frozen=True, slots=True)
class Place:
    """A spec file and the generated file that belongs to it."""

    spec: Path
    generated: Path


def spec_root(path: Path) -> Path | None:
    """The nearest folder above the file that is called `specs`; None when there is none."""
    absolute = path.absolute()
    return next((folder for folder in absolute.parents if folder.name == "specs"), None)


def generated_path(spec: Path, output: Path | None) -> Path:
    """Where `nlc build` writes and `nlc verify` reads: under `output`, else in `generated/` beside `specs/`, else beside the spec."""
    root = spec_root(spec)
    relative = spec.absolute().relative_to(root) if root else Path(spec.name)
    if output is not None:
        return output / relative.with_suffix(".py")
    if root is None:
        return spec.with_suffix(".py")
    if _is_shipped(root):
        return Path("generated") / relative.with_suffix(".py")
    beside = root.parent / "generated"
    return _shortest(beside) / relative.with_suffix(".py")


def find_specs(paths: Sequence[str], output: str | None = None) -> tuple[Place, ...]:
    """The specs that the arguments name: files, folders (every spec below, without `parts/`), or shipped specs by name.

    Without arguments, the folder `specs` here. Raises UsageError for what does not exist.
    """
    target = usable_path(output) if output is not None else None
    files: list[Path] = []
    for text in paths or ("specs",):
        files.extend(_named(text))
    return tuple(Place(file, generated_path(file, target)) for file in dict.fromkeys(files))


def find_spec(text: str) -> Place:
    """The one spec that an argument names. Raises UsageError for what does not exist, and for a folder of several."""
    places = find_specs([text])
    if len(places) > 1:
        raise UsageError(f"there are {len(places)} specs in the folder {text}; name one of them")
    return places[0]


def usable_path(text: str) -> Path:
    """The path; raises UsageError when no file can have it."""
    if not text or "\0" in text:
        raise UsageError("a path cannot be empty or hold a NUL character")
    path = Path(text)
    try:
        path.exists()
    except OSError as error:
        name = text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}..."
        raise UsageError(f"cannot use the path {name}: {(error.strerror or 'unknown reason').lower()}") from error
    return path


def _named(text: str) -> list[Path]:
    path = usable_path(text)
    if path.is_dir():
        found = sorted(file for suffix in SPEC_SUFFIXES for file in path.rglob(f"*{suffix}") if "parts" not in file.relative_to(path).parts)
        if not found:
            raise UsageError(f"there is no spec (*.yaml) in the folder {text}")
        return found
    if path.is_file():
        return [path]
    shipped = _shipped(text)
    if shipped is not None:
        return [shipped]
    raise UsageError(f"there is no file or folder {text}, and nlc ships no spec of this name")


def _shipped(text: str) -> Path | None:
    """A spec that comes with nlc, by a name like `architectures/delta_rule`."""
    from nlc.parse.shipped import shipped_specs_folder

    if ".." in Path(text).parts or Path(text).is_absolute():
        return None
    path = shipped_specs_folder() / f"{text.removesuffix('.yaml')}.yaml"
    return path if path.is_file() else None


def _is_shipped(root: Path) -> bool:
    """Whether these are the specs inside an installed nlc, where nothing is to be written."""
    from nlc.parse.shipped import shipped_specs_folder

    return root == shipped_specs_folder() and root.parent == Path(__file__).parent


def _shortest(path: Path) -> Path:
    """The path relative to here when it is below here, for readable messages."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
