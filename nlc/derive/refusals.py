"""What this version does not derive: a table of checks, each from a model to the diagnostics of the places where it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from nlc.codes import derive as codes
from nlc.derive.implicit import no_implicit_step
from nlc.diagnostics import Diagnostic
from nlc.ir.algebra import (
    LEAVES,
    Constant,
    Expr,
    Full,
    Gradient,
    Hyperparameter,
    Input,
    Join,
    Size,
    Split,
    State,
    Task,
    Tick,
    When,
    is_number,
    walk,
)
from nlc.ir.dims import LIKE_WEIGHTS
from nlc.ir.law import POSITION, PREVIOUS, RECENT, Kept
from nlc.ir.model import STEP, TOKEN, Clock, ClosedForm, Component, Family, GradientDescent, GradientPoint, Model, Proximal

Check = Callable[[Model], Iterator[Diagnostic]]


def refusals(model: Model) -> tuple[Diagnostic, ...]:
    """A diagnostic for everything in the model that is valid but not derived by this version, each once."""
    return tuple(dict.fromkeys(item for check in CHECKS for item in check(model)))


def name_clashes(model: Model, kept: Sequence[Kept]) -> tuple[Diagnostic, ...]:
    """A diagnostic for every level that is called like something else that is carried."""
    taken = {name for item in kept for name in (item.name, item.component if item.component in (POSITION, PREVIOUS, RECENT) else item.name)}
    return tuple(
        codes.not_compiled(item.span, item.name, f"the name `{item.name}`, under which nlc keeps something else of this spec")
        for item in model.components
        if item.name in taken
    )


def update_expressions(component: Component) -> tuple[Expr, ...]:
    """All expressions that decide how a component moves."""
    rate = (component.optimizer.rate,) if isinstance(component.optimizer, GradientDescent | Proximal) else ()
    return (component.objective, component.follows, *component.retention, *rate)


def base_clock(model: Model) -> Clock:
    """The one clock of this version: tokens for architectures, steps for optimizers."""
    return STEP if model.kind == "optimizer" else TOKEN


def _marked(model: Model) -> Iterator[Diagnostic]:
    for what, span in model.unsupported:
        yield codes.not_compiled(span, model.name, what)
    for component in model.components:
        for what, span in component.unsupported:
            yield codes.not_compiled(span, component.name, what)


def _optimizers(model: Model) -> Iterator[Diagnostic]:
    for component in model.components:
        match component.optimizer:
            case Proximal() if why := no_implicit_step(model, component):
                yield codes.proximal_step(component.place("optimizer"), component.name, why)
            case ClosedForm():
                yield codes.closed_form(component.place("optimizer"), component.name)
            case GradientDescent():
                pass


def _clocks(model: Model) -> Iterator[Diagnostic]:
    clock = base_clock(model)
    for component in model.components:
        fits = _is_whole_tokens(model, component.every) or _is_part_of_a_token(model, component.every) or _is_trained(model, component)
        if component.every != clock and not fits:
            yield codes.level_clock(component.every_span, component.name, str(component.every), str(clock))
    for stream in model.inputs:
        if stream.every != clock and not _is_part_of_a_token(model, stream.every):
            yield codes.input_clock(stream.span, stream.name, str(stream.every), str(clock))


def _is_trained(model: Model, component: Component) -> bool:
    """Whether a level is a parameter that a training loop moves, or that nothing does; or serves one."""
    level = model.component(component.host) if component.host else component
    if not model.is_parameter(level.name):
        return False
    return level.every.family is Family.NEVER or (isinstance(level.objective, Task) and component.every.period.denominator == 1)


def _parameters(model: Model) -> Iterator[Diagnostic]:
    for component in model.parameters:
        for key in ("retention", "reset", "window"):
            if component.place(key) != component.span:
                what = f"`{key}` of a slow level, which its optimizer would have to know of"
                yield codes.not_compiled(component.place(key), component.name, what)
    if not model.fast and all(_is_trained(model, component) for component in model.components):
        yield codes.not_compiled(model.span, model.name, "an architecture without a level that moves inside a sequence")
    joined = any(isinstance(node, Split | Join) for expression in _all_expressions(model) for node in walk(expression))
    whole = {stream.name for stream in model.inputs if not stream.axes}
    for node in (node for expression in _all_expressions(model) for node in walk(expression) if joined):
        if isinstance(node, Input) and node.delayed and node.name in whole:
            yield codes.not_compiled(node.span, node.name, "`prev` of a stream without axes, in a system that splits or joins them")
    if joined and len(model.axes) > 1:
        yield codes.not_compiled(model.span, model.name, "`split` and `join` in a system of several axes")


def _all_expressions(model: Model) -> Iterator[Expr]:
    for component in model.components:
        yield from update_expressions(component)
    yield from (output.value for output in model.outputs)


def _is_whole_tokens(model: Model, clock: Clock) -> bool:
    """Whether a clock ticks at the last token of every so many."""
    return model.kind != "optimizer" and clock.family is Family.TOKEN and clock.period.denominator == 1


def _is_part_of_a_token(model: Model, clock: Clock) -> bool:
    """Whether a clock ticks n times a token, for the one n of the system."""
    return model.kind != "optimizer" and clock.family is Family.TOKEN and clock.updates_per_tick == model.updates_per_tick > 1


def _parts_of_tokens(model: Model) -> Iterator[Diagnostic]:
    for component in (item for item in model.fast if _is_part_of_a_token(model, item.every)):
        if component.backprop is not None:
            yield codes.not_compiled(component.place("backprop"), component.name, "`backprop` on a clock of several updates a token")
        if any(isinstance(node, Tick) and node.component == component.name for value in _all_expressions(model) for node in walk(value)):
            yield codes.not_compiled(component.span, component.name, "`tick` on a clock of several updates a token")
    if model.recents and model.updates_per_tick > 1:
        what = "`delay`, `convolve` or a window in a system of several updates a token"
        yield codes.not_compiled(model.span, model.name, what)
    parted = {stream.name for stream in model.inputs if stream.is_parted}
    for node in (node for value in _all_expressions(model) for node in walk(value)):
        if isinstance(node, Input) and node.delayed and node.name in parted:
            yield codes.not_compiled(node.span, node.name, "`prev` of a stream of several values a token")


def _optimizers_of_slow_levels(model: Model) -> Iterator[Diagnostic]:
    for component in model.components:
        host = next((item for item in model.components if item.name == component.host), None)
        if host is not None and component.every.period > host.every.period > 1 and model.kind != "optimizer":
            what = f"a level of its optimizer, `{component.name}`, that moves once in several of its own updates of {host.every} each"
            yield codes.not_compiled(host.place("optimizer"), host.name, what)


def _lifetimes(model: Model) -> Iterator[Diagnostic]:
    for component in model.components:
        if component.window is not None:
            yield codes.window(component.place("window"), component.name)
        if component.reset is not None and not _is_reset_by_tokens(model, component.reset):
            yield codes.reset_clock(component.place("reset"), component.name, str(component.reset))
        elif component.reset is not None and component.reset.family is Family.TOKEN and _stands_in_the_way(model, component):
            what = "a reset of a level with an optimizer of several levels, or with uneven chunks"
            yield codes.not_compiled(component.place("reset"), component.name, what)
        reads = [node for value in component.init for node in walk(value) if isinstance(node, State)]
        if (model.is_parameter(component.name) and reads) or not all(_is_compiled_start(model, value) for value in component.init):
            yield codes.initial_value(component.place("init"), component.name)
        if component.reduce == "mean" and model.kind == "optimizer":
            yield codes.mean_reduction(component.place("reduce"), component.name)


def _knowledge_transfer(model: Model) -> Iterator[Diagnostic]:
    for component in model.components:
        if component.backprop is None:
            continue
        if component.host is not None or _stands_in_the_way(model, component) or not component.every.is_fast:
            what = "`backprop` of a slow level, or of one with an optimizer of several levels"
            yield codes.not_compiled(component.place("backprop"), component.name, what)
        elif component.backprop and component.reset is not None and component.reset.family is Family.TOKEN:
            what = "`backprop: truncated` of a level that is reset by tokens"
            yield codes.not_compiled(component.place("backprop"), component.name, what)


def _is_compiled_start(model: Model, value: Expr) -> bool:
    """Whether a state can start from this: in architectures whatever is known before the first token."""
    known = all(
        isinstance(node, Constant | Full | Hyperparameter | Size) or (isinstance(node, State) and model.is_parameter(node.component))
        for node in walk(value)
        if isinstance(node, LEAVES)
    )
    return is_number(value, 0) or (known and model.kind != "optimizer")


def _is_reset_by_tokens(model: Model, clock: Clock) -> bool:
    return clock.family is Family.SEQUENCE or _is_whole_tokens(model, clock)


def _stands_in_the_way(model: Model, component: Component) -> bool:
    """Whether something else would have to start again with the level."""
    return model.uneven_chunks or component.host is not None or any(item.host == component.name for item in model.components)


def _memories(model: Model) -> Iterator[Diagnostic]:
    for component in model.components:
        if model.kind == "optimizer" and any(state.shape != (LIKE_WEIGHTS,) for state in component.states):
            yield codes.not_compiled(component.place("memory"), component.name, "a memory that is not `like(weights)`, in an optimizer")


def _gradient_points(model: Model) -> Iterator[Diagnostic]:
    for component in model.components:
        if component.gradient_at is GradientPoint.RETAINED and component.every.period > 1 and component.retention:
            what = "a gradient at the retained state on a clock of several tokens, whose retention is known at the last of them alone"
            yield codes.not_compiled(component.place("gradient_at"), component.name, what)
        if GradientPoint.HELD in (component.gradient_at, component.step_at):
            yield codes.held_gradient(component.place("gradient_at"), component.name)


def _reads(model: Model) -> Iterator[Diagnostic]:
    for expression in _all_expressions(model):
        for node in walk(expression):
            yield from _read(model, node)


def _read(model: Model, node: Expr) -> Iterator[Diagnostic]:
    is_optimizer = model.kind == "optimizer"
    match node:
        case State(component, when=When.HELD) if is_optimizer or not model.component(component).every.is_fast:
            yield codes.held_read(node.span, component)
        case Input(name, delayed=True) if is_optimizer:
            yield codes.delayed_input(node.span, name)
        case Tick(component) if is_optimizer or not model.component(component).every.is_fast:
            yield codes.tick_count(node.span, component)


def _gradients_of_gradients(model: Model) -> Iterator[Diagnostic]:
    fed_on = {node.component for component in model.components for node in _gradients(*update_expressions(component))}
    for component in model.components:
        is_retained_first = component.gradient_at is GradientPoint.RETAINED
        needed = (component.objective, *(component.retention if is_retained_first else ()))
        if component.name in fed_on and any(_gradients(*needed)):
            yield codes.not_compiled(component.objective_span, component.name, "a gradient inside what its own gradient is taken of")


def _gradients(*expressions: Expr) -> list[Gradient]:
    return [node for expression in expressions for node in walk(expression) if isinstance(node, Gradient)]


CHECKS: tuple[Check, ...] = (
    _marked,
    _optimizers,
    _clocks,
    _parts_of_tokens,
    _parameters,
    _memories,
    _gradient_points,
    _optimizers_of_slow_levels,
    _lifetimes,
    _knowledge_transfer,
    _reads,
    _gradients_of_gradients,
)
