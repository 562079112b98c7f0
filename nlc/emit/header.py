"""A program -> the docstring of its module: where it comes from, levels, timetable, laws with their sources, forms and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePath

from nlc.emit.alike import kept_once, told_once
from nlc.emit.digest import HEADER
from nlc.emit.layout import WIDTH, Lines
from nlc.emit.prose import prose, sentence, wrapped
from nlc.ir.law import Equation, abbreviated_text, used_definitions
from nlc.ir.model import Training
from nlc.ir.program import MemoryProgram, Program
from nlc.ir.restarts import restart_equations

WIDEST_LIST = 66
"""A longer list of components goes on in the next line."""

WIDEST_EQUATION = 76
"""A longer equation has its source on the next line."""


def header(program: Program) -> Lines:
    """The lines of the docstring; the first stands beside the quotes."""
    lines = (*title_lines(program), *levels_lines(program), *_timetable(program), *laws_lines(program), *forms_lines(program))
    return tuple(line.rstrip() for line in lines)


def spec_path(path: str) -> str:
    """The path of a spec from its specs/ folder on; of a spec elsewhere, its name."""
    parts = PurePath(path).parts
    if "specs" in parts:
        return "/".join(parts[len(parts) - 1 - parts[::-1].index("specs") :])
    return parts[-1] if parts else "a spec"


def title_lines(program: Program) -> Iterator[str]:
    """What it is, and which spec it was compiled from."""
    model = program.model
    title = f"{model.name}: {sentence(model.says)}" if model.says else f"{model.name}."
    if len(title) <= 136:
        yield title
    else:
        yield f"{model.name}, compiled from its description."
        yield ""
        yield from wrapped(sentence(model.says))
    yield ""
    yield f"{HEADER} {prose(spec_path(model.path))}. Edit the spec, not this file."
    for override in model.overrides:
        yield from wrapped(f"Changed from outside by --set {prose(override)}", 136)
    yield f"sha256 of the spec: {model.digest}"


def levels_lines(program: Program) -> Iterator[str]:
    """The table of levels."""
    yield ""
    yield "Levels, fastest first (Nested Learning, Definition 2)"
    rows = [("rank", "components", "every", "paper's number (slowest highest / slowest first)")]
    for level in program.laws.order.levels:
        numbers = f"{level.number_slowest_highest} / {level.number_slowest_first}"
        first, *others = wrapped(", ".join(level.components), WIDEST_LIST)
        rows.append((str(level.speed_rank), first, str(level.clock), numbers))
        rows.extend(("", other, "", "") for other in others)
    yield from _table(rows)


def _timetable(program: Program) -> Iterator[str]:
    yield ""
    yield "Timetable"
    rows = [(clock, wrapped(", ".join(names), WIDEST_LIST)) for clock, names in program.timetable]
    yield from _table([(clock if place == 0 else "", line) for clock, lines in rows for place, line in enumerate(lines)])


def laws_lines(program: Program, room: int = WIDTH) -> Iterator[str]:
    """The laws of a system, and those of what trains it, in lines of at most `room` characters."""
    yield ""
    yield f"Laws, per {'step' if program.model.kind == 'optimizer' else 'token'}; prev is the state before"
    definitions, told = used_definitions(program.laws), told_once(program.laws.laws)
    groups = [
        ("abbreviations", definitions),
        *((item.law.component, item.law.equations) for item in told),
        ("outputs", program.laws.told_outputs),
    ]
    if kept := kept_once(program.laws.kept):
        groups.append(("kept", tuple(Equation(item.name, item.value, f"kept: {item.rule}") for item, _ in kept)))
    if resets := program.laws.resets:
        groups.append(("resets", tuple(equation for item in resets for equation in item.told)))
    for law in program.laws.endings:
        groups.append((law.component, tuple(replace(item, rule=f"when the sequence ends: {item.rule}") for item in law.equations)))
    yield from equation_lines(groups, definitions, room)
    for name, others in (*((item.law.component, item.others) for item in told), *((item.name, others) for item, others in kept)):
        if others:
            yield from (f"    {line}" for line in wrapped(f"as {name}, each with its own state: {', '.join(others)}", room - 4))
    yield from trainings_lines(program)


def trainings_lines(program: Program) -> Iterator[str]:
    """The laws of the optimizers of slow levels, each once, under all that they move."""
    moved: dict[Lines, list[str]] = {}
    for item, training in zip(program.model.training, program.laws.training, strict=True):
        laws = tuple(equation_lines([(law.component, law.equations) for law in training.laws]))
        moved.setdefault(laws, []).append(training_text(item))
    for laws, texts in moved.items():
        yield ""
        yield from (line for text in texts for line in wrapped(f"Laws of {text}", 136))
        yield from laws
    if restarts := restart_equations(program.model):
        yield ""
        yield "Slow levels that start again"
        yield from equation_lines([("restarts", restarts)])


def training_text(item: Training) -> str:
    """What moves which slow levels when."""
    gathered = "" if item.every.period == 1 else f", on the {item.reduce} of the gradients since the last update"
    return f"{item.optimizer.name}, every {item.every}{gathered}, for {', '.join(item.levels)}"


def equation_lines(
    groups: list[tuple[str, tuple[Equation, ...]]], definitions: tuple[Equation, ...] = (), room: int = WIDTH
) -> Iterator[str]:
    """Equations in columns, each with its source."""
    equations = [(name, equation) for name, group in groups for equation in group]
    names = max(len(equation.name) for _, equation in equations)
    texts = [abbreviated_text(equation, definitions) for _, equation in equations]
    width = max((len(text) for text in texts if len(text) <= WIDEST_EQUATION), default=0)
    for (_, equation), text in zip(equations, texts, strict=True):
        yield from _law(equation, text, names, width, room)


def _law(equation: Equation, text: str, names: int, width: int, room: int) -> Iterator[str]:
    source = "; ".join((prose(equation.rule), *(prose(cite) for cite in equation.cites)))
    start = f"    {equation.name:<{names}}  = {text:<{width}}"
    if len(text) <= width and len(start) + 2 + len(source) <= room:
        yield f"{start}  {source}"
        return
    lines = wrapped(text, room - 8 - names)
    yield f"    {equation.name:<{names}}  = {lines[0]}"
    yield from (f"{' ' * (names + 8)}{line}" for line in lines[1:])
    yield from (f"{' ' * (names + 8)}{line}" for line in wrapped(source, room - 10 - names))


def forms_lines(program: Program, room: int = WIDTH) -> Iterator[str]:
    """The form of each memory, and why, in lines of at most `room` characters."""
    if program.memories:
        yield ""
        yield "Form" if len(program.memories) == 1 else "Forms"
    alike: dict[Lines, list[str]] = {}
    for memory in program.memories:
        alike.setdefault(tuple(_form(program, memory, room)), []).append(memory.title)
    for (form, *reasons), titles in alike.items():
        yield f"    {', '.join(titles)}: {form}"
        yield from reasons


def _form(program: Program, memory: MemoryProgram, room: int) -> Iterator[str]:
    """A memory's form with its sources, then the reasons."""
    taken = next((item for item in program.decisions if item.component == memory.component and item.taken), None)
    sources = f" ({', '.join(taken.cites)})" if taken and taken.cites else ""
    yield f"{memory.form.value}{sources}"
    reasons = [f"{memory.classified.because} ({memory.classified.transition.value})", *([taken.because] if taken else [])]
    for reason in reasons:
        yield from (f"        {line}" for line in wrapped(sentence(reason[:1].upper() + reason[1:]), room - 10))


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Rows in columns, indented."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "    " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
