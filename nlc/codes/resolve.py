"""NLC2xx: a spec whose words do not add up to a model: unknown names, shapes that do not match, wrong uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from nlc.codes.code import Code, quoted, suggestion
from nlc.diagnostics import Diagnostic, Label
from nlc.source import Span


def _one(code: str, message: str, span: Span, label: str = "", help: str = "") -> Diagnostic:
    return Diagnostic(code, message, (Label(span, label),), help)


def _ring(code: str, message: str, steps: Sequence[tuple[str, Span]], help: str) -> Diagnostic:
    """Names of which each needs the next and the last the first, with the text in which they do."""
    needed = [*(name for name, _ in steps[1:]), steps[0][0]]
    return Diagnostic(
        code, message, tuple(Label(span, f"{name} needs {other}") for (name, span), other in zip(steps, needed, strict=True)), help
    )


OBJECTIVE_WORDS: Mapping[str, str] = MappingProxyType({"prediction": "keys", "key": "keys", "value": "values"})
"""Words of an objective, and the key of the level that gives them their meaning."""


def unknown_name(name: str, span: Span, known: Iterable[str], listed: Iterable[str] | None = None) -> Diagnostic:
    """A name that nothing has; `listed`, when given, are those of the known names that are worth a list."""
    help = suggestion(name, known, "names", listed)
    if name in OBJECTIVE_WORDS:
        field = OBJECTIVE_WORDS[name]
        help = f"`{name}` has a meaning in the objective of a level that has `{field}`: write `{field}: ...` in the level"
    label = "not a stream, number, level or function of this spec"
    return _one("NLC201", f"{quoted(name)} is not defined", span, label, help)


def shapes_differ(operator: str, left: tuple[Span, str], right: tuple[Span, str]) -> Diagnostic:
    """`operator` between two operands whose shapes do not match; each operand comes with its shape in words."""
    labels = (Label(left[0], left[1]), Label(right[0], right[1]))
    return Diagnostic(
        "NLC202",
        f"the shapes of the two sides of `{operator}` do not match",
        labels,
        "dims are compared by name, never by size; a vector goes with a matrix along the dim that it names",
    )


def product_shapes(left: tuple[Span, str], right: tuple[Span, str], *, fits_transposed: bool) -> Diagnostic:
    labels = (Label(left[0], left[1]), Label(right[0], right[1]))
    help = "`a @ b` needs a matrix on the left whose columns have the name of b's rows; dims are compared by name"
    if fits_transposed:
        help = "with transpose(...) around the left side it fits"
    return Diagnostic("NLC203", "the inner dims of this product do not match", labels, help)


def not_a_function(span: Span, what: str) -> Diagnostic:
    return _one(
        "NLC204",
        f"{what} cannot be applied to anything",
        span,
        "used like a function here",
        "multiply with `*`, or apply a level: memory(k)",
    )


def wrong_arguments(span: Span, name: str, expected: str) -> Diagnostic:
    return _one("NLC205", f"wrong arguments for `{name}`", span, "", f"write {expected}")


def objective_not_scalar(span: Span, level: str, shape: str) -> Diagnostic:
    return _one(
        "NLC206",
        f"the objective of `{level}` is not a scalar",
        span,
        f"this is a {shape}",
        "an objective is one number, such as norm2(...) or sum(...) of this",
    )


def unknown_memory(span: Span, name: str, known: Iterable[str]) -> Diagnostic:
    return _one("NLC207", f"there is no memory {quoted(name)}", span, "", suggestion(name, known, "memories"))


def not_a_size(span: Span, text: str) -> Diagnostic:
    return _one("NLC208", "a size is wanted here", span, text, "sizes are made of dims and whole numbers with + - * and / : 4 * d_k")


def unused_part(span: Span, objective: Span, level: str, part: str) -> Diagnostic:
    words = " or ".join(f"`{word}`" for word, field in OBJECTIVE_WORDS.items() if field == part)
    help = f"write {words} in the objective, or take this line out"
    labels = (Label(span, f"the {part} are given here"), Label(objective, "and not used here"))
    return Diagnostic("NLC209", f"the objective of `{level}` does not use its {part}", labels, help)


def wrong_shape(span: Span, what: str, shape: str, wanted: str) -> Diagnostic:
    return _one("NLC210", f"{what} has the wrong shape", span, f"this is a {shape}", f"it must be {wanted}")


def not_a_clock(span: Span) -> Diagnostic:
    return _one(
        "NLC211", "this is not a clock", span, "",
        "clocks are: always, token / n, token, n tokens, sequence, step / n, step, n steps, never",
    )  # fmt: skip


def bad_count(span: Span, value: str) -> Diagnostic:
    return _one(
        "NLC212", "a period must be a whole number of 1 or more", span, f"this is {value}",
        "write it like `16 tokens`; several updates inside one tick are written `token / 2`",
    )  # fmt: skip


def unknown_binding(span: Span, owner: str, name: str, known: Iterable[str]) -> Diagnostic:
    return _one("NLC213", f"`{owner}` takes no argument {quoted(name)}", span, "", suggestion(name, known, "arguments"))


def unknown_level(span: Span, name: str, known: Iterable[str]) -> Diagnostic:
    return _one("NLC214", f"there is no level {quoted(name)}", span, "", suggestion(name, known, "levels"))


def not_in_time(span: Span, word: str, help: str) -> Diagnostic:
    return _one("NLC215", f"`{word}` cannot be used like this", span, "", help)


def dims_in_circle(steps: Sequence[tuple[str, Span]]) -> Diagnostic:
    return _ring("NLC216", "dims define one another in a circle", steps, "give one of them a number")


def dim_not_whole(span: Span, name: str, value: str) -> Diagnostic:
    return _one(
        "NLC217", f"the size `{name}` is not a whole number from 1 to 1,048,576", span, f"with the default sizes this is {value}",
        "change the expression, or the default sizes of the dims in it",
    )  # fmt: skip


def own_name_outside_objective(span: Span, level: str, where: str) -> Diagnostic:
    return _one(
        "NLC218", f"`{level}` reads its own new state in its {where}", span, "not known before the update",
        f"read the state before the update: prev({level})",
    )  # fmt: skip


def abbreviation_circle(steps: Sequence[tuple[str, Span]]) -> Diagnostic:
    help = "an entry of `let` or `define` stands for its text, which cannot hold itself; make one of them a level, which has a state"
    return _ring("NLC219", "abbreviations mean one another in a circle", steps, help)


def misplaced(span: Span, what: str, help: str) -> Diagnostic:
    return _one("NLC220", f"{what} has no value of its own here", span, "", help)


def no_such_axis(span: Span, name: str, shape: str, dims: Sequence[str]) -> Diagnostic:
    help = f"write over = {dims[0]}" if dims else "leave `over` out: a scalar has no dims"
    return _one("NLC221", f"there is no dim {quoted(name)} to go over", span, f"the argument is a {shape}", help)


def cannot_read(span: Span, level: str, given: str, wanted: str) -> Diagnostic:
    return _one("NLC222", f"`{level}` cannot be read with this", span, f"this is a {given}", f"{level}(x) takes a {wanted}")


def like_outside_optimizer(span: Span) -> Diagnostic:
    return _one(
        "NLC223",
        "`like(weights)` belongs to optimizers",
        span,
        "this spec is not `kind: optimizer`",
        "name the size: vector(d) or matrix(d_v, d_k)",
    )


def ambiguous_dim(span: Span, what: str, dim: str) -> Diagnostic:
    return _one(
        "NLC224",
        f"{what} either dim `{dim}` of a matrix",
        span,
        "",
        "give the two dims different names, such as d_in and d_out; they may have the same size",
    )


def nothing_to_fit(span: Span, level: str) -> Diagnostic:
    return _one(
        "NLC225", f"the objective of `{level}` does not depend on `{level}`", span, "its gradient is zero",
        f"mention prediction, {level}(key) or {level} itself",
    )  # fmt: skip


def not_a_duration(span: Span) -> Diagnostic:
    return _one("NLC226", "a number of tokens is wanted here", span, "", "write it like `16 tokens`")


def given_not_equation(span: Span) -> Diagnostic:
    return _one(
        "NLC227",
        "`given` takes equations that fix a stream, number or old state",
        span,
        "",
        "write it like `prev(momentum) == 0`, several joined by `and`",
    )


def prove_not_equation(span: Span) -> Diagnostic:
    return _one("NLC228", "`prove` takes one equation", span, "", "write it like `memory == prev(memory) + outer(v, k)`")


def too_large(span: Span, what: str) -> Diagnostic:
    return _one(
        "NLC229", "this expression is too large", span, what, "shorten what it uses of `let`, or make a part of it a level of its own"
    )


def has_no_value(span: Span, level: str, parts: Sequence[str]) -> Diagnostic:
    return _one(
        "NLC230",
        f"`{level}` has {len(parts)} states and no single value",
        span,
        "",
        f"apply it to something, or name a state: {', '.join(f'{level}.{part}' for part in parts)}",
    )


def has_no_read(span: Span, level: str, memory: str) -> Diagnostic:
    return _one("NLC231", f"`{level}` cannot be applied to anything: {quoted(memory)} has no read", span, "", f"use its value: {level}")


def bad_range(span: Span) -> Diagnostic:
    return _one("NLC232", "a range goes from a number to a larger one", span, "", "write the smaller number first: range: [0, 1]")


def order_not_chain(span: Span) -> Diagnostic:
    return _one("NLC233", "`order` compares levels", span, "", "write it like `momentum > weights` (faster than), `a ~ b` (a tie)")


def missing_field(span: Span, level: str, field: str, help: str) -> Diagnostic:
    return _one("NLC234", f"level `{level}` has no `{field}`", span, "", help)


def unknown_option(span: Span, field: str, choices: str) -> Diagnostic:
    return _one("NLC235", f"{quoted(span.text)} is not a value of `{field}`", span, "", f"write one of: {choices}")


def not_scalar_condition(span: Span) -> Diagnostic:
    return _one(
        "NLC236", "the first argument of `where` is not a comparison", span, "", "write it like where(a < b, x, y), with <, <=, > or >="
    )


def missing_state(span: Span, level: str, name: str, known: Iterable[str]) -> Diagnostic:
    return _one("NLC237", f"`{level}` has no state {quoted(name)}", span, "", suggestion(name, known, "states"))


def no_such_stream(span: Span, name: str, what: str, known: Iterable[str]) -> Diagnostic:
    return _one("NLC238", f"{quoted(name)} is not {what}", span, "", suggestion(name, known, "names"))


def repeated_binding(span: Span, name: str) -> Diagnostic:
    return _one("NLC239", f"`{name}` is given twice", span, "given by its position before", "keep one of the two")


def not_constant(span: Span, what: str) -> Diagnostic:
    return _one("NLC240", f"{what} must be a number", span, "", "write a number such as 0.01, or one made of numbers with + - * / and **")


def number_out_of_bounds(span: Span, digits: int) -> Diagnostic:
    return _one(
        "NLC241",
        "a number is out of bounds",
        span,
        f"as a fraction it has more than {digits} digits above or below the line",
        f"numbers are kept exactly: keep them between 1e-{digits} and 1e{digits}, and write long decimals in fewer digits",
    )


def unread_state(span: Span, memory: str, state: str, read: Span) -> Diagnostic:
    labels = (Label(span, "stored here"), Label(read, "and not used here"))
    help = "use it in `read`, or take it out of `states`"
    return Diagnostic("NLC242", f"the read of `{memory}` does not use its state {quoted(state)}", labels, help)


def axis_without_size(span: Span, axis: str, function: str) -> Diagnostic:
    help = f"give the axis a size: `dims: {{{axis}: 4, ...}}`"
    return _one("NLC243", f"`{function}` needs to know how many {axis} there are", span, "this axis is no dim of the spec", help)


def across_axis(span: Span, text: str, problem: str, help: str) -> Diagnostic:
    return _one("NLC244", f"{quoted(text)} {problem}", span, "split or joined here", help)


def not_a_number_of_the_spec(span: Span, level: str) -> Diagnostic:
    help = "a slow level moves once a step, when no token is at hand: use numbers, hyperparameters and dims"
    return _one("NLC245", f"the optimizer of the slow level {quoted(level)} reads something that changes with the tokens", span, "", help)


def trains_nothing(span: Span) -> Diagnostic:
    return _one("NLC246", "there is no slow level to train", span, "", "give a level the clock `step`, `n steps`, or take `outer` out")


CODES = (
    Code("NLC201", "name not defined", "Expressions may use the spec's dims, inputs, hyperparameters, levels and `let` entries, and nlc's functions."),
    Code("NLC202", "shapes differ", "Two operands of +, -, * or / must have one shape, be scalars, or be a vector and a matrix that has the vector's dim."),
    Code("NLC203", "inner dims of a product differ", "A product `a @ b` sums over a's last dim and b's first; both must have one name."),
    Code("NLC204", "not a function", "Only levels with a read, functions of the language and entries of `define` can be applied."),
    Code("NLC205", "wrong arguments", "A function was called with too many, too few or unknown arguments."),
    Code("NLC206", "objective is not a scalar", "An inner objective is one number per tick: nlc takes its gradient."),
    Code("NLC207", "unknown memory", "A memory is `matrix(rows, columns)`, `vector(size)`, `mlp(d_in, hidden, d_out)`, `like(weights)`, or an entry of `define` with `states` and `read`."),
    Code("NLC208", "not a size", "Shapes are written with dims and whole numbers."),
    Code("NLC209", "keys or values are not used", "Keys and values that the objective never mentions would silently change nothing."),
    Code("NLC210", "wrong shape", "Retentions and rates are scalars, or go along a dim of the state."),
    Code("NLC211", "not a clock", "`every:` and `reset:` take a clock."),
    Code("NLC212", "bad period", "Periods count ticks: whole numbers of 1 or more."),
    Code("NLC213", "unknown argument", "Arguments are given by position or by name: hyperparameters of an optimizer in the order of its spec, or the `parameters` of a definition."),
    Code("NLC214", "unknown level", "Claims about order name levels; an optimizer's own levels are called `memory.momentum`."),
    Code("NLC215", "prev or hold used wrongly", "`prev` takes a level or stream; `hold` takes one and a number of tokens."),
    Code("NLC216", "circular dims", "A dim may be defined by others, in no circle."),
    Code("NLC217", "size out of range", "A size that is an expression must come out whole, from 1 to 2**20, at the default sizes of its dims."),
    Code("NLC218", "own state read outside the objective", "In rates, retentions and the like a level's own name is not known yet: read `prev(level)`."),
    Code("NLC219", "circular abbreviations", "Entries of `let` and `define` mean their text where they are used, so they cannot use one another in a circle."),
    Code("NLC220", "not a value", "Comparisons are conditions of `where` and what a claim says; lists and functions belong to the keys that take them."),
    Code("NLC221", "no such dim", "`over =` names a dim of the argument."),
    Code("NLC222", "memory read with the wrong shape", "A memory's read takes a vector of its column dim."),
    Code("NLC223", "like(weights) outside an optimizer", "`like(weights)` is the shape of whatever an optimizer serves."),
    Code("NLC224", "ambiguous dim", "Dims are told apart by name, so of a matrix that has one dim twice neither can be meant."),
    Code("NLC225", "objective does not depend on the level", "A level whose objective does not mention it would never move."),
    Code("NLC226", "not a duration", "`hold` takes a number of tokens."),
    Code("NLC227", "given is not an equation", "Side conditions fix streams, hyperparameters or old states."),
    Code("NLC228", "prove is not an equation", "A claim to prove is one equation between two expressions."),
    Code("NLC229", "expression too large", "Abbreviations are written out where they are used and numbers are kept exactly; both have a limit."),
    Code("NLC230", "memory without a single value", "A memory with several states is applied, or its states are named."),
    Code("NLC231", "memory without a read", "A vector memory has a value and cannot be applied."),
    Code("NLC232", "bad range", "`range: [low, high]` says which values a stream takes."),
    Code("NLC233", "order is not a chain of levels", "An order claim compares levels with >, < and ~."),
    Code("NLC234", "level lacks a field", "A level says its objective, optimizer and clock; in an architecture also its memory."),
    Code("NLC235", "unknown word", "The field takes one of a few words."),
    Code("NLC236", "where without a comparison", "The first argument of `where` is a comparison."),
    Code("NLC237", "unknown state", "`level.state` names a state of the level's memory."),
    Code("NLC238", "not a stream or number of the spec", "Bindings name inputs and hyperparameters."),
    Code("NLC239", "given twice", "An argument was bound by position and by name."),
    Code("NLC240", "not a number", "Hyperparameters have numbers as defaults."),
    Code("NLC241", "number out of bounds", "nlc computes with exact fractions, which must stay within the range of floating point."),
    Code("NLC242", "state that is never read", "What a memory stores it has to answer with: a state that its read does not use would never learn from an objective."),
    Code("NLC243", "axis without a size", "`split` and `join` cut and lay together vectors by the number of places along an axis, which then has to be a dim of the spec."),
    Code("NLC244", "split or join used wrongly", "`split` takes a vector that is the same along the axis, `join` one that differs; neither takes what an objective fits."),
    Code("NLC245", "slow optimizer reads tokens", "Slow levels move once in so many outer steps: the numbers of their optimizers are numbers and hyperparameters."),
    Code("NLC246", "outer trains nothing", "`outer` is what trains the levels on the clocks of steps; without such a level it would silently do nothing."),
)  # fmt: skip
