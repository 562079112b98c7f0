from __future__ import annotations

import os
from math import log
from pathlib import Path

import pytest
import torch
from hypothesis import given, strategies as st

from nlc.diagnostics import CompileError
from nlc.train.data import Corpus, bigram_loss, even_windows, is_held_out, random_windows, read_corpus, split
from tests.train.tiny import write_text


def problem(paths: list[Path], length: int = 8) -> str:
    with pytest.raises(CompileError) as caught:
        read_corpus(paths, length)
    return str(caught.value)


def as_bytes(text: torch.Tensor) -> bytes:
    return bytes(text.tolist())


def test_many_files_are_split_by_what_is_in_them() -> None:
    texts = [f"file {number}\n".encode() * 50 for number in range(200)]
    training, held_out = split(texts)
    assert held_out == b"".join(text for text in texts if is_held_out(text))
    assert training == b"".join(text for text in texts if not is_held_out(text))
    assert 0.01 <= len(held_out) / (len(training) + len(held_out)) <= 0.2


def test_a_single_file_is_split_at_its_end() -> None:
    assert split([b"a" * 95 + b"b" * 5]) == (b"a" * 95, b"b" * 5)


@given(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=40))
def test_nothing_is_lost_and_nothing_shared(texts: list[bytes]) -> None:
    training, held_out = split(texts)
    assert sorted(training + held_out) == sorted(b"".join(texts))
    assert split(texts) == (training, held_out)
    assert len(held_out) <= max(0.2 * len(b"".join(texts)), len(texts))


def test_folders_are_walked_in_order_for_text(tmp_path: Path) -> None:
    write_text(tmp_path / "b")
    (tmp_path / "a.txt").write_text("first " * 100)
    (tmp_path / "image.bin").write_bytes(b"\0" * 500)
    (tmp_path / ".hidden").write_text("hidden " * 100)
    (tmp_path / "empty.txt").write_text("")
    corpus = read_corpus([tmp_path, tmp_path / "a.txt"], 8)
    text = as_bytes(corpus.training)
    assert text.startswith(b"first ") and text.count(b"first") == 95
    assert b"the 0 of 2" in text
    assert b"hidden" not in text and b"\0" not in text


def test_a_file_that_is_named_may_hold_any_bytes(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(bytes(range(256)) * 4)
    assert as_bytes(read_corpus([tmp_path / "bytes"], 8).training)[:256] == bytes(range(256))


def test_missing_data_is_reported_all_at_once(tmp_path: Path) -> None:
    text = problem([tmp_path / "no", tmp_path / "nothing"])
    assert text.count("NLC706") == 2 and str(tmp_path / "nothing") in text


def test_empty_data_is_reported(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    assert problem([tmp_path / "empty"]).startswith("NLC708")
    assert problem([tmp_path]).startswith("NLC708")


def test_short_data_is_reported_with_what_is_needed(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("x" * 100)
    assert problem([tmp_path / "short"]) == "NLC709: too little text: 100 bytes, and windows of 8 need about 180"
    (tmp_path / "short").write_text("x" * 180)
    assert len(read_corpus([tmp_path / "short"], 8).held_out) == 9


@pytest.mark.skipif(os.name != "posix", reason="symbolic links and modes of POSIX")
def test_unreadable_data_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "NLC70" in problem([tmp_path / "loop"])
    (tmp_path / "secret").write_text("x" * 500)

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert problem([tmp_path / "secret"]) == f"NLC707: {tmp_path / 'secret'} cannot be read: Permission denied"


def test_windows_are_inside_the_text_and_repeat_with_the_seed() -> None:
    text = torch.arange(20, dtype=torch.uint8)
    windows = random_windows(text, 100, 19, torch.Generator().manual_seed(0))
    assert windows.tolist() == [list(range(20))] * 100
    first, second = (random_windows(text, 5, 4, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(first - first[:, :1], torch.arange(5).expand(5, 5))


def test_even_windows_reach_both_ends() -> None:
    text = torch.arange(100, dtype=torch.uint8)
    windows = even_windows(text, 4, 9)
    assert windows[:, 0].tolist() == [0, 30, 60, 90]
    assert even_windows(text[:10], 4, 9).shape == (1, 10)


def test_the_bigram_baseline_is_the_entropy_of_the_next_byte() -> None:
    alternating = torch.tensor(list(b"ab" * 5000), dtype=torch.uint8)
    assert bigram_loss(Corpus(alternating, alternating)) == pytest.approx(0, abs=1e-3)
    random = torch.randint(4, (200_000,), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    assert bigram_loss(Corpus(random, random)) == pytest.approx(log(4), abs=1e-3)
    unseen = torch.tensor(list(b"zz"), dtype=torch.uint8)
    assert bigram_loss(Corpus(alternating, unseen)) == pytest.approx(log(256), abs=1e-6)
