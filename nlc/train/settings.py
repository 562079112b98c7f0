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
    """What can be set from outside: one of some words, or a number, whole or any, between two bounds that belong to the range."""

    name: str
    is_whole: bool
    low: float | None = None
    high: float | None = None
    words: tuple[str, ...] = ()


def _setting(default: float, low: float, high: float, *, of_wrapper: bool = False) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "of_wrapper": of_wrapper})


def _choice(*words: str) -> Any:
    """One of some words; the first is the default."""
    return field(default=words[0], metadata={"words": words})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """A training run. `length` and `batch` are of windows in tokens; a step is on `batch * accumulate` windows.

    `layers`, `d_model`, `heads`, `learning_rate` and `vocabulary` (for BPE alone) are of the network around a memory; a model's spec has
    its own. Over the run, learning rates rise for `warmup` steps and then follow `schedule`, as parts of themselves. `clip` is the longest
    gradient, 0 for any. `text` is read at random or as a stream, in which fast states are carried from window to window.
    """

    layers: int = _setting(2, 1, 64, of_wrapper=True)
    d_model: int = _setting(128, 1, 2**14, of_wrapper=True)
    heads: int = _setting(4, 1, 2**10, of_wrapper=True)
    learning_rate: float = _setting(0.01, 0.0, 1e3, of_wrapper=True)
    length: int = _setting(256, 1, 2**20)
    batch: int = _setting(16, 1, 2**16)
    accumulate: int = _setting(1, 1, 2**16)
    steps: int = _setting(400, 1, 10**9)
    warmup: int = _setting(20, 0, 10**9)
    schedule: str = _choice("cosine", "linear", "constant")
    clip: float = _setting(1.0, 0.0, 1e9)
    text: str = _choice("random", "stream")
    tokens: str = _choice("bytes", "bpe")
    vocabulary: int = _setting(1024, 257, 2**20, of_wrapper=True)
    precision: str = _choice("float32", "bfloat16", "float64")
    compiled: int = _setting(0, 0, 1)
    device: str = _choice("cpu", "cuda")
    seed: int = _setting(0, 0, 2**63 - 1)
    eval_every: int = _setting(50, 1, 10**9)
    eval_windows: int = _setting(64, 1, 2**16)
    save_every: int = _setting(50, 1, 10**9)

    @property
    def tokens_per_step(self) -> int:
        return self.batch * self.accumulate * self.length


TRAIN_SETTINGS: tuple[Setting, ...] = tuple(
    Setting(
        item.name,
        isinstance(item.default, int),
        item.metadata.get("low"),
        item.metadata.get("high"),
        item.metadata.get("words", ()),
    )
    for item in fields(TrainSettings)
)
MODEL_SETTINGS = tuple(
    row for row, item in zip(TRAIN_SETTINGS, fields(TrainSettings), strict=True) if not item.metadata.get("of_wrapper", False)
)
"""What there is to set of the training of a model, whose spec says the rest."""


def settings_as_json(settings: TrainSettings, *, is_wrapped: bool) -> dict[str, Any]:
    """What makes the settings again; those of the network around a memory only where there is one."""
    return {row.name: getattr(settings, row.name) for row in (TRAIN_SETTINGS if is_wrapped else MODEL_SETTINGS)}


CHANGEABLE = ("steps", "eval_every", "eval_windows", "save_every")
"""What may be set anew when a run goes on."""


def memory_settings(model: Model, *, has_chunk: bool) -> tuple[Setting, ...]:
    """What a user may choose of an architecture: its free dims, other axes and hyperparameters, and the chunk where there is one."""
    dims = (item.name for item in model.dims if item.definition is None)
    sizes = dict.fromkeys((*dims, *model.axes, *(axis for item in model.inputs for axis in item.axes), *(("chunk",) if has_chunk else ())))
    taken = {item.name for item in TRAIN_SETTINGS}
    known = [Setting(name, True, 1, LARGEST_SIZE) for name in sizes]
    return tuple(item for item in (*known, *hyperparameter_settings(model)) if item.name not in taken)


def hyperparameter_settings(model: Model) -> tuple[Setting, ...]:
    """The numbers of a spec."""
    return tuple(Setting(item.name, False) for item in model.hyperparameters)


def model_settings(model: Model) -> tuple[Setting, ...]:
    """What a user may choose of a model: its free dims and its hyperparameters, but those that have a name that the run has too."""
    taken = {item.name for item in MODEL_SETTINGS}
    sizes = tuple(Setting(item.name, True, 1, LARGEST_SIZE) for item in model.dims if item.definition is None)
    return tuple(item for item in (*sizes, *hyperparameter_settings(model)) if item.name not in taken)


def settings_from_pairs(
    pairs: Sequence[str],
    others: Sequence[Setting] = (),
    own: Sequence[Setting] = TRAIN_SETTINGS,
    base: TrainSettings | None = None,
) -> tuple[TrainSettings, dict[str, float]]:
    """The settings of the run, and the values of `others`, from texts `key=value`; raises CompileError about every bad one.

    `own` are the settings of the run that can be set; what is not stays as it is in `base`.
    """
    known = {item.name: item for item in (*others, *own)}
    values: dict[str, Any] = {}
    collector = Collector()
    for pair in pairs:
        with collector.collecting():
            name, value = _parsed(Source("--set", pair), known)
            if name in values:
                raise CompileError(codes.setting_twice(name, _whole_span(Source("--set", pair))))
            values[name] = value
    collector.raise_if_any()
    names = {item.name for item in own} - {item.name for item in others}
    chosen = {name: value for name, value in values.items() if name in names}
    return replace(base or TrainSettings(), **chosen), {name: value for name, value in values.items() if name not in names}


def changed_settings(pairs: Sequence[str], base: TrainSettings) -> TrainSettings:
    """The settings of a run that goes on; raises CompileError for what cannot change."""
    fixed = {item.name for item in TRAIN_SETTINGS} - set(CHANGEABLE)
    collector = Collector()
    for pair in pairs:
        name = pair.partition("=")[0]
        if name in fixed:
            collector.add(codes.fixed_setting(name, _whole_span(Source("--set", pair)), CHANGEABLE))
    collector.raise_if_any()
    return settings_from_pairs(pairs, own=[item for item in TRAIN_SETTINGS if item.name in CHANGEABLE], base=base)[0]


def _parsed(source: Source, known: dict[str, Setting]) -> tuple[str, float | str]:
    name, equals, text = source.text.partition("=")
    if not equals:
        raise CompileError(codes.not_a_pair(_whole_span(source)))
    name_span = Span(source, 0, len(name))
    value_span = Span(source, len(name) + 1, len(source.text))
    if name not in known:
        raise CompileError(codes.unknown_setting(name, name_span, known))
    setting = known[name]
    if setting.words:
        if text not in setting.words:
            raise CompileError(codes.not_a_choice(name, value_span, setting.words))
        return name, text
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
