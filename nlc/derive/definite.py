"""Whether a matrix is surely positive definite, so that `solve` has one solution: by its parts, and by what its levels have written.

A level that begins at zero, forgets by numbers that are not negative and is written outer products x x^T stays positive semidefinite, and a
positive multiple of the identity, added to it or as what it begins at, makes it definite.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nlc.codes import derive as codes
from nlc.derive.gradient import DerivativeTooLarge, gradient
from nlc.derive.signs import is_never_negative, is_positive
from nlc.diagnostics import Diagnostic
from nlc.ir.algebra import Add, Expr, Eye, MatMul, Outer, Scale, Spread, State, StopGradient, Transpose, When, is_number, walk
from nlc.ir.build import negate, transpose
from nlc.ir.calculus import Inverse
from nlc.ir.model import Component, GradientDescent, Model
from nlc.ir.show import expression_text
from nlc.source import Span


def solves(model: Model) -> Iterator[Diagnostic]:
    """A system of equations has one solution whatever the streams are, at the first token too."""
    for span, value in _expressions(model):
        for node in walk(value):
            if isinstance(node, Inverse) and (culprit := Definiteness(model).culprit(node.x)) is not None:
                yield codes.no_unique_solution(span, expression_text(node.x), expression_text(culprit))


def _expressions(model: Model) -> Iterator[tuple[Span, Expr]]:
    for component in model.components:
        rate = (component.optimizer.rate,) if isinstance(component.optimizer, GradientDescent) else ()
        yield from ((component.objective_span, value) for value in dict.fromkeys((component.objective, component.follows)))
        yield from ((component.span, value) for value in (*component.retention, *component.init, *rate))
    yield from ((output.span, output.value) for output in model.outputs)


@dataclass(frozen=True, slots=True)
class Definiteness:
    """What is known of matrices; `assumed` are levels that are taken to be positive semidefinite, until a step of theirs says otherwise."""

    model: Model
    assumed: frozenset[str] = frozenset()

    def culprit(self, node: Expr) -> Expr | None:
        """The part of a matrix that keeps it from being positive definite: the matrix itself when there is no ridge."""
        parts = node.terms if isinstance(node, Add) else (node,)
        loose = next((part for part in parts if not self.is_semidefinite(part)), None)
        return loose if loose is not None else None if any(self._is_definite(part) for part in parts) else node

    def _is_definite(self, node: Expr) -> bool:
        match node:
            case Scale(by, x):
                return is_positive(self.model, by) and self._is_definite(x)
            case Inverse(x) | StopGradient(x) | Transpose(x):
                return self.culprit(x) is None
            case State(component):
                return self._begins_definite(self.model.component(component))
        return isinstance(node, Eye)

    def is_semidefinite(self, node: Expr) -> bool:
        """Whether x^T node x is surely not negative, for any x, and the matrix symmetric."""
        match node:
            case Add(terms):
                return all(self.is_semidefinite(term) for term in terms)
            case Scale(by, x):
                return is_never_negative(self.model, by) and self.is_semidefinite(x)
            case Outer(left, right):
                return left == right
            case MatMul(left, right):
                return right == transpose(left)
            case StopGradient(x) | Transpose(x):
                return self.is_semidefinite(x)
            case State(component):
                return self._stays_semidefinite(self.model.component(component))
        return is_number(node, 0) or self._is_definite(node)

    def _begins_definite(self, level: Component) -> bool:
        """Whether a level that stays positive semidefinite starts positive definite, and forgets at most a share: then it stays that."""
        kept = (_same_everywhere(item) for item in level.retention)
        is_kept = all(number is not None and is_positive(self.model, number) for number in kept)
        inside = Definiteness(self.model, self.assumed | {level.name})
        begins = bool(level.init) and all(inside.culprit(start) is None for start in level.init)
        return level.name not in self.assumed and is_kept and begins and self._stays_semidefinite(level)

    def _stays_semidefinite(self, level: Component) -> bool:
        """Whether a level is positive semidefinite when it starts, and stays so with every update."""
        if level.name in self.assumed:
            return True
        inside = Definiteness(self.model, self.assumed | {level.name})
        is_plain = len(level.states) == 1 and not level.has_inlined_optimizer and isinstance(level.optimizer, GradientDescent)
        if not is_plain or not all(inside.is_semidefinite(start) for start in level.init) or self.model.is_parameter(level.name):
            return False
        state = State(level.name, level.states[0].part, level.states[0].shape, When.FITTED)
        try:
            written = negate(gradient(level.objective, state))
        except DerivativeTooLarge:
            return False
        assert isinstance(level.optimizer, GradientDescent)
        numbers = (level.optimizer.rate, *(_same_everywhere(item) for item in level.retention))
        is_kept = all(number is not None and number.shape == () and is_never_negative(self.model, number) for number in numbers)
        return is_kept and inside.is_semidefinite(written)


def _same_everywhere(node: Expr) -> Expr | None:
    """The one number by which all entries are multiplied; None where they differ."""
    return node.x if isinstance(node, Spread) and node.axis is None else node if node.shape == () else None
