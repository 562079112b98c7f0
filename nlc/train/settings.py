"""Turns the `--set key=value` words of a command line into the settings of a training run and what they choose for the memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from math import isfinite
from typing import Any

from nlc.codes import train as codes
from nlc.diagnostics import Collector, CompileError
from nlc.ir.model import Model
from nlc.source import Source, Span

LARGEST_SIZE = 2**20


@dataclass(frozen=True, slots=True)
class Setting:
    """A number that can be set from outside: a whole one or any, between two bounds that belong to the range."""

    name: str
    is_whole: bool
    low: float | None = None
    high: float | None = None


def _setting(default: float, low: float, high: float) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """A training run in numbers. `length` and `batch` are of windows in bytes; `learning_rate` is the length of a step's gradient.

    Gradients are rescaled to length 1, so that the rate means the same for every memory; `decay` is the momentum's.
    """

    layers: int = _setting(2, 1, 64)
    d_model: int = _setting(128, 1, 2**14)
    heads: int = _setting(4, 1, 2**10)
    length: int = _setting(256, 1, 2**16)
    batch: int = _setting(16, 1, 2**12)
    steps: int = _setting(400, 1, 10**9)
    learning_rate: float = _setting(0.5, 0.0, 1e3)
    decay: float = _setting(0.9, 0.0, 1.0)
    warmup: int = _setting(20, 0, 10**9)
    seed: int = _setting(0, 0, 2**63 - 1)
    eval_every: int = _setting(50, 1, 10**9)
    eval_windows: int = _setting(64, 1, 2**16)


TRAIN_SETTINGS: tuple[Setting, ...] = tuple(
    Setting(item.name, isinstance(item.default, int), item.metadata["low"], item.metadata["high"]) for item in fields(TrainSettings)
)


def memory_settings(model: Model, *, has_chunk: bool) -> tuple[Setting, ...]:
    """What a user may choose of an architecture: its free dims, other axes and hyperparameters, and the chunk where there is one."""
    dims = (item.name for item in model.dims if item.definition is None)
    sizes = dict.fromkeys((*dims, *model.axes, *(axis for item in model.inputs for axis in item.axes), *(("chunk",) if has_chunk else ())))
    taken = {item.name for item in TRAIN_SETTINGS}
    known = [Setting(name, True, 1, LARGEST_SIZE) for name in sizes]
    known += [Setting(item.name, False) for item in model.hyperparameters]
    return tuple(item for item in known if item.name not in taken)


def settings_from_pairs(pairs: Sequence[str], others: Sequence[Setting] = ()) -> tuple[TrainSettings, dict[str, float]]:
    """The settings of the run, and the values of `others`, from texts `key=value`; raises CompileError about every bad one."""
    known = {item.name: item for item in (*others, *TRAIN_SETTINGS)}
    values: dict[str, float] = {}
    collector = Collector()
    for pair in pairs:
        with collector.collecting():
            name, value = _parsed(Source("--set", pair), known)
            if name in values:
                raise CompileError(codes.setting_twice(name, _whole_span(Source("--set", pair))))
            values[name] = value
    collector.raise_if_any()
    own = {item.name for item in TRAIN_SETTINGS}
    chosen: dict[str, Any] = {name: value for name, value in values.items() if name in own}
    return replace(TrainSettings(), **chosen), {name: value for name, value in values.items() if name not in own}


def _parsed(source: Source, known: dict[str, Setting]) -> tuple[str, float]:
    name, equals, text = source.text.partition("=")
    if not equals:
        raise CompileError(codes.not_a_pair(_whole_span(source)))
    name_span = Span(source, 0, len(name))
    value_span = Span(source, len(name) + 1, len(source.text))
    if name not in known:
        raise CompileError(codes.unknown_setting(name, name_span, known))
    setting = known[name]
    value = _number(text, setting)
    if value is None:
        raise CompileError(codes.not_a_number(name, value_span, is_whole=setting.is_whole))
    below, above = (setting.low is not None and value < setting.low), (setting.high is not None and value > setting.high)
    if below or above:
        raise CompileError(codes.setting_out_of_range(name, value_span, setting.low, setting.high))
    return name, value


def _number(text: str, setting: Setting) -> float | None:
    try:
        value = int(text) if setting.is_whole else float(text)
    except ValueError:
        return None
    return value if isfinite(value) else None


def _whole_span(source: Source) -> Span:
    return Span(source, 0, len(source.text))
