"""The story of nlc: spec text -> Spec -> Model -> LevelOrder -> Laws -> Program -> module text -> evidence, one call per stage.

Each stage is imported when it is called, so that `nlc check` never loads what it does not need (torch, jinja2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nlc.ir.law import Laws
from nlc.ir.model import Model
from nlc.ir.order import LevelOrder
from nlc.ir.program import Program
from nlc.ir.spec import SpecFile
from nlc.overrides import overrides_of
from nlc.source import Source
from nlc.version import VERSION

if TYPE_CHECKING:
    from nlc.verify.report import ClaimsReport, Report
    from nlc.verify.verdict import Verdict


def parse(path: Path, overrides: Sequence[Source] = ()) -> SpecFile:
    """Spec text -> SpecFile: the composed spec, every word with its span; `overrides` are texts `key=value` that change it."""
    from nlc.parse import parse_file

    return parse_file(path, overrides)


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

    is_as_built = module_text == emit(program)
    report = verify_module(program, module_text, laws_of=lambda model: derive(order(model)), module=module, is_as_built=is_as_built)
    return replace(report, verdicts=_looked_at_again(report.verdicts))


def _looked_at_again(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Verdicts with a second opinion of every proof, modulo a prime of 61 bits."""
    from nlc.replay.check import look
    from nlc.verify.opinions import with_second_opinion

    return tuple(with_second_opinion(verdict, look) for verdict in verdicts)


def verify_claims(path: Path) -> ClaimsReport:
    """A file of claims -> ClaimsReport: every section through the stages up to its laws, then its claims decided. Loads no torch."""
    from nlc.parse.claims_file import parse_claims_file
    from nlc.verify.report import ClaimsReport

    file = parse_claims_file(path)
    sections = []
    for section in file.sections:
        laws = derive(order(resolve(section)))
        sections.append((laws.order.model.name, laws.order.model.says, _decided(laws)))
    return ClaimsReport(file.path, file.name.text, " ".join(file.says.text.split()) if file.says else "", tuple(sections))


def claims_of(path: Path) -> tuple[Verdict, ...]:
    """The verdicts on the claims of a spec or of a file of claims, without the squares. Loads no torch."""
    if is_claims_file(path):
        return verify_claims(path).verdicts
    return _decided(derive(order(resolve(parse(path)))))


def _decided(laws: Laws) -> tuple[Verdict, ...]:
    """The claims of a spec decided, and every proof looked at again."""
    from nlc.verify.claims import decide_claims

    return _looked_at_again(decide_claims(laws, lambda model: derive(order(model))))


def certificate(path: Path, report: Report | ClaimsReport) -> dict[str, Any]:
    """What was found about a file, as a certificate that `replay` accepts."""
    import platform

    from nlc.replay.check import SCHEMA, seal_of
    from nlc.verify.certificate import claims_part, tables

    text = path.read_bytes().replace(b"\r\n", b"\n")
    body: dict[str, Any] = {
        "schema": SCHEMA,
        "identity": {"file": path.name, "name": report.name, "sha256": sha256(text).hexdigest(), "nlc": VERSION},
        **claims_part(report.verdicts),
        "environment": {"python": platform.python_version(), "platform": platform.platform()},
        "measured": {**report.measured, **tables(report.verdicts)},
    }
    return {**body, "seal": seal_of(body)}


def replay(found: Mapping[str, Any]) -> tuple[str, ...]:
    """What is wrong with a certificate; nothing when a second look at its evidence agrees with it."""
    from nlc.replay.check import problems

    return tuple(problems(found))


def is_replayed(claim: Mapping[str, Any]) -> bool:
    """Whether a claim of a certificate has evidence that `replay` looks at."""
    from nlc.replay.check import replayed

    return replayed(claim)


def check_claims(path: Path) -> None:
    """Every section of a file of claims up to its laws; raises CompileError."""
    from nlc.parse.claims_file import parse_claims_file

    for section in parse_claims_file(path).sections:
        derive(order(resolve(section)))


def is_claims_file(path: Path) -> bool:
    """Whether a file holds claims rather than a spec."""
    from nlc.parse.claims_file import is_claims_file

    return is_claims_file(path)


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


def run_until(stage: str, path: Path, overrides: Sequence[Source] = ()) -> Any:
    """What the named stage gives for a spec file and its overrides; raises CompileError."""
    value: Any = parse(path, overrides)
    last = [item.name for item in STAGES].index(stage)
    for item in STAGES[1 : last + 1]:
        value = item.run(value)
    return value


def compile_program(path: Path, overrides: Sequence[Source] = ()) -> Program:
    """Every stage up to the program."""
    return schedule(derive(order(resolve(parse(path, overrides)))))


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


def compile_file(path: str | Path, **overrides: float | str) -> Compiled:
    """Compile a spec file; keyword arguments replace the defaults of its dims and hyperparameters, as `--set` does.

    Raises CompileError when the spec is wrong, or an override names nothing that it has.
    """
    program = compile_program(Path(path), overrides_of(overrides))
    return Compiled(program, emit(program))
