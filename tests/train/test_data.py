from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings, strategies as st

from nlc.diagnostics import CompileError
from nlc.train.data import Corpus, Part, Text, encoded, find_texts, is_held_out, open_corpus, split, whole_texts, write_corpus
from nlc.train.tokens import ByteTokens
from tests.train.tiny import write_text


def problem(paths: list[Path], length: int = 8) -> str:
    with pytest.raises(CompileError) as caught:
        find_texts(paths, length + 1)
    return str(caught.value)


def content(parts: Sequence[Part]) -> bytes:
    return b"".join(part.path.read_bytes()[part.start : part.end] for part in parts)


def corpus_of(run: Path, *paths: Path, length: int = 8, vocabulary: int | None = None) -> Corpus:
    run.mkdir()
    write_corpus(run, *find_texts(paths, length + 1), vocabulary)
    return open_corpus(run)


def held_out(text: bytes) -> bool:
    return is_held_out(sha256(text).digest())


def texts_of(folder: Path, contents: Sequence[bytes]) -> list[Text]:
    folder.mkdir(exist_ok=True)
    made = []
    for number, text in enumerate(contents):
        path = folder / f"{number:03}"
        path.write_bytes(text)
        made.append(Text(path, len(text), held_out(text)))
    return made


def test_many_files_are_split_by_what_is_in_them(tmp_path: Path) -> None:
    contents = [f"file {number}\n".encode() * 50 for number in range(200)]
    training, held = split(texts_of(tmp_path, contents))
    assert content(held) == b"".join(text for text in contents if held_out(text))
    assert content(training) == b"".join(text for text in contents if not held_out(text))
    assert 0.01 <= len(content(held)) / sum(map(len, contents)) <= 0.2


def test_a_single_file_is_split_at_its_end(tmp_path: Path) -> None:
    training, held = split(texts_of(tmp_path, [b"a" * 95 + b"b" * 5]))
    assert (content(training), content(held)) == (b"a" * 95, b"b" * 5)


@settings(max_examples=30)
@given(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=40))
def test_nothing_is_lost_and_nothing_shared(tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]) -> None:
    texts = texts_of(tmp_path_factory.mktemp("texts"), contents)
    training, held = split(texts)
    assert sorted(content(training) + content(held)) == sorted(b"".join(contents))
    assert len(content(held)) <= max(0.2 * len(b"".join(contents)), len(contents))


def test_folders_are_walked_in_order_for_text(tmp_path: Path) -> None:
    data = write_text(tmp_path / "data" / "b").parent
    (data / "a.txt").write_text("first " * 100)
    (data / "image.bin").write_bytes(b"\0" * 500)
    (data / ".hidden").write_text("hidden " * 100)
    (data / "empty.txt").write_text("")
    text = bytes(corpus_of(tmp_path / "run", data, data / "a.txt").training.tolist())
    assert text.startswith(b"first ") and text.count(b"first") == 95
    assert b"the 0 of 2" in text
    assert b"hidden" not in text and b"\0" not in text


def test_a_file_that_is_named_may_hold_any_bytes(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(bytes(range(256)) * 4)
    corpus = corpus_of(tmp_path / "run", tmp_path / "bytes")
    assert bytes(corpus.training[:256].tolist()) == bytes(range(256))
    assert (corpus.training_bytes, corpus.held_out_bytes) == (len(corpus.training), len(corpus.held_out)) == (973, 51)


def test_documents_begin_where_files_do(tmp_path: Path) -> None:
    texts = [b"one " * 100, b"two " * 50, b"three " * 70]
    corpus = corpus_of(tmp_path / "run", *(item.path for item in texts_of(tmp_path / "data", texts)))
    assert corpus.documents == (0, 20, 30)
    tokens, starts = encoded(whole_texts([tmp_path / "data"]), ByteTokens())
    assert bytes(tokens.tolist()) == b"".join(texts) and starts == (0, 400, 600)


def test_a_text_of_many_pieces_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlc.train.data.PIECE", 7)
    (tmp_path / "text").write_bytes(bytes(range(200)) * 3)
    corpus = corpus_of(tmp_path / "run", tmp_path / "text")
    assert bytes(corpus.training.tolist()) + bytes(corpus.held_out.tolist()) == bytes(range(200)) * 3


def test_missing_data_is_reported_all_at_once(tmp_path: Path) -> None:
    text = problem([tmp_path / "no", tmp_path / "nothing"])
    assert text.count("NLC706") == 2 and str(tmp_path / "nothing") in text


def test_empty_data_is_reported(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    assert problem([tmp_path / "empty"]).startswith("NLC708")
    assert problem([tmp_path]).startswith("NLC708")
    with pytest.raises(CompileError, match="NLC708"):
        whole_texts([tmp_path])


def test_short_data_is_reported_with_what_is_needed(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("x" * 100)
    assert problem([tmp_path / "short"]) == "NLC709: too little text: 100 bytes, and windows of 8 need about 180"
    (tmp_path / "short").write_text("x" * 180)
    assert content(find_texts([tmp_path / "short"], 9)[1]) == b"x" * 9


@pytest.mark.skipif(os.name != "posix", reason="symbolic links and modes of POSIX")
def test_unreadable_data_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "NLC70" in problem([tmp_path / "loop"])
    (tmp_path / "secret").write_text("x" * 500)

    def refuse(path: Path, mode: str) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert problem([tmp_path / "secret"]) == f"NLC707: {tmp_path / 'secret'} cannot be read: Permission denied"


@pytest.mark.parametrize("name", ["corpus.json", "training.tokens", "held_out.tokens", "documents.json", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_damaged_text_is_reported(tmp_path: Path, name: str, damage: str) -> None:
    corpus_of(tmp_path / "run", write_text(tmp_path / "data"))
    path = tmp_path / "run" / "text" / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(CompileError, match="NLC723: the text of the run"):
        open_corpus(tmp_path / "run")


def test_reading_the_corpus_never_changes_it(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "run", write_text(tmp_path / "data"))
    before = (tmp_path / "run" / "text" / "training.tokens").read_bytes()
    corpus.training.zero_()
    assert torch.equal(corpus.training, torch.zeros_like(corpus.training))
    assert (tmp_path / "run" / "text" / "training.tokens").read_bytes() == before
