"""Levels as written -> components: the level itself, and the levels of the optimizer spec that is inlined into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from types import MappingProxyType

from nlc.codes import resolve as codes
from nlc.diagnostics import CompileError
from nlc.ir.algebra import Constant, Expr, Gradient, Hyperparameter, Task
from nlc.ir.build import times
from nlc.ir.dims import ENTRIES, MATRIX, shape_text
from nlc.ir.model import ClosedForm, Component, Family, GradientDescent, Optimizer, Proximal, Trained
from nlc.ir.spec import Binary, Call, DefinitionField, LevelField, Name, Spec, Syntax
from nlc.resolve.calls import bind, told_from
from nlc.resolve.levels import Surroundings, component_of, fitting
from nlc.resolve.matrices import is_of_matrices, sides_of
from nlc.resolve.memories import memory_type
from nlc.resolve.scope import LevelType, MemoryType, OwnName, Scope
from nlc.resolve.trees import one_tensor, over_tensors
from nlc.resolve.typing import Typing
from nlc.source import Span

PRIMITIVES: Mapping[str, str] = MappingProxyType({"gradient_descent": "learning_rate", "proximal": "learning_rate"})
"""nlc's own optimizers that take a step, and what they are called with."""

NOT_SERVED = ("init", "reset", "reduce", "window")
"""Keys that the `weights` of an optimizer cannot have where it serves another level."""


def resolve_level(field: LevelField, around: Surroundings) -> tuple[Component, ...]:
    """The component of a level, after those of the optimizer spec inlined into it (if any)."""
    level = around.scope.levels[field.name.text]
    component = component_of(field, level, around)
    if field.optimizer is None and isinstance(component.objective, Task):
        return (replace(component, optimizer=Trained()),)
    if field.optimizer is None:
        raise CompileError(
            codes.missing_field(field.name.span, field.name.text, "optimizer", "write `optimizer: gradient_descent(learning_rate)`")
        )
    name, call = optimizer_call(field.optimizer)
    primitive = _primitive(name, call, level, around)
    if primitive is not None:
        return (replace(component, optimizer=primitive),)
    return inline_optimizer(component, level, name, call, around)


def optimizer_call(syntax: Syntax) -> tuple[str, Call]:
    """`momentum(decay = 0.9)` or `optimizers/momentum(...)`: the name with its folder, and the call."""
    match syntax:
        case Binary("/", left, right):
            folder, _ = optimizer_call(left)
            name, call = optimizer_call(right)
            return f"{folder}/{name}", call
        case Name(text):
            return text, Call(syntax, (), (), syntax.span)
        case Call(Name(text)):
            return text, syntax
    raise CompileError(
        codes.unknown_option(syntax.span, "optimizer", "gradient_descent(rate), proximal(rate), closed_form, or an optimizer spec")
    )


def _primitive(name: str, call: Call, level: LevelType, around: Surroundings) -> Optimizer | None:
    """The optimizer when it is one of nlc's own."""
    if name == "closed_form":
        bind(name, [], call)
        return ClosedForm()
    if name not in PRIMITIVES:
        return None
    bound = bind(name, [PRIMITIVES[name]], call)
    if not bound:
        raise CompileError(codes.wrong_arguments(call.span, name, f"{name}(learning_rate)"))
    syntax = bound[PRIMITIVES[name]]
    rate = around.typing(level, OwnName.UNKNOWN, "learning rate").expression(syntax)
    shapes = [state.shape for state in level.memory.states]
    if rate.shape:
        rate = fitting(rate, shapes[0] if len(shapes) == 1 else (), "a learning rate", syntax.span)
    return GradientDescent(rate) if name == "gradient_descent" else Proximal(rate)


def inline_optimizer(component: Component, level: LevelType, name: str, call: Call, around: Surroundings) -> tuple[Component, ...]:
    """The levels of an optimizer spec as components that serve this one: its `weights` is this state, its `gradient` this gradient."""
    if name not in around.optimizers:
        raise CompileError(codes.unknown_name(name, call.span, {*around.optimizers, *PRIMITIVES, "closed_form"}))
    spec, name = around.optimizers[name], name.rpartition("/")[2]
    if len(spec.inputs) > 1:
        choices = "gradient_descent(rate), or a spec with `gradient` as its only input"
        raise CompileError(codes.unknown_option(call.span, "optimizer", choices))
    values = _bound_hyperparameters(spec, name, call, level, around)
    macros = {**around.library, **{item.name.text: item for item in spec.define}}
    like = MATRIX if is_of_matrices(spec, macros) else ENTRIES
    if like == MATRIX and (others := [state for state in component.states if len(state.shape) != 2]):
        tensor = ".".join(filter(None, (component.name, others[0].part)))
        wanted = "a matrix: `momentum` or `adam`, say, move tensors of any shape"
        raise CompileError(codes.wrong_shape(call.span, f"`{tensor}`, which `{name}` is to move,", shape_text(others[0].shape), wanted))
    is_tree = len(component.states) > 1
    served = replace(component, states=(one_tensor(like),)) if is_tree else component
    memory = MemoryType("like(weights)", served.states, ("weights",)) if is_tree else level.memory
    components: list[Component] = []
    with told_from(call.span, name):
        inner = _inner_surroundings(served, memory, spec, values, around, macros)
        for field in spec.levels:
            found = resolve_level(replace(field, memory=None) if field.name.text == "weights" else field, inner)
            *nested, own = (over_tensors(item, component.states, like) for item in found) if is_tree else found
            components.extend((*nested, _serving(component, own, name, around)))
    return tuple(sorted(components, key=lambda item: item.name == component.name))


def _serving(host: Component, level: Component, optimizer: str, around: Surroundings) -> Component:
    """A level of the optimizer as a component that serves the host, and starts again with it; its `weights` are the host itself."""
    if level.name == host.name:
        return _hosting(host, level, optimizer)
    return replace(level, host=host.name, block=host.block, reset=level.reset or host.reset, rounds=_rounds(host, level, around))


def _rounds(host: Component, level: Component, around: Surroundings) -> int:
    """How often a level moves inside each update of its host, if it starts again with it; 1 for what is kept from one to the next."""
    if around.scope.like is not None or host.every.family is not Family.TOKEN or host.every.period.denominator > 1:
        return 1
    rounds = host.every.period / level.every.period
    return int(rounds) if level.reset == host.every and rounds > 1 and rounds.denominator == 1 else 1


def _hosting(component: Component, weights: Component, optimizer: str) -> Component:
    """The host, stepping as the optimizer's `weights` level says; its own retention multiplies that level's."""
    retention = component.retention
    if weights.retention:
        retention = (
            tuple(times(own, inner) for own, inner in zip(retention, weights.retention, strict=True)) if retention else weights.retention
        )
    return replace(
        component,
        follows=weights.follows,
        optimizer=weights.optimizer,
        retention=retention,
        step_at=weights.gradient_at,
        optimizer_name=optimizer,
        unsupported=(*component.unsupported, *weights.unsupported, *_left_out(component, weights)),
        places=(*weights.places, *component.places),
    )


def _left_out(component: Component, weights: Component) -> Iterator[tuple[str, Span]]:
    """What the `weights` of an optimizer say that has no place in the level it serves."""
    if weights.every != component.every:
        yield "an optimizer whose `weights` move on a clock of their own", weights.every_span
    for key, span in weights.places:
        if key in NOT_SERVED:
            yield f"an optimizer whose `weights` have `{key}`", span


def _bound_hyperparameters(spec: Spec, name: str, call: Call, level: LevelType, around: Surroundings) -> dict[str, Expr]:
    """The optimizer's hyperparameters, bound to the host's expressions or to their defaults."""
    bound = bind(name, [item.name.text for item in spec.hyperparameters], call)
    typing = around.typing(level, OwnName.UNKNOWN, "optimizer")
    defaults = Typing(Scope())
    values: dict[str, Expr] = {}
    for item in spec.hyperparameters:
        key = item.name.text
        values[key] = typing.expression(bound[key]) if key in bound else defaults.expression(item.value)
    return values


def _inner_surroundings(
    component: Component,
    weights: MemoryType,
    spec: Spec,
    values: Mapping[str, Expr],
    around: Surroundings,
    macros: Mapping[str, DefinitionField],
) -> Surroundings:
    state = component.states[0]
    inner_values = {**values, "gradient": Gradient(component.name, state.part, state.shape)}
    levels, sides = {}, sides_of(state.shape)
    for field in spec.levels:
        name = field.name.text
        own = memory_type(field.memory, sides, macros, state.shape) if field.memory and name != "weights" else weights
        levels[name] = LevelType(component.name if name == "weights" else f"{component.name}.{name}", own)
    scope = Scope(
        dims=sides,
        values=inner_values,
        levels=levels,
        lets={item.name.text: item.value for item in spec.let},
        macros=macros,
        like=state.shape,
    )
    counts = {name: number for name, value in values.items() if (number := _number(value, around.counts)) is not None}
    return Surroundings(scope, counts, around.optimizers, around.library, component)


def _number(value: Expr, counts: Mapping[str, Fraction]) -> Fraction | None:
    """The number that a hyperparameter of an optimizer is bound to, when it is one: what periods may count with."""
    match value:
        case Constant(number):
            return number
        case Hyperparameter(name):
            return counts.get(name)
    return None
