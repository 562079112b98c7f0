"""Decides whether two systems compute the same: by induction over ticks where it can, else by running both.

Architectures must give equal outputs from zero states, optimizers equal `weights` from equal weights and otherwise zero states. A
relation of the states is guessed from the first ticks (see `relations`); that every tick preserves it, and that it makes what is observed
equal, is then proved by normal form. Where that fails, both are run over a few ticks in exact arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction

from nlc.ir.algebra import Expr, Hyperparameter, Index, Input, walk
from nlc.ir.law import POSITION, PREVIOUS, RECENT, Laws
from nlc.ir.model import Model, SameAsClaim
from nlc.ir.show import expression_text
from nlc.verify.arithmetic import Arithmetic
from nlc.verify.counterexample import Compare, Pairs, Question, Search, Unknown, search, unknown
from nlc.verify.effort import LimitReached
from nlc.verify.held_values import held_after, held_at_first, is_followed
from nlc.verify.measure import Table, gap
from nlc.verify.normal_form import normal_form
from nlc.verify.polynomial import subtract
from nlc.verify.proofs import Step, recording
from nlc.verify.quotients import clear_denominators
from nlc.verify.rational import Sizes, Tensor, evaluate
from nlc.verify.relations import GENERAL, Relation, guess, preserved, start_of
from nlc.verify.system_steps import induction_steps, run_steps
from nlc.verify.twins import Twins, at_tick, initial, moment, observed, step
from nlc.verify.verdict import Finding, VerdictWord

INDUCTION = "induction over ticks"
RUNS = "exact runs of both systems"
MOST_TICKS = 4
MEASURED_TICKS, MEASURED_RUNS = 64, 2
SAMPLES = 24


def decide_same_as(claim: SameAsClaim, this: Laws, other: Laws) -> Finding:
    """The verdict on the system of `this` computing what that of `other` does."""
    twins = Twins(claim, this, other)
    obstacle = next(_obstacles(twins), None)
    if obstacle is not None:
        return Finding(verdict="unknown", method="none", detail=obstacle)
    try:
        finding = _by_induction(twins)
    except (LimitReached, ZeroDivisionError):
        finding = None
    return finding if finding is not None else _by_runs(twins)


def _obstacles(twins: Twins) -> Iterator[str]:
    """Why the two cannot be compared by these methods."""
    models = (twins.model, twins.other_model)
    if models[0].kind != models[1].kind:
        yield f"{models[0].name} is of kind {models[0].kind}, {models[1].name} of kind {models[1].kind}"
    if not twins.observed:
        yield "the two have no output of the same name and shape"
    for leaf, _ in twins.claim.given:
        if not isinstance(leaf, Input | Hyperparameter):
            yield f"{expression_text(leaf)} is given, but a state has a value of its own at every tick"
    for stream in twins.other_model.inputs:
        if twins.read_as(Input(stream.name, stream.shape)) is None:
            yield f"nothing says what the input {stream.name} of {twins.other_model.name} is: bind it under `where:`"
    for laws in (twins.this, twins.other):
        unit = laws.order.model.unit
        if laws.order.model.recents:
            yield f"{laws.order.model.name} has delays or convolutions, which these methods do not follow"
        if _has_windows(laws):
            yield f"a level of {laws.order.model.name} is solved over a window, which is followed where a gap is measured alone"
        has_periods = bool(laws.resets) or any(item.component not in (POSITION, PREVIOUS, RECENT) for item in laws.kept)
        if has_periods and not is_followed(laws):
            yield f"{laws.order.model.name} has periods of several {unit}s, which these methods do not follow"
        if laws.beginnings:
            yield f"levels of {laws.order.model.name} outlast a sequence, which these methods do not follow"
        if laws.order.model.updates_per_tick > 1:
            yield f"{laws.order.model.name} has several updates a {unit}, which these methods do not follow"
        if laws.in_rounds:
            yield f"{' and '.join(sorted(laws.in_rounds))} of {laws.order.model.name} move in rounds, which these methods do not follow"
        if len({law.clock for law in laws.laws}) > 1:
            yield f"the levels of {laws.order.model.name} move on different clocks, which is not compared yet"
        for component in laws.order.model.components:
            if component.init:
                yield f"{component.name} of {laws.order.model.name} starts from an expression, which is not compared yet"


# --- induction ---------------------------------------------------------------------------------------------------


def _by_induction(twins: Twins) -> Finding | None:
    """A proof that the guessed relations hold at every tick and make what is observed equal; None when there is none."""
    if _reads_bound_past(twins):
        return None
    relations = preserved(twins, guess(twins))
    this, other = step(twins, GENERAL, *start_of(twins, relations), normal_form, {})
    left, right = observed(twins, this, other, normal_form)
    if not all(clear_denominators(subtract(left[name], right[name])).is_zero for name in left):
        return None
    needs = _needs(twins, relations).items() - _needs(Twins(replace(twins.claim, bindings=()), twins.this, twins.this), ()).items()
    conditions = tuple(sorted({text for _, text in needs} | {text for relation in relations for text in relation.conditions}))
    steps = tuple(induction_steps(twins, relations)) if _is_of_one_world(twins) else ()
    told = tuple(_invariant(relation, twins) for relation in relations)
    invariants = "; ".join(f"{item.before} = {item.after}" for item in told)
    trace = (*told, *steps, *_agreements(twins, left))
    detail = f"{', '.join(left)} agree at every tick, for all sizes and values; throughout, {invariants or 'no state needs to match'}"
    word: VerdictWord = "proved-if" if conditions else "proved"
    return Finding(verdict=word, method=INDUCTION, detail=detail, conditions=conditions, trace=trace)


def _needs(twins: Twins, relations: tuple[Relation, ...]) -> dict[str, str]:
    """What must hold for a tick of both systems to be defined."""
    needs: dict[str, str] = {}
    evaluate = recording(needs)
    observed(twins, *step(twins, GENERAL, *start_of(twins, relations), evaluate, {}), evaluate)
    return needs


def _reads_bound_past(twins: Twins) -> bool:
    """Whether a past input is read that is an expression here: at the first tick it is zero, whatever the expression."""
    given = {leaf for leaf, _ in twins.claim.given}
    past = [leaf for node in twins.expressions for leaf in walk(node) if isinstance(leaf, Input) and leaf.delayed]
    read = [twins.read_as(leaf) for node in twins.other_expressions for leaf in walk(node) if isinstance(leaf, Input) and leaf.delayed]
    return not all(isinstance(node, Input) for node in read) or any(replace(leaf, delayed=False) in given for leaf in past)


def _invariant(relation: Relation, twins: Twins) -> Step:
    left, right = relation.texts(twins.other_model.name)
    return Step(left, right, "holds at the start, and every tick preserves it", ("nlc",))


def _agreements(twins: Twins, left: Mapping[str, object]) -> Iterator[Step]:
    for name in left:
        yield Step(name, f"{twins.other_model.name}'s {name}", "equal normal forms after a tick from related states", ("calculus",))


# --- runs --------------------------------------------------------------------------------------------------------


def question(twins: Twins, ticks: int) -> Question:
    """What both systems show at each of the first ticks."""
    return Question(_unknowns(twins, ticks), twins.expressions, (twins.model, twins.other_model), _comparison(twins, ticks))


def measured(claim: SameAsClaim, laws_of: Callable[[Model], Laws]) -> Table | Finding:
    """The gap between both systems over a run, by the claim's parameter; why not, when they cannot be compared."""
    assert claim.measure is not None
    rows: list[tuple[Fraction, float | None]] = []
    for value, (this, other) in zip(claim.measure.values, claim.measure.models, strict=True):
        is_own = any(item.name == claim.measure.name for item in this.hyperparameters)
        options = claim.options if is_own else (*claim.options, (claim.measure.name, value))
        twins = Twins(replace(claim, options=options), laws_of(this), laws_of(other))
        if (_has_windows(twins.this) or _has_windows(twins.other)) and _run_alike(claim, twins.this, twins.other):
            rows.append((value, _window_gap(twins.this, twins.other)))
            continue
        obstacle = next(_obstacles(twins), None)
        if obstacle is not None:
            return Finding(verdict="unknown", method="none", detail=obstacle)
        rows.append(
            (value, gap(question(twins, MEASURED_TICKS), {item.name: item.default for item in this.hyperparameters}, draws=MEASURED_RUNS))
        )
    return Table(claim.measure.name, tuple(rows))


def _has_windows(laws: Laws) -> bool:
    """Whether some level is solved over a window."""
    return any(item.window is not None for item in laws.kept)


def _run_alike(claim: SameAsClaim, this: Laws, other: Laws) -> bool:
    """Whether the two take the same streams under the same names, and nothing else."""
    models = (this.order.model, other.order.model)
    streams = [sorted((item.name, item.shape, item.axes, item.every) for item in model.inputs) for model in models]
    return not (claim.bindings or claim.given or any(model.parameters for model in models)) and streams[0] == streams[1]


def _window_gap(this: Laws, other: Laws) -> float:
    from nlc.verify.window_gaps import window_gap  # torch, which other claims need not wait for

    return window_gap(this, other)


def _by_runs(twins: Twins) -> Finding:
    samples, worst = 0, 0.0
    for ticks in range(1, MOST_TICKS + 1):
        found = search(question(twins, ticks), SAMPLES)
        samples, worst = samples + found.samples, max(worst, found.worst_gap)
        if found.counterexample is not None:
            detail = f"after {ticks} tick{'s' if ticks > 1 else ''} they differ, {found.counterexample.text}"
            trace = _run_to(twins, found.counterexample.quantity) if found.counterexample.exact else ()
            return Finding(verdict="refuted", method=RUNS, detail=detail, trace=trace, evidence=replace(found, samples=samples))
    if not samples:
        return Finding(verdict="unknown", method=RUNS, detail="no values were found at which both systems are defined")
    detail = f"no proof found; {samples} runs of up to {MOST_TICKS} ticks agree, worst gap {worst:.1e}, seed {found.seed}"
    return Finding(verdict="tested", method=RUNS, detail=detail, evidence=Search(None, samples, worst))


def _run_to(twins: Twins, quantity: str) -> tuple[Step, ...]:
    """The run to what differs, which is called `NAME after tick N`."""
    name, _, tick = quantity.rpartition(" after tick ")
    return tuple(run_steps(twins, int(tick), name))


def _is_of_one_world(twins: Twins) -> bool:
    """Whether the other system has no dim that this one lacks: only then do both have sizes together."""
    mine, others = (_dims_of(nodes) for nodes in (twins.this_expressions, twins.other_expressions))
    return others <= mine


def _dims_of(expressions: tuple[Expr, ...]) -> set[str]:
    return {name for node in expressions for part in walk(node) for dim in part.shape for name in dim.names}


def _unknowns(twins: Twins, ticks: int) -> tuple[Unknown, ...]:
    """What a run starts from: the weights of an optimizer, slow parameters, the rates, and what comes in at every tick."""
    drawn: dict[Expr, Unknown] = {leaf: Unknown(leaf) for leaf in (*twins.weights, *twins.parameters)}
    for leaf in twins.sources:
        item = unknown(leaf, twins.model)
        for tick in range(1, ticks + 1):
            renamed = at_tick(leaf, tick, twins.claim.varying)
            drawn[renamed] = replace(item, leaf=renamed)
    places = (part for node in (*twins.expressions, *twins.other_expressions) for part in walk(node) if isinstance(part, Index))
    drawn.update({place: unknown(place, twins.model) for place in places})
    return tuple(drawn.values())


def _comparison(twins: Twins, ticks: int) -> Compare:
    def compare(values: Mapping[Expr, Tensor], sizes: Sizes, arithmetic: Arithmetic) -> Pairs:
        places: dict[Expr, Tensor] = {leaf: value for leaf, value in values.items() if isinstance(leaf, Index)}

        def value_of(node: Expr, known: Mapping[Expr, Tensor]) -> Tensor:
            return evaluate(node, {**known, **places}, sizes, arithmetic)

        states = initial(twins, value_of, values)
        held = (held_at_first(twins.this, value_of, values), held_at_first(twins.other, value_of, values))
        pairs: list[tuple[str, Tensor, Tensor]] = []
        for tick in range(1, ticks + 1):
            begun = (states[0] | held[0], states[1] | held[1])
            this, other = step(twins, moment(tick, twins.claim.varying), *begun, value_of, values)
            left, right = observed(twins, this, other, value_of)
            pairs += [(f"{name} after tick {tick}", left[name], right[name]) for name in left]
            states = twins.carried(this, other)
            held = (held_after(twins.this, tick, held[0], this), held_after(twins.other, tick, held[1], other))
        return tuple(pairs)

    return compare
