from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings, strategies as st

from nlc.diagnostics import CompileError
from nlc.train.checkpoint import checkpoints, latest_checkpoint, read_checkpoint, save_checkpoint

IDENTITY = {"name": "Tiny", "spec": "1", "tokenizer": "2"}


def save(run: Path, *steps: int) -> Path:
    for step in steps:
        path = save_checkpoint(run, step, IDENTITY, {"weights": torch.full((3, 2), float(step)), "step": step})
    return path


def problem(path: Path) -> str:
    with pytest.raises(CompileError) as caught:
        read_checkpoint(path)
    return str(caught.value)


def test_a_checkpoint_says_when_it_was_taken_of_what_and_holds_it(tmp_path: Path) -> None:
    found = read_checkpoint(save(tmp_path, 5))
    assert (found.step, found.identity, found.tree["step"]) == (5, IDENTITY, 5)
    assert torch.equal(found.tree["weights"], torch.full((3, 2), 5.0))


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    save(tmp_path, 1, 2, 30, 100)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000000030.safetensors", "step-000000100.safetensors"]
    assert latest_checkpoint(tmp_path).step == 100
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2


def test_the_same_values_are_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert save(tmp_path, 5).read_bytes() == save(tmp_path / "other", 5).read_bytes()


@settings(max_examples=60)
@given(data=st.data())
def test_any_other_byte_and_any_cut_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = save(tmp_path_factory.mktemp("run"), 1)
    content = path.read_bytes()
    if data.draw(st.booleans()):
        damaged = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        place = data.draw(st.integers(0, len(content) - 1))
        damaged = content[:place] + bytes([content[place] ^ data.draw(st.integers(1, 255))]) + content[place + 1 :]
    path.write_bytes(damaged)
    assert problem(path).startswith("NLC717")


def test_the_way_out_names_the_newest_checkpoint_that_is_whole(tmp_path: Path) -> None:
    path = save(tmp_path, 1, 2)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CompileError) as caught:
        latest_checkpoint(tmp_path)
    assert str(caught.value) == f"NLC717: {path} was cut short or changed since it was written"
    assert caught.value.diagnostics[0].help == f"remove it: {checkpoints(tmp_path)[0]} is whole, and the run goes on from there"
    checkpoints(tmp_path)[0].write_bytes(b"")
    with pytest.raises(CompileError) as caught:
        latest_checkpoint(tmp_path)
    assert caught.value.diagnostics[0].help == "no other checkpoint of this run is whole"


def test_no_checkpoint_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"NLC716: the run in .* has no checkpoint yet"):
        latest_checkpoint(tmp_path)


def test_a_full_disk_leaves_the_last_good_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1, 2)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CompileError, match=r"NLC711: .*step-000000003.safetensors cannot be written: No space left on device"):
        save(tmp_path, 3)
    assert latest_checkpoint(tmp_path).step == 2
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2
