"""Turns files of text into a corpus: bytes to train on, bytes held out, and the bigram baseline between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor

from nlc.codes import train as codes
from nlc.diagnostics import Collector, CompileError

HELD_OUT = 0.05
"""The part of the text that is held out."""

LOPSIDED = (0.01, 0.2)
"""When the part held out by hash would lie outside, as with few files, the end of every file is held out in its place."""

BYTES_LOOKED_AT = 8192
ALPHABET = 256


@dataclass(frozen=True, slots=True)
class Corpus:
    """Text as bytes (uint8): `training` and `held_out` share no file, or, where files are few, no part of a file."""

    training: Tensor
    held_out: Tensor


def read_corpus(paths: Sequence[Path], length: int) -> Corpus:
    """The text of files, and of the text files in folders, split; raises CompileError unless both parts hold a window of `length` + 1."""
    texts = [text for text in _texts(_files(paths)) if text]
    if not texts:
        raise CompileError(codes.no_text(str(path) for path in paths))
    training, held_out = split(texts)
    if min(len(training), len(held_out)) < length + 1:
        raise CompileError(codes.too_little_text(len(training) + len(held_out), round((length + 1) / HELD_OUT), length))
    return Corpus(_tensor(training), _tensor(held_out))


def split(texts: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Text for training and text held out, about 5 %: whole files chosen by their hash, or the end of each when that is lopsided."""
    held_out = b"".join(text for text in texts if is_held_out(text))
    low, high = (part * sum(map(len, texts)) for part in LOPSIDED)
    if low <= len(held_out) <= high:
        return b"".join(text for text in texts if not is_held_out(text)), held_out
    cuts = [len(text) - round(HELD_OUT * len(text)) for text in texts]
    return (
        b"".join(text[:cut] for text, cut in zip(texts, cuts, strict=True)),
        b"".join(text[cut:] for text, cut in zip(texts, cuts, strict=True)),
    )


def is_held_out(text: bytes) -> bool:
    """Whether a file is held out: decided by its content alone, so that copies stay together and new files move no other."""
    return int.from_bytes(sha256(text).digest()[:8], "big") < HELD_OUT * 2**64


def bigram_loss(corpus: Corpus) -> float:
    """Nats per byte on the held-out text of byte pairs counted in the training text, one more count per first byte for pairs unseen."""
    counts = torch.bincount(_pairs(corpus.training), minlength=ALPHABET**2).view(ALPHABET, ALPHABET).double() + 1 / ALPHABET
    probabilities = counts / counts.sum(dim=1, keepdim=True)
    return -float(probabilities.flatten()[_pairs(corpus.held_out)].log().mean())


def random_windows(text: Tensor, count: int, length: int, generator: torch.Generator) -> Tensor:
    """Windows at random places: (count, length + 1), int64."""
    starts = torch.randint(len(text) - length, (count,), generator=generator)
    return _windows(text, starts, length)


def even_windows(text: Tensor, count: int, length: int) -> Tensor:
    """At most `count` windows spread evenly over the text, overlapping only where it is short: (windows, length + 1), int64."""
    last = len(text) - length - 1
    starts = torch.linspace(0, last, min(count, last + 1), dtype=torch.float64).long()
    return _windows(text, starts, length)


def _windows(text: Tensor, starts: Tensor, length: int) -> Tensor:
    return text[starts[:, None] + torch.arange(length + 1)].long()


def _pairs(text: Tensor) -> Tensor:
    return text[:-1].long() * ALPHABET + text[1:].long()


def _tensor(text: bytes) -> Tensor:
    return torch.frombuffer(bytearray(text), dtype=torch.uint8)


def _files(paths: Sequence[Path]) -> list[tuple[Path, bool]]:
    """Every file once, in order of the arguments and then of the names; True for those that were found in a folder."""
    collector = Collector()
    found: dict[Path, tuple[Path, bool]] = {}
    for path in paths:
        with collector.collecting(), _reading(path):
            if not path.exists():
                raise CompileError(codes.no_such_data(str(path)))
            inside = sorted(_inside(path)) if path.is_dir() else [path]
            for file in inside:
                found.setdefault(file.resolve(), (file, path.is_dir()))
    collector.raise_if_any()
    return list(found.values())


def _inside(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not is_hidden and path.is_file():
            yield path


def _texts(files: Iterable[tuple[Path, bool]]) -> Iterator[bytes]:
    for path, is_found in files:
        with _reading(path):
            content = path.read_bytes()
        if not is_found or _is_text(content):
            yield content


def _is_text(content: bytes) -> bool:
    return b"\0" not in content[:BYTES_LOOKED_AT]


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CompileError(codes.unreadable_data(str(path), error.strerror or str(error))) from error
