"""The law of a level that starts again at a tick and moves several times in it -> a loop, and what each round of it assigns."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from nlc.emit.layout import Lines, assignment, indented
from nlc.emit.names import LocalNames
from nlc.emit.torch_printer import TorchPrinter
from nlc.ir.algebra import Expr, Named, State, When, walk
from nlc.ir.law import Equation, Law

Printer = Callable[[dict[Expr, str]], TorchPrinter]
"""What prints an expression over some variables."""


def round_variable(law: Law, start: Equation, names: LocalNames) -> tuple[State, str]:
    """The state that a start is one of, as a round finds it, and the variable that has it from then on."""
    part = start.starts or ""
    state = State(law.component, part, start.value.shape, When.PREVIOUS)
    return state, names.new(law.new_state(part).name, law.component)


def rounds(law: Law, times: str, names: LocalNames, values: dict[Expr, str], printer: Printer, indent: int) -> Iterator[Lines]:
    """The loop; `values` has the variables of the states that its opening started, and learns what they are called after it."""
    own = dict(values)
    body: list[Lines] = []
    waiting: dict[str, str] = {}
    for place, equation in enumerate(law.round):
        named = Named(equation.name, equation.value.shape)
        state = State(law.component, equation.part or "", equation.value.shape, When.PREVIOUS)
        terms = printer(own).terms(equation.value)
        own[named] = values[state] if equation.part is not None else names.new(equation.name, law.component)
        if equation.part is not None:
            values[State(state.component, state.part, state.shape, When.CURRENT)] = values[state]
            if any(node == state for later in law.round[place + 1 :] for node in walk(later.value)):
                waiting[values[state]] = own[named] = names.new(f"new_{values[state]}")
        body.append(assignment(own[named], terms, indent + 4))
    if waiting:
        body.append(assignment(", ".join(waiting), [", ".join(waiting.values())], indent + 4))
    yield (f"for _ in range({times}):", *indented([line for lines in body for line in lines]))
