"""Everything that makes the future of a run depend on its past <-> one file: tensors as safetensors, the rest as JSON in its header.

A checkpoint is written beside its place and renamed, so that one that exists is whole; the one before it is kept. A digest over all bytes
tells a file that was cut or changed since.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save

from nlc.codes import train as codes
from nlc.diagnostics import CompileError
from nlc.train.files import write_whole, writing
from nlc.train.tree import Tree, packed, unpacked

FOLDER, NAMES = "checkpoints", "step-*.safetensors"
FORMAT = "nlc checkpoint 1"
KEPT = 2
NO_DIGEST = "0" * 64


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that was read: the step it was taken after, whose it is (names and digests), and what it holds."""

    path: Path
    step: int
    identity: Mapping[str, str]
    tree: Tree


def save_checkpoint(run: Path, step: int, identity: Mapping[str, str], tree: Tree) -> Path:
    """Write a checkpoint, then remove those older than the one before it."""
    path = run / FOLDER / f"step-{step:09}.safetensors"
    with writing(path.parent):
        path.parent.mkdir(exist_ok=True)
    write_whole(path, _sealed(step, identity, tree))
    clear_old(run)
    return path


def clear_old(run: Path) -> None:
    """Remove the checkpoints that are older than the one before the newest."""
    for old in checkpoints(run)[:-KEPT]:
        with writing(old):
            old.unlink(missing_ok=True)


def checkpoints(run: Path) -> tuple[Path, ...]:
    """The checkpoints of a run, oldest first."""
    return tuple(sorted((run / FOLDER).glob(NAMES)))


def read_checkpoint(path: Path) -> Checkpoint:
    """Raises CompileError when the file cannot be read, was cut short or has changed since it was written."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CompileError(codes.unreadable_data(str(path), error.strerror or str(error))) from error
    try:
        return _opened(path, content)
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CompileError(codes.damaged_checkpoint(str(path), str(_sound_before(path) or ""))) from error


def latest_checkpoint(run: Path) -> Checkpoint:
    """The newest checkpoint of a run; raises CompileError when there is none, or it is damaged."""
    found = checkpoints(run)
    if not found:
        raise CompileError(codes.no_checkpoint(str(run)))
    return read_checkpoint(found[-1])


def _sealed(step: int, identity: Mapping[str, str], tree: Tree) -> bytes:
    skeleton, tensors = packed(tree)
    # safetensors leaves the order of the metadata open: one entry is always written the same
    about = json.dumps({"format": FORMAT, "digest": NO_DIGEST, "step": step, "identity": dict(identity), "tree": skeleton})
    content = save({name: tensor.cpu() for name, tensor in tensors.items()}, metadata={"nlc": about})
    return content.replace(NO_DIGEST.encode(), sha256(content).hexdigest().encode(), 1)


def _opened(path: Path, content: bytes) -> Checkpoint:
    size = int.from_bytes(content[:8], "little")
    about = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["nlc"])
    blank = content.replace(about["digest"].encode(), NO_DIGEST.encode(), 1)
    if about["format"] != FORMAT or sha256(blank).hexdigest() != about["digest"]:
        raise ValueError("the digest is another one")
    return Checkpoint(path, about["step"], about["identity"], unpacked(about["tree"], load(content)))


def _sound_before(path: Path) -> Path | None:
    """The newest older checkpoint that is whole."""
    for older in reversed([item for item in checkpoints(path.parent.parent) if item < path]):
        try:
            _opened(older, older.read_bytes())
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            continue
        return older
    return None
