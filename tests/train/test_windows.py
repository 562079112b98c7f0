from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, strategies as st

from nlc.diagnostics import CompileError
from nlc.train.windows import Windows, even_windows, windows_at

TEXT = torch.arange(200, dtype=torch.uint8)


def test_an_epoch_reads_every_window_of_a_cutting_once() -> None:
    windows = Windows(TEXT, 4, 9)
    per_epoch = (len(TEXT) - 1) // 9 - 1
    rows = torch.cat([windows[number] for number in range(per_epoch)])
    assert torch.equal(rows - rows[:, :1], torch.arange(10).expand(4 * per_epoch, 10))
    epochs = [rows[start : start + per_epoch, 0].tolist() for start in range(0, 4 * per_epoch, per_epoch)]
    for starts in epochs:
        assert len(set(starts)) == per_epoch and len({start % 9 for start in starts}) == 1
    assert len({tuple(starts) for starts in epochs}) == 4


@given(st.lists(st.integers(0, 100), min_size=1, max_size=8), st.booleans())
def test_a_batch_is_a_function_of_its_number(numbers: list[int], is_stream: bool) -> None:
    once = Windows(TEXT, 3, 7, seed=5, is_stream=is_stream)
    for number in numbers:
        assert torch.equal(once[number], Windows(TEXT, 3, 7, seed=5, is_stream=is_stream)[number])


def test_another_seed_is_another_order() -> None:
    assert not torch.equal(Windows(TEXT, 3, 7, seed=0)[0], Windows(TEXT, 3, 7, seed=1)[0])


def test_readers_of_a_stream_go_on_where_they_were() -> None:
    windows = Windows(TEXT, 3, 10, is_stream=True)
    assert windows.batches_per_lap == 6
    for number in range(1, 6):
        assert not windows.begins(number)
        assert torch.equal(windows[number][:, 0], windows[number - 1][:, -1])
    assert windows.begins(0) and windows.begins(6) and torch.equal(windows[6], windows[0])
    read = Counter(token for number in range(6) for token in windows[number][:, :-1].flatten().tolist())
    assert len(read) == 180 and set(read.values()) == {1}


def test_random_windows_always_begin_anew() -> None:
    assert all(Windows(TEXT, 3, 10).begins(number) for number in range(20))


def test_a_text_too_short_for_streams_is_reported() -> None:
    assert Windows(TEXT, 19, 10, is_stream=True).batches_per_lap == 1
    with pytest.raises(CompileError, match="NLC722: 200 tokens cannot be read as 20 streams in windows of 10"):
        Windows(TEXT, 20, 10, is_stream=True)


@given(st.integers(2, 60), st.integers(1, 58), st.integers(0, 30))
def test_random_windows_are_inside_any_text(size: int, length: int, number: int) -> None:
    length = min(length, size - 1)
    rows = Windows(TEXT[:size], 2, length)[number]
    assert rows.shape == (2, length + 1) and int(rows.max()) < size


def test_windows_are_whole_numbers_of_torch() -> None:
    assert windows_at(TEXT, torch.tensor([3]), 4).dtype == torch.int64


def test_even_windows_reach_both_ends() -> None:
    text = torch.arange(100, dtype=torch.uint8)
    assert even_windows(text, 4, 9)[:, 0].tolist() == [0, 30, 60, 90]
    assert even_windows(text[:10], 4, 9).shape == (1, 10)
