"""Decides equalities about one tick of a system: laws and two expressions in, normal forms, conditions and a trace out.

In a claim a state's CURRENT value is the one after this tick, its PREVIOUS value the one before. The laws are run once, in the order
of the tick, over whatever the caller computes with: normal forms here, fractions or floats in `counterexample`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal as OneOf, TypeVar

from nlc.ir.algebra import (
    LEAVES,
    Compare,
    Constant,
    Divide,
    Due,
    Expr,
    Eye,
    Full,
    Map,
    Named,
    Parameter,
    Power,
    Size,
    State,
    When,
    Where,
    walk,
)
from nlc.ir.build import replace as replace_parts
from nlc.ir.calculus import Derivative, Embedding, Inverse, LastUnit
from nlc.ir.law import Equation, Law, Laws
from nlc.ir.recents import Recent
from nlc.ir.show import expression_text
from nlc.verify.assumptions import Rule, rewritten, rules_of
from nlc.verify.differentials import gradient
from nlc.verify.inverses import without_inverses
from nlc.verify.letters import Inverse as Reciprocal
from nlc.verify.normal_form import Values, normal_form
from nlc.verify.polynomial import Polynomial, letter_polynomial, subtract
from nlc.verify.products import top_entries
from nlc.verify.quotients import clear_denominators, reciprocal
from nlc.verify.signs import NOTHING_KNOWN, Signs, signs_of
from nlc.verify.spelling import spelled, spelled_text
from nlc.verify.stacks import without_stacks

Value = TypeVar("Value")
Evaluate = Callable[[Expr, Mapping[Expr, Value]], Value]

SAME = "another name of the same"
RULE = "normal form: products distribute over sums, inner products are symmetric and commute with everything"


StepKind = OneOf[
    "words",
    "definition",
    "assumption",
    "positive bound",
    "nonnegative bound",
    "part",
    "equality",
    "convex",
    "positive",
    "nonnegative",
    "conclusion",
]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a proof: what became what, by which rule; `sides` are both as expressions, and `kind` says how to replay them."""

    before: str
    after: str
    rule: str
    cites: tuple[str, ...] = ()
    kind: StepKind = "words"
    sides: tuple[Expr, ...] = ()

    def __str__(self) -> str:
        cited = f" ({', '.join(self.cites)})" if self.cites else ""
        return f"{self.before} = {self.after}    [{self.rule}{cited}]"


@dataclass(frozen=True, slots=True)
class Equality:
    """Two sides in normal form; `residual` is left - right, and `conditions` what one side alone needs in order to be defined."""

    left: Polynomial
    right: Polynomial
    residual: Polynomial
    holds: bool
    conditions: tuple[str, ...] = ()
    trace: tuple[Step, ...] = ()

    @property
    def same_form(self) -> bool:
        """Whether both sides are sums of the same words, be it with other coefficients."""
        return {word for _, word in self.left.terms} == {word for _, word in self.right.terms}


# --- one tick ----------------------------------------------------------------------------------------------------


def one_tick(laws: Laws, before: Mapping[Expr, Value], evaluate: Evaluate[Value]) -> dict[Expr, Value]:
    """The values of leaves after a tick at which every level is due: those before it, and every state's CURRENT value."""
    values = dict(before)
    for law in laws.laws:
        values.update(_moved(law, values, evaluate))
    return values


def outputs(laws: Laws, after: Mapping[Expr, Value], evaluate: Evaluate[Value]) -> dict[str, Value]:
    """The outputs at the end of a tick, by name."""
    values = dict(after)
    found: dict[str, Value] = {}
    for equation in laws.outputs:
        found[equation.name] = evaluate(equation.value, values)
        values[Named(equation.name, equation.value.shape)] = found[equation.name]
    return found


def _moved(law: Law, before: Mapping[Expr, Value], evaluate: Evaluate[Value]) -> dict[Expr, Value]:
    values = dict(before)
    new: dict[Expr, Value] = {}
    for equation in law.equations:
        value = evaluate(equation.value, values)
        values[Named(equation.name, equation.value.shape)] = value
        if equation.part is not None:
            new[State(equation.owner or law.component, equation.part, equation.value.shape)] = value
    return new


def all_due(laws: Laws) -> Laws:
    """The laws at a tick at which every level is due, which is the tick that a claim is about."""

    def change(node: Expr) -> Expr | None:
        return all_due_in(node.then) if isinstance(node, Where) and isinstance(node.condition, Due) else None

    def all_due_in(node: Expr) -> Expr:
        return replace_parts(node, change)

    def moved(law: Law) -> Law:
        return replace(law, equations=tuple(replace(item, value=all_due_in(item.value)) for item in law.equations))

    return replace(laws, laws=tuple(moved(law) for law in laws.laws))


def settled(node: Expr, laws: Laws) -> Expr:
    """The claim's expression with outputs written out, and states that no law moves read before the tick: nothing changes them."""
    moved = {law.component for law in laws.laws}
    shown = {Named(output.name, output.value.shape): output.value for output in laws.outputs}

    def change(part: Expr) -> Expr | None:
        match part:
            case State(component, name, shape) if laws.order.model.is_parameter(component):
                return Parameter(component, name, shape)
            case State(part=name, when=When.HELD, period=period):
                return replace(part, part=f"{name}.held_{period}".lstrip("."), when=When.PREVIOUS, period=0)
            case State(component, when=When.CURRENT) if component not in moved:
                return replace(part, when=When.PREVIOUS)
            case Named() if part in shown:
                return settled(shown[part], replace(laws, outputs=()))
        return None

    return replace_parts(node, change)


# --- only what matters -------------------------------------------------------------------------------------------


def needed(laws: Laws, *goals: Expr) -> Laws:
    """The laws, cut down to the equations on which the goals depend."""
    wanted = {leaf for goal in goals for leaf in walk(goal)}
    kept: list[Law] = []
    for law in reversed(laws.laws):
        equations: list[Equation] = []
        for equation in reversed(law.equations):
            shape = equation.value.shape
            is_state = equation.part is not None and State(equation.owner or law.component, equation.part, shape) in wanted
            if is_state or Named(equation.name, shape) in wanted:
                equations.append(equation)
                wanted.update(walk(equation.value))
        wanted = {leaf for leaf in wanted if not isinstance(leaf, Named)}
        if equations:
            kept.append(replace(law, equations=tuple(reversed(equations))))
    return replace(laws, laws=tuple(reversed(kept)), outputs=())


def free_leaves(laws: Laws, *goals: Expr) -> tuple[Expr, ...]:
    """The leaves whose values decide the goals, in order of appearance: states and streams before the tick, inputs, hyperparameters."""
    expressions = (*(equation.value for law in laws.laws for equation in law.equations), *goals)
    found = dict.fromkeys(part for expression in expressions for part in walk(expression) if isinstance(part, (*LEAVES, Recent)))
    moved = {law.component for law in laws.laws}
    return tuple(leaf for leaf in found if _is_free(leaf, moved))


def _is_free(leaf: Expr, moved: set[str]) -> bool:
    match leaf:
        case State(component, when=When.CURRENT):
            return component not in moved
        case Constant() | Size() | Named() | Full() | Eye() | Embedding() | LastUnit():
            return False
    return True


# --- deciding ----------------------------------------------------------------------------------------------------


def decide(
    left: Expr, right: Expr, laws: Laws, known: Values, assumed: tuple[tuple[Expr, Expr], ...] = (), bounds: Sequence[Compare] = ()
) -> Equality:
    """Whether two expressions are equal after one tick; `known` are leaves with given values, `assumed` equations hold after it.

    Raises LimitReached when a normal form grows too large and ZeroDivisionError when a side divides by the number 0.
    """
    signs = signs_of(laws.order.model, bounds)
    first, first_needs = _normal_side(left, laws, known, signs)
    second, second_needs = _normal_side(right, laws, known, signs)
    pairs = (tuple(_normal_side(side, laws, known, signs)[0] for side in pair) for pair in assumed)
    rules = tuple(rule for pair in pairs for rule in rules_of(*pair))
    residual = settled_difference(subtract(first, second), rules)
    one_sided = {**first_needs, **second_needs}.items()
    conditions = tuple(text for key, text in one_sided if (key in first_needs) != (key in second_needs))
    conclusion = Step(expression_text(left), expression_text(right), "what was to be shown", (), "conclusion", (left, right))
    trace = (*law_steps(needed(laws, left, right)), *_side_steps((left, first), (right, second)), conclusion)
    return Equality(first, second, subtract(first, second), residual.is_zero, conditions, trace)


def settled_difference(difference: Polynomial, rules: Sequence[Rule]) -> Polynomial:
    """Zero when the difference follows to be zero: denominators and inverses multiplied out, what is assumed put in."""
    residual = without_inverses(clear_denominators(rewritten(without_stacks(difference), rules)))
    return clear_denominators(rewritten(residual, rules))


def law_steps(laws: Laws) -> Iterator[Step]:
    """What the laws define, in order."""
    for law in laws.laws:
        for equation in law.equations:
            after = law.component if equation.part == "" else f"{law.component}.{equation.part}"
            name = equation.name if equation.part is None else after
            shape = equation.value.shape
            named = Named(equation.name, shape)
            leaf = named if equation.part is None else State(equation.owner or law.component, equation.part, shape)
            rule = f"law of {law.component}: {equation.rule}"
            yield Step(name, expression_text(equation.value), rule, equation.cites, "definition", (leaf, equation.value))
            if leaf != named:
                yield Step(equation.name, name, SAME, (), "definition", (named, leaf))


def bound_steps(signs: Signs, *sides: Expr) -> Iterator[Step]:
    """The ranges and bounds that the sides' leaves have."""
    kinds: tuple[tuple[frozenset[Expr], StepKind, str], ...] = (
        (signs.positive, "positive bound", "> 0"),
        (signs.nonnegative, "nonnegative bound", ">= 0"),
    )
    for leaf in dict.fromkeys(part for side in sides for part in walk(side)):
        for known, kind, text in kinds:
            if leaf in known:
                yield Step(expression_text(leaf), text, "what is declared or given", (), kind, (leaf,))


def _side_steps(*sides: tuple[Expr, Polynomial]) -> Iterator[Step]:
    for side, form in sides:
        text, settled_text = expression_text(side), spelled_text(form)
        if isinstance(side, Derivative):
            derived = gradient(side.of, side.by)
            written = expression_text(derived)
            rule = f"gradient with respect to {expression_text(side.by)}"
            yield Step(text, written, rule, ("calculus",), "equality", (side, derived))
            text, side = written, derived
        if text != settled_text:
            yield Step(text, settled_text, RULE, ("calculus",), "equality", (side, spelled(form)))


# --- where the sides are defined ---------------------------------------------------------------------------------


def _normal_side(side: Expr, laws: Laws, known: Values, signs: Signs) -> tuple[Polynomial, dict[str, str]]:
    """One side in normal form, and what must hold for it to be defined."""
    needs: dict[str, str] = {}
    evaluate = recording(needs, signs)
    return evaluate(side, one_tick(needed(laws, side), known, evaluate)), needs


def recording(needs: dict[str, str], signs: Signs = NOTHING_KNOWN) -> Evaluate[Polynomial]:
    """`normal_form`, noting in `needs` a canonical key and a text for everything that must hold for a value to be defined.

    What follows from known signs is left out.
    """

    def evaluate(node: Expr, values: Values) -> Polynomial:
        for part in walk(node):
            needs.update(_conditions(part, values, signs))
        return normal_form(node, values)

    return evaluate


def _conditions(node: Expr, values: Values, signs: Signs) -> Iterator[tuple[str, str]]:
    match node:
        case Divide(_, by):
            yield from _not_zero(normal_form(by, values), signs)
        case Power(x, Constant(exponent)) if exponent < 0:
            yield from _not_zero(normal_form(x, values), signs)
        case Inverse(x):
            form = normal_form(x, values)
            if not signs.is_definite(form):
                yield f"invertible[{form.key}]", f"{spelled_text(form)} is invertible"
        case Map("sqrt" | "log" as function, x):
            form = normal_form(x, values)
            if form.number is None and not (signs.is_positive(form) or (function == "sqrt" and signs.at_least_zero(form))):
                yield f"{function}[{form.key}]", f"{spelled_text(form)} {'>=' if function == 'sqrt' else '>'} 0"


def _not_zero(divisor: Polynomial, signs: Signs) -> Iterator[tuple[str, str]]:
    """The factors of a divisor that may be zero."""
    inverse = reciprocal(divisor)
    for factors, word in inverse.ordered:
        below = [letter for letter, exponent in factors if exponent < 0 or isinstance(letter.meaning, Reciprocal)]
        below += [entry[0] for entry, exponent in top_entries(word, inverse.columns) if len(entry) == 1 and exponent < 0]
        for letter in below:
            of = letter.meaning.of if isinstance(letter.meaning, Reciprocal) else letter_polynomial(letter)
            if not signs.letter_is_positive(letter):
                yield f"zero[{of.key}]", f"{spelled_text(of)} != 0"
