"""What the command line says, or what a run wrote down -> the recipe and the settings that train, generate and evaluate share."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlc import pipeline
from nlc.codes import train as codes
from nlc.diagnostics import CompileError
from nlc.ir.clock import Family
from nlc.ir.contexts import contexts_of
from nlc.ir.program import Program
from nlc.places import UsageError, find_spec
from nlc.source import Source

if TYPE_CHECKING:
    from nlc.train import Recipe, Setting, TrainSettings

OPTIMIZER = "optimizers/adamw"


@dataclass(frozen=True, slots=True)
class Written:
    """What names a training run: specs by path or name, texts `key=value` that change the spec, and numbers for its constructors."""

    spec: str
    optimizer: str
    overrides: tuple[str, ...]
    numbers: Mapping[str, float]

    @property
    def as_json(self) -> dict[str, Any]:
        return {"path": self.spec, "optimizer": self.optimizer, "overrides": list(self.overrides), "numbers": dict(self.numbers)}


def new_run(spec: str, optimizer: str | None, pairs: Sequence[str]) -> tuple[Recipe, TrainSettings]:
    """The recipe and the settings that a command line asks for; raises CompileError and UsageError."""
    from nlc.train.settings import MODEL_SETTINGS, TRAIN_SETTINGS, memory_settings, model_settings, settings_from_pairs

    overrides = tuple(pair for pair in pairs if "." in _name(pair))
    program = _trained_program(spec, overrides)
    is_model = program.model.kind == "model"
    own = model_settings(program.model) if is_model else memory_settings(program.model, has_chunk=program.has_chunk)
    if optimizer is not None and is_model and not _left(program):
        raise UsageError(f"{spec} says itself what moves it; to change that, for example: --set 'outer.optimizer={optimizer}'")
    moved = _optimizer_program(optimizer or OPTIMIZER)
    numbers_of_optimizer = _optimizer_settings(moved, {item.name for item in own}, is_left=not is_model or _left(program))
    words = [pair for pair in pairs if pair not in overrides]
    settings, numbers = settings_from_pairs(words, (*own, *numbers_of_optimizer), MODEL_SETTINGS if is_model else TRAIN_SETTINGS)
    if is_model:
        names = {item.name for item in own}
        overrides = (*overrides, *(pair for pair in words if _name(pair) in names))
        numbers = {name: value for name, value in numbers.items() if name not in names}
    return recipe_of(Written(_kept(spec), _kept(optimizer or OPTIMIZER), overrides, numbers), settings), settings


def old_run(run: Path, spec: str | None = None) -> tuple[Recipe, TrainSettings]:
    """The recipe and the settings of a run, from its folder; `spec` says where its spec is now. Raises CompileError and UsageError."""
    from nlc.train import TrainSettings, read_settings

    content = read_settings(run)
    about = content["spec"]
    written = Written(_kept(spec) if spec else about["path"], about["optimizer"], tuple(about["overrides"]), about["numbers"])
    settings = TrainSettings(**content["settings"])
    return recipe_of(written, settings), settings


def recipe_of(written: Written, settings: TrainSettings) -> Recipe:
    """Compile what is named, and put a network around it unless it is one."""
    program, moved = _trained_program(written.spec, written.overrides), _optimizer_program(written.optimizer)
    module = load(program)
    return (_model_recipe if program.model.kind == "model" else _memory_recipe)(program, moved, module, written, settings)


def _memory_recipe(program: Program, moved: Program, module: Any, written: Written, settings: TrainSettings) -> Recipe:
    from nlc.train import fast_levels, memory_interface, memory_recipe
    from nlc.train.tokens import ALPHABET

    names = {item.name for item in moved.model.hyperparameters}
    try:
        memory = memory_interface(program.model, settings, {name: value for name, value in written.numbers.items() if name not in names})
    except ValueError as error:
        raise UsageError(str(error)) from error
    sizes = [dict(memory.arguments), written.as_json["numbers"], settings.layers, settings.d_model, settings.heads]
    return memory_recipe(
        getattr(module, program.model.name),
        getattr(module, "optimizers", None),
        memory,
        optimizer_of(moved, {name: value for name, value in written.numbers.items() if name in names}, settings.learning_rate),
        settings,
        vocabulary=settings.vocabulary if settings.tokens == "bpe" else ALPHABET,
        digest=_digest(program, moved, sizes),
        fast=fast_levels(program.model),
        made_of=written.as_json,
    )


def _model_recipe(program: Program, moved: Program, module: Any, written: Written, settings: TrainSettings) -> Recipe:
    from nlc.train import fast_levels, model_recipe

    model = program.model
    if settings.compiled and any(layer.model.slopes for layer in program.layers):
        raise CompileError(codes.compiled_learning(model.name))
    stream = next(item for item in model.inputs if item.integers is not None)
    assert stream.integers is not None
    return model_recipe(
        getattr(module, model.name),
        getattr(module, "optimizers", None),
        optimizer_of(moved, written.numbers, None),
        name=model.name,
        vocabulary=stream.integers.size({item.name: item.default for item in model.dims}),
        stream=stream.name,
        digest=_digest(program, moved, [list(written.overrides), written.as_json["numbers"]]),
        fast=fast_levels(model),
        made_of=written.as_json,
    )


def optimizer_of(program: Program, numbers: Mapping[str, float], learning_rate: float | None) -> Callable[[Any], Any]:
    """What makes the compiled optimizer for parameters; it has the rate of its spec when none is given."""
    made = getattr(load(program), program.model.name)
    is_rated = learning_rate is not None and any(item.name == "learning_rate" for item in program.model.hyperparameters)
    rates = {"learning_rate": learning_rate} if is_rated else {}
    return lambda parameters: made(parameters, **rates, **numbers)


def load(program: Program) -> Any:
    """The module that a program compiles to."""
    return pipeline.Compiled(program, pipeline.emit(program)).load()


def _trained_program(spec: str, overrides: Sequence[str]) -> Program:
    """The spec, compiled, when it is something to train."""
    program = pipeline.compile_program(find_spec(spec).spec, tuple(Source("--set", text) for text in overrides))
    if program.model.kind == "optimizer":
        raise UsageError(f"{spec} is an optimizer; architectures and models are trained")
    if slopes := program.model.slopes:
        assert slopes[0].slope is not None
        raise CompileError(codes.learns_in_context(program.model.name, slopes[0].slope.component))
    return program


def _optimizer_program(optimizer: str) -> Program:
    """The optimizer, compiled, when it can move all there is in a network."""
    moved = pipeline.compile_program(find_spec(optimizer).spec)
    if moved.model.kind != "optimizer":
        raise UsageError(f"{optimizer} is no optimizer")
    if moved.model.moves_matrices or contexts_of(moved.model):
        raise UsageError(f"{optimizer} moves matrices alone; what is trained around a memory has vectors too")
    return moved


def _optimizer_settings(moved: Program, taken: Collection[str], *, is_left: bool) -> list[Setting]:
    """The numbers of the optimizer that can be set, when something is left for it to move."""
    from nlc.train.settings import hyperparameter_settings

    return [item for item in hyperparameter_settings(moved.model) if is_left and item.name not in {*taken, "learning_rate"}]


def _left(program: Program) -> bool:
    """Whether something in a model has no optimizer of its own."""
    moved = {name for training in program.model.training for name in training.levels}
    return any(item.name not in moved for item in program.model.parameters if item.every.family is not Family.NEVER)


def _name(pair: str) -> str:
    return pair.partition("=")[0]


def _kept(name: str) -> str:
    """A spec's file from any folder, or the name of a shipped one as it is."""
    return str(Path(name).absolute()) if Path(name).is_file() else name


def _digest(program: Program, moved: Program, numbers: object) -> str:
    return sha256(json.dumps([program.model.digest, moved.model.digest, numbers], sort_keys=True).encode()).hexdigest()
