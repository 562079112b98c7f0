"""Files of text -> a corpus in the run folder: tokens to train on, tokens held out, both read from the disk as they are needed.

Every file is a document. Texts are read in pieces, encoded once and kept beside the run, so that a run can go on whatever becomes of the
files. What it does not do: choose windows (nlc/train/windows.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

import torch
from torch import Tensor

from nlc.codes import train as codes
from nlc.diagnostics import Collector, CompileError
from nlc.train.bigrams import Bigrams
from nlc.train.files import fill_whole, write_whole, writing
from nlc.train.tokens import ByteTokens, Tokenizer, tokenizer_from, train_pairs

HELD_OUT = 0.05
"""The part of the text that is held out."""

LOPSIDED = (0.01, 0.2)
"""When the part held out by hash would lie outside, as with few files, the end of every file is held out in its place."""

BYTES_LOOKED_AT = 8192
PIECE = 2**22
"""Bytes that are read and encoded at a time."""

FOLDER, ABOUT, TOKENIZER, DOCUMENTS = "text", "corpus.json", "tokenizer.json", "documents.json"
TRAINING, HELD = "training.tokens", "held_out.tokens"
DTYPES: Mapping[str, torch.dtype] = MappingProxyType({"uint8": torch.uint8, "int16": torch.int16, "int32": torch.int32})


@dataclass(frozen=True, slots=True)
class Text:
    """A file with text: how long it is, and whether its content says that it is held out."""

    path: Path
    size: int
    is_held_out: bool


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes `start` to `end` of a file: a document."""

    path: Path
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Corpus:
    """Tokens for training and tokens held out, mapped from the disk; `documents` are where those held out begin.

    `bigram_loss` is the baseline: nats per byte held out of byte pairs counted in the text for training.
    """

    training: Tensor
    held_out: Tensor
    documents: tuple[int, ...]
    tokenizer: Tokenizer
    bigram_loss: float
    training_bytes: int
    held_out_bytes: int


def find_texts(paths: Sequence[Path], needed: int) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Documents to train on and documents held out, from files and from the text files in folders.

    Raises CompileError for what is missing, unreadable or empty, and unless both have `needed` bytes.
    """
    texts = [text for text in _texts(_files(paths)) if text.size]
    if not texts:
        raise CompileError(codes.no_text(str(path) for path in paths))
    training, held_out = split(texts)
    if min(_size(training), _size(held_out)) < needed:
        raise CompileError(codes.too_little_text(_size(training) + _size(held_out), round(needed / HELD_OUT), needed - 1))
    return training, held_out


def whole_texts(paths: Sequence[Path]) -> tuple[Part, ...]:
    """Every document, whole; raises CompileError for what is missing, unreadable or empty."""
    parts = tuple(Part(text.path, 0, text.size) for text in _texts(_files(paths)) if text.size)
    if not parts:
        raise CompileError(codes.no_text(str(path) for path in paths))
    return parts


def split(texts: Sequence[Text]) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Text for training and text held out, about 5 %: whole files chosen by their hash, or the end of each when that is lopsided."""
    held_out = tuple(Part(text.path, 0, text.size) for text in texts if text.is_held_out)
    low, high = (part * sum(text.size for text in texts) for part in LOPSIDED)
    if low <= _size(held_out) <= high:
        return tuple(Part(text.path, 0, text.size) for text in texts if not text.is_held_out), held_out
    cuts = [(text, text.size - round(HELD_OUT * text.size)) for text in texts]
    ends = tuple(Part(text.path, cut, text.size) for text, cut in cuts if cut < text.size)
    return tuple(Part(text.path, 0, cut) for text, cut in cuts if cut), ends


def is_held_out(digest: bytes) -> bool:
    """Whether a file is held out: decided by its content alone, so that copies stay together and new files move no other."""
    return int.from_bytes(digest[:8], "big") < HELD_OUT * 2**64


def write_corpus(run: Path, training: Sequence[Part], held_out: Sequence[Part], vocabulary: int | None) -> None:
    """Encode the texts into the folder of a run: as bytes, or with pairs joined up to a `vocabulary`."""
    folder = run / FOLDER
    with writing(folder):
        folder.mkdir(exist_ok=True)
    tokenizer: Tokenizer = ByteTokens() if vocabulary is None else train_pairs(_pieces(training), vocabulary)
    dtype = next(name for name, kind in DTYPES.items() if tokenizer.vocabulary <= torch.iinfo(kind).max + 1)
    counted, met = Bigrams(), Bigrams()
    sizes = [
        _write_tokens(folder / name, parts, tokenizer, DTYPES[dtype], pairs)
        for name, parts, pairs in ((TRAINING, training, counted), (HELD, held_out, met))
    ]
    write_whole(folder / DOCUMENTS, json.dumps(sizes[1][:-1]).encode())
    write_whole(folder / TOKENIZER, tokenizer.content.encode())
    about = {"dtype": dtype, "training": sizes[0][-1], "held_out": sizes[1][-1], "bigram_loss": counted.loss_on(met)}
    bytes_read = {"training_bytes": _size(training), "held_out_bytes": _size(held_out)}
    write_whole(folder / ABOUT, (json.dumps({**about, **bytes_read}, indent=2) + "\n").encode())


def open_corpus(run: Path) -> Corpus:
    """The corpus of a run; raises CompileError when its files are not those that were written."""
    folder = run / FOLDER
    try:
        about = json.loads((folder / ABOUT).read_bytes())
        dtype = DTYPES[about["dtype"]]
        return Corpus(
            training=_mapped(folder / TRAINING, about["training"], dtype),
            held_out=_mapped(folder / HELD, about["held_out"], dtype),
            documents=tuple(json.loads((folder / DOCUMENTS).read_bytes())),
            tokenizer=tokenizer_from((folder / TOKENIZER).read_text()),
            bigram_loss=about["bigram_loss"],
            training_bytes=about["training_bytes"],
            held_out_bytes=about["held_out_bytes"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CompileError(codes.damaged_text(str(folder))) from error


def encoded(parts: Sequence[Part], tokenizer: Tokenizer) -> tuple[Tensor, tuple[int, ...]]:
    """The tokens of documents, in memory, and where each begins."""
    texts = [torch.cat([tokenizer.encode(piece) for piece in _pieces([part])]) for part in parts]
    starts = [0]
    for text in texts:
        starts.append(starts[-1] + len(text))
    return torch.cat(texts), tuple(starts[:-1])


def _write_tokens(path: Path, parts: Sequence[Part], tokenizer: Tokenizer, dtype: torch.dtype, pairs: Bigrams) -> list[int]:
    """Where each document begins among the tokens, and at last their number."""
    starts = [0]

    def fill(file: BinaryIO) -> None:
        for part in parts:
            count = 0
            for piece in _pieces([part]):
                pairs.count(piece)
                tokens = tokenizer.encode(piece).to(dtype)
                file.write(tokens.numpy().tobytes())
                count += len(tokens)
            starts.append(starts[-1] + count)

    fill_whole(path, fill)
    return starts


def _mapped(path: Path, size: int, dtype: torch.dtype) -> Tensor:
    if path.stat().st_size != size * dtype.itemsize:
        raise ValueError(f"{path} has another size")
    return torch.from_file(str(path), shared=False, size=size, dtype=dtype)


def _pieces(parts: Iterable[Part]) -> Iterator[bytes]:
    for part in parts:
        with _reading(part.path), part.path.open("rb") as file:
            file.seek(part.start)
            for start in range(part.start, part.end, PIECE):
                yield file.read(min(PIECE, part.end - start))


def _size(parts: Iterable[Part]) -> int:
    return sum(part.end - part.start for part in parts)


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


def _texts(files: Iterable[tuple[Path, bool]]) -> Iterator[Text]:
    for path, is_found in files:
        total, size = sha256(), 0
        with _reading(path), path.open("rb") as file:
            start = file.read(BYTES_LOOKED_AT)
            if is_found and b"\0" in start:
                continue
            for piece in (start, *iter(lambda: file.read(PIECE), b"")):
                total.update(piece)
                size += len(piece)
        yield Text(path, size, is_held_out(total.digest()))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CompileError(codes.unreadable_data(str(path), error.strerror or str(error))) from error
