"""The metrics of a run -> scalars for TensorBoard, when the package `tensorboard` is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nlc.codes import train as codes
from nlc.diagnostics import CompileError
from nlc.train.run import BOARD, Metric

Board = Callable[[Metric], None]


@contextmanager
def open_board(run: Path, is_wanted: bool, step: int) -> Iterator[Board]:
    """Something to hand every metric to, which continues after `step`; it does nothing unless it `is_wanted`."""
    if not is_wanted:
        yield lambda metric: None
        return
    writer = _writer_class()(str(run / BOARD), purge_step=step + 1)
    try:
        yield lambda metric: _write(writer, metric)
    finally:
        writer.close()


def require_board() -> None:
    """Raises CompileError when the package is missing: before anything is written."""
    _writer_class()


def scalars(metric: Metric) -> dict[str, float]:
    """The numbers of a metric by name, those of levels and states below a heading."""
    found: dict[str, float] = {}
    for name, value in asdict(metric).items():
        if isinstance(value, dict):
            found.update({f"{name}/{key}": float(number) for key, number in value.items()})
        elif value is not None and name != "step":
            found[name] = float(value)
    return found


def _write(writer: Any, metric: Metric) -> None:
    for name, value in scalars(metric).items():
        writer.add_scalar(name, value, metric.step)


def _writer_class() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise CompileError(codes.missing_package("--tensorboard", "tensorboard", "tensorboard")) from error
    return SummaryWriter
