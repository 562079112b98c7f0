"""Statements -> a method of their own, and the call of it: what they read is what it is given."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from nlc.emit.layout import Lines, block, call, indented
from nlc.emit.names import MODULE_WORDS
from nlc.ir.algebra import WindowMean
from nlc.ir.law import Equation
from nlc.ir.model import Model

TYPES: Mapping[str, str] = MappingProxyType({"state": "dict[str, Tensor]", "before": "int"})
"""What a method is given that is no tensor."""

KNOWN = frozenset({*MODULE_WORDS, *dir(builtins)})
"""What every method knows."""


@dataclass(frozen=True, slots=True)
class Method:
    """A method's lines, as they stand in a class, and its name and arguments for who calls it."""

    name: str
    arguments: tuple[str, ...]
    lines: Lines

    @property
    def text(self) -> str:
        """The method as it stands in a class."""
        return "\n".join(f"    {line}" if line else line for line in self.lines)


@dataclass(frozen=True, slots=True)
class Apart:
    """The methods of levels that stand apart so far, and the variables of what they carry on, each a dict of some slots."""

    methods: list[Method] = field(default_factory=list)
    carried: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def call(self, method: Method, values: Sequence[str], carried: str, slots: Iterable[str], indent: int) -> Lines:
        """The statement that calls one more method, which gives values and what is carried of some slots."""
        self.methods.append(method)
        self.carried[carried] = tuple(slots)
        return call(f"{', '.join((*values, carried))} = self.{method.name}", method.arguments, "", indent)

    def carries(self, slot: str) -> bool:
        """Whether a method gives what is carried of a slot."""
        return any(slot in slots for slots in self.carried.values())

    @property
    def more(self) -> str:
        """What the state has beside what the others carry on."""
        return "".join(f" | {variable}" for variable in self.carried)


def stands_apart(model: Model, equations: Sequence[Equation]) -> bool:
    """Whether a level is solved in a method of its own: one of several pairs, which takes many lines, beside others."""
    return len(model.fast) > 1 and any(isinstance(equation.value, WindowMean) for equation in equations)


def method_of(name: str, says: str, statements: Sequence[Lines], result: Lines, kind: str) -> Method:
    """The method that runs statements, laid out for an indentation of 8, and ends with `result`, the return of values of a `kind`."""
    lines = block([*statements, result])
    arguments = tuple(dict.fromkeys(_free("\n".join(lines))))
    given = ["self", *(f"{item}: {TYPES.get(item, 'Tensor')}" for item in arguments)]
    return Method(name, arguments, (*call(f"def {name}", given, f" -> {kind}:", 4), *indented((f'"""{says}"""', *lines))))


def solving_method(
    component: str, where: str, says: str, statements: Sequence[Lines], values: Sequence[str], kept: Mapping[str, str]
) -> Method:
    """The method that runs a level: it gives values at every token, and what is carried on, by slot name."""
    result = (f"return {''.join(f'{value}, ' for value in values)}{{", *(f'    "{name}": {text},' for name, text in kept.items()), "}")
    kind = f"tuple[{'Tensor, ' * len(values)}dict[str, Tensor]]" if values else "dict[str, Tensor]"
    return method_of(f"_{component.replace('.', '_')}_{where}", says, statements, result, kind)


def _free(text: str) -> Iterator[str]:
    """The variables that statements read before they set them, as they come."""
    known = set(KNOWN)
    for statement in ast.parse(text).body:
        names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
        inside = {
            name.id
            for node in ast.walk(statement)
            if isinstance(node, ast.comprehension)
            for name in ast.walk(node.target)
            if isinstance(name, ast.Name)
        }
        yield from (name.id for name in names if isinstance(name.ctx, ast.Load) and name.id not in known | inside and name.id[0] != "_")
        known |= {name.id for name in names if isinstance(name.ctx, ast.Store)} - inside
