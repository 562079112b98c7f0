"""What the command line says, or what a run wrote down -> the recipe and the settings that train, generate and evaluate share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlc import pipeline
from nlc.ir.contexts import contexts_of
from nlc.ir.program import Program
from nlc.places import UsageError, find_spec
from nlc.source import Source

if TYPE_CHECKING:
    from nlc.train import Recipe, TrainSettings

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


def new_run(spec: str, optimizer: str, pairs: Sequence[str]) -> tuple[Recipe, TrainSettings]:
    """The recipe and the settings that a command line asks for; raises CompileError and UsageError."""
    from nlc.train.settings import hyperparameter_settings, memory_settings, settings_from_pairs

    overrides = tuple(pair for pair in pairs if "." in pair.partition("=")[0])
    program, moved = _programs(spec, optimizer, overrides)
    own = memory_settings(program.model, has_chunk=program.has_chunk)
    taken = {item.name for item in own}
    others = [item for item in hyperparameter_settings(moved.model) if item.name not in (*taken, "learning_rate")]
    settings, numbers = settings_from_pairs([pair for pair in pairs if pair not in overrides], (*own, *others))
    return recipe_of(Written(_kept(spec), _kept(optimizer), overrides, numbers), settings), settings


def old_run(run: Path, spec: str | None = None) -> tuple[Recipe, TrainSettings]:
    """The recipe and the settings of a run, from its folder; `spec` says where its spec is now. Raises CompileError and UsageError."""
    from nlc.train import TrainSettings, read_settings

    content = read_settings(run)
    about = content["spec"]
    written = Written(_kept(spec) if spec else about["path"], about["optimizer"], tuple(about["overrides"]), about["numbers"])
    settings = TrainSettings(**content["settings"])
    return recipe_of(written, settings), settings


def recipe_of(written: Written, settings: TrainSettings) -> Recipe:
    """Compile what is named and put a network around it."""
    from nlc.train import fast_levels, memory_interface, memory_recipe
    from nlc.train.tokens import ALPHABET

    program, moved = _programs(written.spec, written.optimizer, written.overrides)
    numbers = {item.name for item in moved.model.hyperparameters}
    chosen = {name: value for name, value in written.numbers.items() if name not in numbers}
    try:
        memory = memory_interface(program.model, settings, chosen)
    except ValueError as error:
        raise UsageError(str(error)) from error
    module = load(program)
    return memory_recipe(
        getattr(module, program.model.name),
        getattr(module, "optimizers", None),
        memory,
        optimizer_of(moved, {name: value for name, value in written.numbers.items() if name in numbers}, settings.learning_rate),
        settings,
        vocabulary=settings.vocabulary if settings.tokens == "bpe" else ALPHABET,
        digest=_digest(
            program, moved, [dict(memory.arguments), written.as_json["numbers"], settings.layers, settings.d_model, settings.heads]
        ),
        fast=fast_levels(program.model),
        made_of=written.as_json,
    )


def optimizer_of(program: Program, numbers: Mapping[str, float], learning_rate: float) -> Callable[[Any], Any]:
    """What makes the compiled optimizer for parameters."""
    made = getattr(load(program), program.model.name)
    rates = {"learning_rate": learning_rate} if any(item.name == "learning_rate" for item in program.model.hyperparameters) else {}
    return lambda parameters: made(parameters, **rates, **numbers)


def load(program: Program) -> Any:
    """The module that a program compiles to."""
    return pipeline.Compiled(program, pipeline.emit(program)).load()


def _programs(spec: str, optimizer: str, overrides: Sequence[str]) -> tuple[Program, Program]:
    """The spec and the optimizer, compiled, when they are something to train and something that trains."""
    program = pipeline.compile_program(find_spec(spec).spec, tuple(Source("--set", text) for text in overrides))
    if program.model.kind != "architecture":
        raise UsageError(f"{spec} is an {program.model.kind}; only architectures are trained")
    moved = pipeline.compile_program(find_spec(optimizer).spec)
    if moved.model.kind != "optimizer":
        raise UsageError(f"{optimizer} is no optimizer")
    if moved.model.moves_matrices or contexts_of(moved.model):
        raise UsageError(f"{optimizer} moves matrices alone; what is trained around a memory has vectors too")
    return program, moved


def _kept(name: str) -> str:
    """A spec's file from any folder, or the name of a shipped one as it is."""
    return str(Path(name).absolute()) if Path(name).is_file() else name


def _digest(program: Program, moved: Program, numbers: object) -> str:
    return sha256(json.dumps([program.model.digest, moved.model.digest, numbers], sort_keys=True).encode()).hexdigest()
