"""`outer:` and the optimizers of slow levels -> what a training loop needs: optimizer specs as models, with their numbers and periods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import groupby

from nlc.codes import resolve as codes
from nlc.diagnostics import CompileError
from nlc.ir.algebra import LEAVES, ONE, Constant, Expr, Hyperparameter, Size, walk
from nlc.ir.build import times
from nlc.ir.model import STEP, Clock, Component, Family, HyperparameterDeclaration, Model, Trained, Training
from nlc.ir.spec import LevelField, Name, OuterField, Spec, Syntax
from nlc.resolve.calls import bind
from nlc.resolve.components import PRIMITIVES, optimizer_call
from nlc.resolve.levels import Surroundings
from nlc.resolve.typing import Typing

NUMBERS = (Constant, Hyperparameter, Size)
"""What the numbers of a slow level's optimizer are made of: streams belong to tokens, and its updates to steps."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A slow level and the optimizer that moves it: all but the level's name must agree for levels to share an optimizer."""

    optimizer: str
    numbers: tuple[tuple[str, Expr], ...]
    every: Clock
    reduce: str
    level: str
    retention: Expr | None = None

    @property
    def by(self) -> tuple[object, ...]:
        return (self.optimizer, self.numbers, self.every, self.reduce, self.retention)


def is_task(syntax: Syntax | None) -> bool:
    """Whether an objective is `task`, the loss handed in from outside."""
    return isinstance(syntax, Name) and syntax.text == "task"


def with_outer(field: LevelField, outer: OuterField | None, clock: Clock) -> LevelField:
    """A level as `outer` completes it: a slow level that says nothing else is trained on the task loss, by the outer optimizer."""
    if clock.is_fast or not (field.objective is None or is_task(field.objective)):
        return field
    objective = field.objective or (outer.objective if outer else Name("task", field.name.span))
    if not is_task(objective):
        raise CompileError(codes.unknown_option(objective.span, "the objective of slow levels", "task"))
    if outer is None or field.optimizer is not None or clock.family is Family.NEVER:
        return replace(field, objective=objective)
    return replace(
        field, objective=objective, optimizer=outer.optimizer, every=outer.every if outer.every and clock == STEP else field.every
    )


def check_outer(outer: OuterField, around: Surroundings) -> None:
    """Raise CompileError unless its clock, if it has one, counts steps."""
    clock = STEP if outer.every is None else around.clock(outer.every)
    if outer.every is not None and (clock.family is not Family.STEP or clock.period < 1):
        raise CompileError(codes.unknown_option(outer.every.span, "every", "step, n steps"))


def with_learned_starts(fields: Iterable[LevelField]) -> Iterator[LevelField]:
    """`init: learned` written out: a slow level `memory.start` of the same memory, trained like the others, and a start from it."""
    for field in fields:
        if not isinstance(field.init, Name) or field.init.text != "learned" or field.every is None or field.memory is None:
            yield field
            continue
        start = replace(field.name, text=start_name(field.name.text))
        place = field.init.span
        yield LevelField(name=start, memory=field.memory, every=Name("step", place), block=field.block, span=field.span)
        yield replace(field, init=Name(start.text, place))


def start_name(level: str) -> str:
    """What the level is called that holds the learned start of another."""
    return f"{level}.start"


def trainings(
    fields: Iterable[LevelField], components: Iterable[Component], around: Surroundings, resolve: Callable[[str, Spec], Model]
) -> tuple[Training, ...]:
    """One entry for every optimizer: levels share one when it, its numbers, its period and how it gathers gradients are the same."""
    parts = {item.name: item for item in components if not item.every.is_fast and item.host is None}
    moved = list(_moved(fields, parts, around))
    first = {item.by: place for place, item in reversed(list(enumerate(moved)))}
    groups = groupby(sorted(moved, key=lambda item: first[item.by]), key=lambda item: item.by)
    return tuple(_training([*group], around, resolve) for _, group in groups)


def _training(group: list[Moved], around: Surroundings, resolve: Callable[[str, Spec], Model]) -> Training:
    one = group[0]
    model = resolve(one.optimizer, around.optimizers[one.optimizer])
    levels, numbers = tuple(item.level for item in group), one.numbers
    if one.retention is not None:
        model, word = _with_retention(model)
        numbers = (*numbers, (word, one.retention))
    return Training(optimizer=model, numbers=numbers, levels=levels, every=one.every, reduce="mean" if one.reduce == "mean" else "sum")


def _with_retention(optimizer: Model) -> tuple[Model, str]:
    """The optimizer with one more number, by which its weights are multiplied before each step: a level's own retention; and its word."""
    taken = {item.name for item in optimizer.hyperparameters}
    word = "retention" if "retention" not in taken else "level_retention"
    keep = Hyperparameter(word)

    def kept(component: Component) -> Component:
        if component.name != "weights":
            return component
        own = component.retention or (ONE,) * len(component.states)
        return replace(component, retention=tuple(times(keep, share) for share in own))

    components = tuple(kept(item) for item in optimizer.components)
    hyperparameters = (*optimizer.hyperparameters, HyperparameterDeclaration(name=word, default=Fraction(1)))
    return replace(optimizer, name=f"Decayed{optimizer.name}", components=components, hyperparameters=hyperparameters), word


def _moved(fields: Iterable[LevelField], components: dict[str, Component], around: Surroundings) -> Iterator[Moved]:
    for field in fields:
        component = components.get(field.name.text)
        if (
            component is None
            or component.every.family is Family.NEVER
            or field.optimizer is None
            or isinstance(component.optimizer, Trained)
            or not is_task(field.objective)
        ):
            continue
        name, call = optimizer_call(field.optimizer)
        if name in PRIMITIVES and name not in around.optimizers:
            continue
        parameters = [item.name.text for item in around.optimizers[name].hyperparameters]
        typing = Typing(replace(around.scope, where="optimizer"), around.counts)
        numbers = []
        for key, syntax in bind(name, parameters, call).items():
            value = typing.expression(syntax)
            if any(isinstance(node, LEAVES) and not isinstance(node, NUMBERS) for node in walk(value)) or value.shape:
                raise CompileError(codes.not_a_number_of_the_spec(syntax.span, component.name))
            numbers.append((key, value))
        within = Typing(replace(around.scope, where="retention"), around.counts)
        retention = None if field.retention is None else within.expression(field.retention)
        if retention is not None and (
            retention.shape or not all(isinstance(node, NUMBERS) for node in walk(retention) if isinstance(node, LEAVES))
        ):
            raise CompileError(codes.not_a_number_of_the_spec(component.place("retention"), component.name))
        yield Moved(name, tuple(numbers), component.every, component.reduce, component.name, retention)
