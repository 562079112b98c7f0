"""What this version does not derive: a table of checks, each from a model to the diagnostics of the places where it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from nlc.codes import derive as codes
from nlc.derive.closed import no_closed_form
from nlc.derive.definite import solves
from nlc.derive.implicit import no_implicit_step
from nlc.derive.refused_delays import older_values
from nlc.derive.refused_restarts import restarts_of_slow_levels
from nlc.derive.refused_rounds import rounds_inside
from nlc.derive.refused_slopes import beside_told_levels
from nlc.derive.refused_windows import rotations, solved_levels, stepping_levels
from nlc.diagnostics import Diagnostic
from nlc.ir.algebra import LEAVES, Constant, Expr, Gradient, Index, Input, Join, Norm, Split, State, Task, Tick, When, children, walk
from nlc.ir.contexts import contexts_of, gradient_of, is_context, number_of_data
from nlc.ir.dims import ENTRIES, MATRIX
from nlc.ir.law import POSITION, PREVIOUS, RECENT, Kept
from nlc.ir.model import STEP, TOKEN, Clock, ClosedForm, Component, Family, GradientDescent, GradientPoint, Model, Proximal
from nlc.ir.ranges import below_one, never_negative, rate_of
from nlc.ir.show import expression_text
from nlc.ir.starts import NUMBERS, known_start, lasts

Check = Callable[[Model], Iterator[Diagnostic]]


def refusals(model: Model) -> tuple[Diagnostic, ...]:
    """A diagnostic for everything in the model that is valid but not derived by this version, each once."""
    return tuple(dict.fromkeys(item for check in CHECKS for item in check(model)))


def name_clashes(model: Model, kept: Sequence[Kept]) -> tuple[Diagnostic, ...]:
    """A diagnostic for every level that is called like something else that is carried."""
    taken = {name for item in kept for name in (item.name, item.component if item.component in (POSITION, PREVIOUS, RECENT) else item.name)}
    return tuple(codes.kept_name(item.span, item.name) for item in model.components if item.name in taken)


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
            case ClosedForm() if not component.is_solved and (why := no_closed_form(model, component)):
                yield codes.closed_form(component.place("optimizer"), component.name, why)
            case GradientDescent() | ClosedForm():
                pass


def _rates(model: Model) -> Iterator[Diagnostic]:
    """Numbers, and defaults of hyperparameters, that are no rates."""
    for component in model.components:
        rate = rate_of(component)
        if isinstance(rate, Constant) and rate.value < 0:
            yield codes.rate_out_of_range(component.place("optimizer"), "", expression_text(rate), False)
    low, high = never_negative(model), below_one(model)
    for item in model.hyperparameters:
        if item.name in low and (item.default < 0 or (item.name in high and item.default >= 1)):
            value = expression_text(Constant(item.default))
            yield codes.rate_out_of_range(item.span, item.name, value, item.name in high)


def _clocks(model: Model) -> Iterator[Diagnostic]:
    clock = base_clock(model)
    for component in model.components:
        fits = _is_whole_ticks(model, component.every) or _is_part_of_a_tick(model, component.every) or _is_trained(model, component)
        fits = fits or _is_a_sequence(model, component.every) or (component.is_solved and model.kind != "optimizer") or component.rounds > 1
        if component.every != clock and not fits:
            yield codes.level_clock(component.every_span, component.name, str(component.every), str(clock))
    for stream in model.inputs:
        fits = _is_part_of_a_tick(model, stream.every) or _is_a_sequence(model, stream.every)
        if stream.every != clock and not fits:
            yield codes.input_clock(stream.span, stream.name, str(stream.every), str(clock))


def _contexts(model: Model) -> Iterator[Diagnostic]:
    """Streams of an optimizer that nothing gives: it has gradients, and the data of layers."""
    if model.kind != "optimizer":
        return
    numbers = {str(stream.shape[0]) for stream in contexts_of(model)}
    for stream in model.inputs:
        if stream != gradient_of(model) and (not is_context(stream) or len(numbers) > 1):
            what = "a stream that is none of `layer_input: [n, columns(weights)]` and `output_gradient: [n, rows(weights)]`, with one dim n"
            yield codes.not_compiled(stream.span, stream.name, what)


def _sequences(model: Model) -> Iterator[Diagnostic]:
    """What levels and streams of whole sequences cannot have."""
    if model.kind != "optimizer" and model.inputs and all(stream.is_of_sequence for stream in model.inputs):
        yield codes.no_tokens(model.inputs[0].span, model.inputs[0].name)
    for component in (item for item in model.fast if item.every.family is Family.SEQUENCE):
        counts = [
            node for value in _all_expressions(model) for node in walk(value) if isinstance(node, Tick) and node.component == component.name
        ]
        found = {
            "`backprop`": component.backprop is not None,
            "`tick`": bool(counts),
            "`gradient_at: retained`": component.gradient_at is GradientPoint.RETAINED and bool(component.retention),
        }
        for what, is_used in found.items():
            if is_used:
                yield codes.not_of_a_sequence(component.every_span, component.name, what)
    for component in (item for item in model.fast if lasts(item)):
        if any(known_start(model, component, state) is None for state in component.states):
            yield codes.late_start(component.place("init"), component.name)


def _is_a_sequence(model: Model, clock: Clock) -> bool:
    return model.kind != "optimizer" and clock.family is Family.SEQUENCE and clock.period == 1


def _is_trained(model: Model, component: Component) -> bool:
    """Whether a level is a parameter that a training loop moves, or that nothing does; or serves one."""
    level = model.component(component.host) if component.host else component
    if not model.is_parameter(level.name):
        return False
    return level.every.family is Family.NEVER or (isinstance(level.objective, Task) and component.every.period.denominator == 1)


def _parameters(model: Model) -> Iterator[Diagnostic]:
    moved = {name for training in model.training for name in training.levels}
    for component in model.parameters:
        for key in ("window", *(() if component.name in moved else ("retention",))):
            if component.place(key) != component.span:
                what = f"`{key}` of a slow level" + (" that no optimizer of the spec moves" if key == "retention" else "")
                yield codes.not_compiled(component.place(key), component.name, what)
    if not model.fast and all(_is_trained(model, component) for component in model.components):
        for output in model.outputs:
            if any(isinstance(node, Index) or (isinstance(node, Input) and node.delayed) for node in walk(output.value)):
                what = "`index` or `prev`, in an architecture without a level that moves inside a sequence"
                yield codes.not_compiled(output.span, output.name, what)
    joined = any(isinstance(node, Split | Join) for expression in _all_expressions(model) for node in walk(expression))
    if joined and len(model.axes) > 1:
        yield codes.not_compiled(model.span, model.name, "`split` and `join` in a system of several axes")


def _all_expressions(model: Model) -> Iterator[Expr]:
    for component in model.components:
        yield from update_expressions(component)
    yield from (output.value for output in model.outputs)


def _is_whole_ticks(model: Model, clock: Clock) -> bool:
    """Whether a clock ticks at the last token (in an optimizer: step) of every so many."""
    return clock.family is base_clock(model).family and clock.period.denominator == 1


def _is_part_of_a_tick(model: Model, clock: Clock) -> bool:
    """Whether a clock ticks n times a token (or step), for the one n of the system."""
    return clock.family is base_clock(model).family and clock.updates_per_tick == model.updates_per_tick > 1


def _parts_of_tokens(model: Model) -> Iterator[Diagnostic]:
    for component in (item for item in model.fast if _is_part_of_a_tick(model, item.every)):
        if component.backprop and (component.every.period * component.backprop).denominator != 1:
            yield codes.cut_inside_a_token(component.place("backprop"), component.name, component.backprop, model.updates_per_tick)


def _optimizers_of_slow_levels(model: Model) -> Iterator[Diagnostic]:
    for component in model.components:
        host = next((item for item in model.components if item.name == component.host), None)
        if host is not None and component.every.period > host.every.period > 1 and model.kind != "optimizer":
            what = f"a level of its optimizer, `{component.name}`, that moves once in several of its own updates of {host.every} each"
            yield codes.not_compiled(host.place("optimizer"), host.name, what)


def _lifetimes(model: Model) -> Iterator[Diagnostic]:
    for component in model.components:
        if component.reset is not None and not _is_compiled_reset(model, component, component.reset):
            yield codes.reset_clock(component.place("reset"), component.name, str(component.reset))
        if not all(_is_compiled_start(model, component, value) for value in component.init):
            yield codes.initial_value(component.place("init"), component.name)


def _knowledge_transfer(model: Model) -> Iterator[Diagnostic]:
    for component in model.components:
        if component.backprop is None:
            continue
        if component.host is not None or _stands_in_the_way(model, component) or not component.every.is_fast:
            what = "`backprop` of a slow level, or of one with an optimizer of several levels"
            yield codes.not_compiled(component.place("backprop"), component.name, what)


def _is_compiled_start(model: Model, component: Component, value: Expr) -> bool:
    """Whether a state can start from this: slow levels from what is known before any sequence, fast ones from all but counts."""
    leaves = [node for node in walk(value) if isinstance(node, LEAVES)]
    if model.is_parameter(component.name):
        return all(isinstance(node, (*NUMBERS, State)) for node in leaves)
    return not any(isinstance(node, Tick) or (isinstance(node, Gradient) and component.rounds == 1) for node in leaves)


def _is_compiled_reset(model: Model, component: Component, clock: Clock) -> bool:
    if model.is_parameter(component.host or component.name):
        return True  # refused_restarts says which are not
    return _is_a_sequence(model, clock) or clock.family is Family.NEVER or _is_whole_ticks(model, clock)


def _stands_in_the_way(model: Model, component: Component) -> bool:
    """Whether something else would have to start again with the level."""
    return model.uneven_chunks or component.host is not None or any(item.host == component.name for item in model.components)


def _memories(model: Model) -> Iterator[Diagnostic]:
    for component in model.components:
        if model.kind != "optimizer" or all(state.shape in (ENTRIES, MATRIX) for state in component.states):
            continue
        names = {name for state in component.states for dim in state.shape for name in dim.names}
        if not model.moves_matrices or number_of_data(model) in names:
            other = (
                "a memory as large as there are data" if model.moves_matrices else "a memory other than `like(weights)`, of whatever rank"
            )
            yield codes.not_compiled(component.place("memory"), component.name, f"{other}, in an optimizer")


def _gradient_points(model: Model) -> Iterator[Diagnostic]:
    for component in model.components:
        if component.gradient_at is GradientPoint.RETAINED and component.every.period > 1 and component.retention:
            what = "a gradient at the retained state on a clock of several tokens, whose retention is known at the last of them alone"
            yield codes.not_compiled(component.place("gradient_at"), component.name, what)
        yield from _held_gradient(model, component)


def _held_gradient(model: Model, component: Component) -> Iterator[Diagnostic]:
    """Levels of tokens hold their gradients; what starts again, or is cut off, inside a sequence would have to tell them."""
    place = component.place("gradient_at")
    if component.has_inlined_optimizer and component.step_at is GradientPoint.HELD:
        yield codes.held_gradient(place, component.name)
    if component.gradient_at is not GradientPoint.HELD:
        return
    if model.kind == "optimizer" or component.host is not None or component.every.family is not Family.TOKEN:
        yield codes.held_gradient(place, component.name)
    elif component.reset is not None and component.reset.family is Family.TOKEN:
        yield codes.not_compiled(place, component.name, "a held gradient of a level that is reset by tokens")
    elif component.backprop:
        yield codes.not_compiled(place, component.name, "a held gradient of a level with `backprop: truncated`")


def _reads(model: Model) -> Iterator[Diagnostic]:
    for expression in _all_expressions(model):
        for node in walk(expression):
            yield from _read(model, node)


def _read(model: Model, node: Expr) -> Iterator[Diagnostic]:
    is_optimizer = model.kind == "optimizer"
    match node:
        case State(component, when=When.HELD) if is_optimizer or model.component(component).every.family is not Family.TOKEN:
            yield codes.held_read(node.span, component)
        case Input(name, delayed=True) if name in {stream.name for stream in contexts_of(model)}:
            yield codes.not_compiled(node.span, name, "`prev` of the data of a layer")
        case Input(name, delayed=True) if name in {stream.name for stream in model.inputs if stream.is_of_sequence}:
            yield codes.not_compiled(node.span, name, "`prev` of a stream of whole sequences")


def _gradients_of_gradients(model: Model) -> Iterator[Diagnostic]:
    """A gradient that is needed before itself: where its own level's retained state, at which it is taken, is made with it."""
    needs = {component.name: {node.component for node in _gradients(*_made_of(component))} for component in model.components}
    for _ in needs:
        needs = {name: found.union(*(needs[other] for other in found)) for name, found in needs.items()}
    for component in model.components:
        if component.name in needs[component.name]:
            what = "a gradient inside what its own gradient is taken of"
            yield codes.not_compiled(component.objective_span, component.name, what)


def _made_of(component: Component) -> tuple[Expr, ...]:
    """What a level's gradient is made of: its objective, and its retention where the gradient is taken at the retained state."""
    return (component.objective, *(component.retention if component.gradient_at is GradientPoint.RETAINED else ()))


def _norms_in_sums(model: Model) -> Iterator[Diagnostic]:
    """A norm is that of one tensor, a sum runs over all of them: the slope of one inside the other is neither."""
    for component in model.components if model.kind == "optimizer" and not model.moves_matrices else ():
        if any(_has_own_norm_in_tensor(node, component) for node in (*walk(component.objective), *walk(component.follows))):
            what = "a norm of its own state as a factor inside an objective that sums over all tensors"
            yield codes.not_compiled(component.objective_span, component.name, what)


def _has_own_norm_in_tensor(node: Expr, component: Component) -> bool:
    scalars = (part for child in children(node) if child.shape == () for part in walk(child))
    norms = (part for part in scalars if node.shape == ENTRIES and isinstance(part, Norm))
    return any(_is_fitted(inner, component) for norm in norms for inner in walk(norm))


def _is_fitted(node: Expr, component: Component) -> bool:
    return isinstance(node, State) and node.when is When.FITTED and node.component == component.name


def _gradients(*expressions: Expr) -> list[Gradient]:
    return [node for expression in expressions for node in walk(expression) if isinstance(node, Gradient)]


CHECKS: tuple[Check, ...] = (
    _marked,
    _optimizers,
    _rates,
    _clocks,
    _contexts,
    _sequences,
    _parts_of_tokens,
    older_values,
    _parameters,
    _memories,
    _gradient_points,
    _optimizers_of_slow_levels,
    _lifetimes,
    rounds_inside,
    restarts_of_slow_levels,
    beside_told_levels,
    solved_levels,
    stepping_levels,
    rotations,
    solves,
    _knowledge_transfer,
    _reads,
    _gradients_of_gradients,
    _norms_in_sums,
)
