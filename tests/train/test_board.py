from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from nlc.diagnostics import CompileError
from nlc.train.board import open_board, require_board, scalars
from nlc.train.run import Metric

METRIC = Metric(
    step=7,
    train_loss=2.5,
    held_out_loss=None,
    tokens_per_second=100.0,
    seconds=3.0,
    learning_rate=0.1,
    gradient_norm=1.0,
    updates={"memory": 14},
    state_norms={"0.memory": 0.5},
)


class Writer:
    """What the package offers, as far as it is used."""

    made: tuple[str, int] = ("", 0)
    written: tuple[tuple[str, float, int], ...] = ()
    is_closed = False

    def __init__(self, folder: str, purge_step: int) -> None:
        Writer.made = (folder, purge_step)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        Writer.written = (*Writer.written, (name, value, step))

    def close(self) -> None:
        Writer.is_closed = True


def test_every_number_of_a_metric_has_a_name() -> None:
    assert scalars(METRIC) == {
        "train_loss": 2.5,
        "tokens_per_second": 100,
        "seconds": 3,
        "learning_rate": 0.1,
        "gradient_norm": 1,
        "updates/memory": 14,
        "state_norms/0.memory": 0.5,
    }


def test_metrics_go_to_the_board_and_continue_after_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("torch.utils.tensorboard")
    package.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", package)
    with open_board(tmp_path, True, 6) as board:
        board(METRIC)
    assert Writer.made == (str(tmp_path / "tensorboard"), 7), "what an earlier run wrote from step 7 on is purged"
    assert Writer.written == tuple((name, value, 7) for name, value in scalars(METRIC).items())
    assert Writer.is_closed


def test_nobody_needs_the_package_who_does_not_ask_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with open_board(tmp_path, False, 0) as board:
        board(METRIC)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(CompileError, match="NLC724: --tensorboard needs the package `tensorboard`") as caught:
        require_board()
    assert caught.value.diagnostics[0].help == "pip install 'nlc[tensorboard]'"
