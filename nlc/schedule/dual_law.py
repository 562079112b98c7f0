"""The laws of memories that move as one -> one linear law with given writes, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter

from nlc.ir.algebra import ZERO, Expr, LayerNorm, Named, Outer, Scale, State, StopGradient, When, walk
from nlc.ir.build import add, outer, replace as replaced, scale
from nlc.ir.dual import DualLaw, Feed, Flow, GivenWrite
from nlc.ir.expand import terms
from nlc.ir.law import Equation, Law, Laws
from nlc.ir.model import Model
from nlc.ir.program import Blocks
from nlc.ir.show import expression_text
from nlc.schedule.affine_form import peeled

NOT_EVERY_TOKEN = "it does not move once at every token"
NOT_HELD = "its gradient is taken at a state that moves at every token"
NO_BLOCKS = "levels, held values and resets have periods without a common divisor, so a block would be one token"

WIDEST = 80
"""A longer term is not shown in a reason."""


class NotLinear(Exception):
    """Why a law has no such form, as a sentence."""


def find_dual_law(laws: Laws, members: tuple[str, ...], blocks: Blocks) -> DualLaw | str | None:
    """The law of memories that move as one at every token, or why there is none; None where each is a tensor with a step of its own.

    More than that are several tensors, and a norm, whose gradient is told layer by layer.
    """
    components = [laws.order.model.component(name) for name in members]
    equations = (equation for name in members for equation in laws.law(name).equations)
    is_told_by_layers = any(isinstance(node, LayerNorm) for equation in equations for node in walk(equation.value))
    if not is_told_by_layers and all(len(component.states) == 1 for component in components):
        return None
    if rounds := [component.name for component in components if component.rounds > 1]:
        return f"{rounds[0]} starts again at every token, and moves several times in it by what is not linear in its start"
    if any(component.every.period != 1 or component.is_solved for component in components):
        return NOT_EVERY_TOKEN
    if not blocks.are_used:
        return NO_BLOCKS if blocks.tokens else NOT_HELD
    try:
        return _Reader(laws.order.model, frozenset(members), blocks).law(tuple(laws.law(name) for name in members))
    except NotLinear as reason:
        return str(reason)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the laws of `members`, whose states move at every token of a block."""

    model: Model
    members: frozenset[str]
    blocks: Blocks

    def law(self, members: tuple[Law, ...]) -> DualLaw:
        equations: list[Equation] = []
        flows, writes = [], []
        for law in members:
            named = self._abbreviations(law, equations)
            flow, written = self._flow(law, named)
            flows.append(flow)
            writes.extend(written)
        if not writes:
            raise NotLinear(f"{members[-1].component} is written nothing")
        return DualLaw(_in_order(flows), tuple(writes), tuple(_needed(equations, writes, flows)))

    def _abbreviations(self, law: Law, equations: list[Equation]) -> dict[str, Expr]:
        """What the names of a law stand for: equations of scalars and vectors, which are kept, or what they say."""
        named: dict[str, Expr] = {}
        for equation in law.equations:
            value = _written(equation.value, named)
            if equation.part is not None or len(value.shape) > 1 or self._moving(value):
                named[equation.name] = value
                continue
            same = next((item for item in equations if item.value == value), None)
            if same is None:
                taken = {item.name for item in equations}
                name = equation.name if equation.name not in taken else f"{law.component.replace('.', '_')}_{equation.name}"
                equations.append(same := replace(equation, name=name, value=value))
            named[equation.name] = Named(same.name, value.shape)
        return named

    def _moving(self, node: Expr) -> tuple[State, ...]:
        """The states of this memory in an expression that change from token to token."""
        return tuple(
            part for part in walk(node) if isinstance(part, State) and part.component in self.members and not self.blocks.is_steady(part)
        )

    def _flow(self, law: Law, named: dict[str, Expr]) -> tuple[Flow, list[GivenWrite]]:
        flows: dict[str, Flow] = {}
        writes: list[GivenWrite] = []
        for declared in self.model.component(law.component).states:
            equation = law.new_state(declared.part)
            state = State(law.component, declared.part, declared.shape, When.PREVIOUS)
            flows[declared.part], written = self._tensor(state, _written(equation.value, named))
            writes.extend(written)
        first, *others = flows.values()
        if any(flow != first for flow in others):
            raise NotLinear(f"the tensors of {law.component} move by different factors")
        return first, writes

    def _tensor(self, state: State, value: Expr) -> tuple[Flow, list[GivenWrite]]:
        """The new value of one tensor, term by term."""
        if len(state.shape) not in (1, 2):
            raise NotLinear(f"{state.component}.{state.part} is neither a matrix nor a vector")
        decay: list[Expr] = []
        feeds: dict[tuple[str, When], list[Expr]] = {}
        writes: list[GivenWrite] = []
        for coefficient, core in self._terms(state, value):
            match core:
                case State(source, part, when=when) if core in self._moving(core) and part == state.part and not self._moving(coefficient):
                    (decay if core == state else feeds.setdefault((source, when), [])).append(coefficient)
                case _ if self._moving(core) or self._moving(coefficient):
                    raise NotLinear(f"{_shown(scale(coefficient, core))} is not a moving state times a number known beforehand")
                case Outer(left, right) if len(state.shape) == 2:
                    writes.append(GivenWrite(state.component, state.part, scale(coefficient, left), right))
                case _ if len(state.shape) == 1:
                    writes.append(GivenWrite(state.component, state.part, scale(coefficient, core), None))
                case _:
                    raise NotLinear(f"{_shown(core)} is written, which is no outer product")
        fed = tuple(Feed(source, when, add(*parts)) for (source, when), parts in feeds.items())
        return Flow(state.component, add(*decay) if decay else ZERO, fed), writes

    def _terms(self, state: State, value: Expr) -> list[tuple[Expr, Expr]]:
        """The terms of a sum over all states of this memory that it reads, each as the product of its scalars, and the rest."""
        expanded = terms(_stopped_inside(value), state)
        for other in dict.fromkeys(self._moving(value)):
            expanded = tuple(term for part in expanded for term in terms(part, other))
        return [peeled(term) for term in expanded]


def _shown(term: Expr) -> str:
    text = expression_text(term)
    return text if len(text) <= WIDEST else "a term of its law"


def _written(node: Expr, named: dict[str, Expr]) -> Expr:
    return replaced(node, lambda part: named.get(part.name) if isinstance(part, Named) else None)


def _stopped_inside(node: Expr) -> Expr:
    """The expression with `stop_gradient` of matrices pushed into their factors."""

    def change(part: Expr) -> Expr | None:
        match part:
            case StopGradient(Scale(by, x)) if len(part.shape) == 2:
                return scale(StopGradient(by, ()), _stopped_inside(StopGradient(x, x.shape)))
            case StopGradient(Outer(left, right)):
                return outer(StopGradient(left, left.shape), StopGradient(right, right.shape))
        return None

    return replaced(node, change)


def _in_order(flows: list[Flow]) -> tuple[Flow, ...]:
    """Each level after those that feed it."""
    by_name = {flow.component: flow for flow in flows}
    try:
        order = tuple(TopologicalSorter({flow.component: [feed.source for feed in flow.feeds] for flow in flows}).static_order())
    except CycleError as error:
        raise NotLinear(f"{' and '.join(sorted(by_name))} feed one another") from error
    return tuple(by_name[name] for name in order)


def _needed(equations: list[Equation], writes: list[GivenWrite], flows: list[Flow]) -> list[Equation]:
    """The equations that something refers to."""
    values = DualLaw(tuple(flows), tuple(writes)).values
    wanted = {part.name for value in values for part in walk(value) if isinstance(part, Named)}
    kept: list[Equation] = []
    for equation in reversed(equations):
        if equation.name in wanted:
            kept.insert(0, equation)
            wanted |= {part.name for part in walk(equation.value) if isinstance(part, Named)}
    return kept
