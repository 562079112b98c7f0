"""The story of nlc: spec text -> Spec -> Model -> LevelOrder -> Laws -> Program -> module text -> evidence, one call per stage.

Each stage is imported when it is called, so that `nlc check` never loads what it does not need (torch, jinja2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nlc.ir.law import Laws
from nlc.ir.model import Model
from nlc.ir.order import LevelOrder
from nlc.ir.program import Program
from nlc.ir.spec import Number, SpecFile

if TYPE_CHECKING:
    from nlc.verify.report import Report


def parse(path: Path) -> SpecFile:
    """Spec text -> SpecFile: the composed spec, every word with its span."""
    from nlc.parse import parse_file

    return parse_file(path)


def resolve(file: SpecFile) -> Model:
    """SpecFile -> Model: names bound, shapes known, defaults filled in."""
    from nlc.resolve import resolve_model

    return resolve_model(file)


def order(model: Model) -> LevelOrder:
    """Model -> LevelOrder: components sorted into levels by update frequency, with reasons."""
    from nlc.order import order_levels

    return order_levels(model)


def derive(levels: LevelOrder) -> Laws:
    """LevelOrder -> Laws: objectives and optimizers become update equations."""
    from nlc.derive import derive_laws

    return derive_laws(levels)


def schedule(laws: Laws) -> Program:
    """Laws -> Program: every memory gets a form, with the reasons."""
    from nlc.schedule import schedule_program

    return schedule_program(laws)


def emit(program: Program) -> str:
    """Program -> the text of a Python module that imports torch only."""
    from nlc.emit import emit_module

    return emit_module(program)


def verify(program: Program, module_text: str, module: str = "as compiled") -> Report:
    """Program and module text -> Report: squares that close or not, and claims decided."""
    from nlc.verify import verify_module

    return verify_module(program, module_text, laws_of=lambda model: derive(order(model)), module=module)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: what it takes, what it gives, and how `nlc show` prints what it gives."""

    name: str
    takes: str
    gives: str
    run: Callable[[Any], Any]
    show: Callable[[Any], str]


def _show_spec(file: SpecFile) -> str:
    from nlc.parse.show import spec_text

    return spec_text(file)


def _show_model(model: Model) -> str:
    from nlc.resolve.show import model_text

    return model_text(model)


def _show_order(levels: LevelOrder) -> str:
    from nlc.order.describe import describe_levels

    return describe_levels(levels)


def _show_laws(laws: Laws) -> str:
    from nlc.derive.describe import laws_text

    return laws_text(laws)


def _show_program(program: Program) -> str:
    from nlc.schedule.describe import program_text

    return program_text(program)


STAGES: tuple[Stage, ...] = (
    Stage("parse", "spec text", "SpecFile", parse, _show_spec),
    Stage("resolve", "SpecFile", "Model", resolve, _show_model),
    Stage("order", "Model", "LevelOrder", order, _show_order),
    Stage("derive", "LevelOrder", "Laws", derive, _show_laws),
    Stage("schedule", "Laws", "Program", schedule, _show_program),
    Stage("emit", "Program", "module text", emit, str),
)
"""The stages that transform; the seventh, `verify`, judges what they made."""


def run_until(stage: str, path: Path) -> Any:
    """What the named stage gives for a spec file; raises CompileError."""
    value: Any = path
    for item in STAGES:
        value = item.run(value)
        if item.name == stage:
            return value
    raise ValueError(f"there is no stage {stage!r}")


def compile_program(path: Path, overrides: Mapping[str, float] | None = None) -> Program:
    """Every stage up to the program; `overrides` replace the defaults of dims and hyperparameters."""
    file = parse(path)
    return schedule(derive(order(resolve(_overridden(file, overrides or {})))))


@dataclass(frozen=True, slots=True)
class Compiled:
    """A compiled spec: `source` is the module's text; nothing is written anywhere."""

    program: Program
    source: str = field(repr=False)

    def load(self) -> ModuleType:
        """The module, imported from its text."""
        from nlc.verify.load import load_source

        return load_source(self.source, self.program.model.name)

    def report(self) -> Report:
        """The evidence: squares and claims."""
        return verify(self.program, self.source)


def compile_file(path: str | Path, **overrides: float) -> Compiled:
    """Compile a spec file; keyword arguments replace the defaults of its dims and hyperparameters.

    Raises CompileError when the spec is wrong, ValueError when an override names nothing that the spec has.
    """
    program = compile_program(Path(path), overrides)
    return Compiled(program, emit(program))


def _overridden(file: SpecFile, overrides: Mapping[str, float]) -> SpecFile:
    spec = file.spec
    names = {item.name.text for item in spec.dims} | {item.name.text for item in spec.hyperparameters}
    if unknown := sorted(set(overrides) - names):
        raise ValueError(f"{spec.name.text} has no dim or hyperparameter {', '.join(unknown)}; it has {', '.join(sorted(names))}")
    values = {name: Number(Fraction(str(value))) for name, value in overrides.items()}
    dims = tuple(replace(item, value=values.get(item.name.text, item.value)) for item in spec.dims)
    hyperparameters = tuple(replace(item, value=values.get(item.name.text, item.value)) for item in spec.hyperparameters)
    return replace(file, spec=replace(spec, dims=dims, hyperparameters=hyperparameters))
