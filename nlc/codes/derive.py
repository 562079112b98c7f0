"""NLC4xx: specs that are well-formed and ordered, but whose laws this version of nlc does not derive."""

from __future__ import annotations

from nlc.codes.code import Code
from nlc.diagnostics import Diagnostic, Label
from nlc.source import Span


def _refused(code: str, message: str, span: Span, label: str, help: str) -> Diagnostic:
    return Diagnostic(code, message, (Label(span, label),), help)


def proximal_step(span: Span, level: str, why: str) -> Diagnostic:
    return _refused(
        "NLC401",
        f"the proximal step of `{level}` has no closed form that nlc derives: {why}",
        span,
        "this level's optimizer is `proximal`",
        "use `gradient_descent(...)`, the explicit step; or an objective that is quadratic in the memory, as l2 is, with one datum per update",
    )


def closed_form(span: Span, level: str, why: str) -> Diagnostic:
    return _refused(
        "NLC402",
        f"the minimiser of `{level}` has no closed form that nlc derives: {why}",
        span,
        "this level's optimizer is `closed_form`",
        "use `gradient_descent(...)`, one step per update; or an objective of squared distances, as in 0.5 * norm2(level - value)",
    )


def no_minimiser(span: Span, level: str, why: str, help: str) -> Diagnostic:
    return _refused("NLC430", f"nlc knows no closed form of the minimiser of `{level}`: {why}", span, "minimised here", help)


def needs_window(span: Span, every: Span, level: str) -> Diagnostic:
    labels = (Label(span, "this level has no window"), Label(every, "and keeps no state from one query to the next"))
    help = "write `window: all`, or `window: n tokens`: the data that it is solved over at every query"
    return Diagnostic("NLC431", f"`{level}` is re-solved for every query over no data", labels, help)


def nothing_kept(span: Span, level: str, what: str) -> Diagnostic:
    return _refused(
        "NLC432",
        f"{what} of `{level}`, of which nothing is kept",
        span,
        "this level is solved anew for every query",
        f"read `{level}` as it is now, or keep its value in a level of its own on the token clock",
    )


def level_clock(span: Span, level: str, clock: str, wanted: str) -> Diagnostic:
    return _refused(
        "NLC403",
        f"`{level}` updates every {clock}, which nlc does not compile yet",
        span,
        f"every {clock}",
        f"write `every: {wanted}`"
        + (", a whole number of them, as in `16 tokens`, `token / n` with one n for all, or `sequence`" if wanted == "token" else ""),
    )


def input_clock(span: Span, stream: str, clock: str, wanted: str) -> Diagnostic:
    return _refused(
        "NLC404",
        f"`{stream}` has a value every {clock}, which nlc does not compile yet",
        span,
        f"every {clock}",
        f"in this kind of spec every input has one value every {wanted}" + (", or every sequence" if wanted == "token" else ""),
    )


def held_read(span: Span, level: str) -> Diagnostic:
    return _refused(
        "NLC405",
        f"a held read of `{level}` is not compiled yet",
        span,
        "this reads an older, held state",
        f"levels of optimizers, and those that are solved or start again by tokens, are not held yet: read `prev({level})`",
    )


def held_gradient(span: Span, level: str) -> Diagnostic:
    return _refused(
        "NLC406",
        f"`{level}` takes its gradient at a held state, which is not compiled for levels of optimizers or of steps",
        span,
        "`gradient_at: hold(...)` is set here",
        "hold the gradient of a level that moves on the clock of tokens; here it is taken at the state before this update",
    )


def window(span: Span, level: str, how: str, help: str) -> Diagnostic:
    return _refused(
        "NLC408",
        f"`{level}` takes steps over a window {how}, which nlc does not compile",
        span,
        "the data of this level's objective",
        help,
    )


def reset_clock(span: Span, level: str, clock: str) -> Diagnostic:
    return _refused(
        "NLC409",
        f"`{level}` is reset every {clock}, which is not compiled yet",
        span,
        f"reset every {clock}",
        "drop `reset`, or reset the level every so many tokens, as in `reset: 1024 tokens`",
    )


def initial_value(span: Span, level: str) -> Diagnostic:
    return _refused(
        "NLC410",
        f"`{level}` has an initial value that nlc does not compile",
        span,
        "this level starts from what there is not yet when it starts",
        "start it from numbers, matrices, streams or other levels, not from `tick` or a gradient",
    )


def cut_inside_a_token(span: Span, level: str, updates: int, parts: int) -> Diagnostic:
    return _refused(
        "NLC419",
        f"`{level}` would be cut off inside a token: it has {parts} updates in each",
        span,
        f"truncated after {updates} updates",
        f"truncate after a multiple of {parts} updates, as in `truncated({parts * max(1, updates // parts)} updates)`",
    )


def restart(span: Span, level: str, why: str) -> Diagnostic:
    return _refused(
        "NLC420",
        f"`{level}` is reset by steps, and {why}",
        span,
        "reset by steps",
        "let it start from a slower level, or from a number, as in `init: 0`",
    )


def no_tokens(span: Span, stream: str) -> Diagnostic:
    return _refused(
        "NLC416",
        "no stream has a value for each token, so nothing says how long a sequence is",
        span,
        f"`{stream}`, and every other stream, has one value for each sequence",
        "let some stream have its values at tokens, which is what it does without `every`",
    )


def not_of_a_sequence(span: Span, level: str, what: str) -> Diagnostic:
    return _refused(
        "NLC417",
        f"`{level}` moves when a sequence ends, and has {what}, which nlc compiles for levels of tokens only",
        span,
        "every sequence",
        f"take out {what}, or let the level move every so many tokens",
    )


def late_start(span: Span, level: str) -> Diagnostic:
    return _refused(
        "NLC418",
        f"`{level}` goes on from sequence to sequence, and starts from what is known at a first token only",
        span,
        "this start needs a token",
        "start it from numbers, slow levels or matrices, or let it start again with every sequence: `reset: sequence`",
    )


def not_compiled(span: Span, level: str, what: str) -> Diagnostic:
    return _refused(
        "NLC414",
        f"`{level}` uses {what}, which is valid but not compiled by this version of nlc",
        span,
        "this is not compiled",
        "take it out; `nlc explain` shows the levels of this spec as it is",
    )


def kept_name(span: Span, level: str) -> Diagnostic:
    return _refused(
        "NLC421",
        f"nlc keeps something else of this spec under the name `{level}`",
        span,
        "a level of that name",
        f"give the level another name, as `{level}_memory`",
    )


def no_unique_solution(span: Span, matrix: str, culprit: str) -> Diagnostic:
    why = "nothing keeps it from being singular" if culprit == matrix else f"`{culprit}` is not known to be a sum of squares"
    return _refused(
        "NLC433",
        f"there may be no unique solution: `{matrix}` need not be positive definite",
        span,
        why,
        "solve with a sum of outer products x x^T, weighed by numbers that are not negative, plus a positive multiple of `eye`",
    )


def rate_out_of_range(span: Span, name: str, value: str, is_complement: bool) -> Diagnostic:
    what = f"`{name}` is {value} when it is not set" if name else f"this rate is {value}"
    why = f"a level that steps at the rate 1 - {name} then does not do what its objective says" if is_complement else "a level would climb"
    return _refused(
        "NLC434",
        f"{what}: {why}",
        span,
        f"a number from 0 on{', below 1' if is_complement else ''}",
        "give it a value in that range; a level that is to climb has the negative of its objective",
    )


def derivative_too_large(span: Span, level: str, limit: int) -> Diagnostic:
    return _refused(
        "NLC415",
        f"the gradient of the objective of `{level}` is too large",
        span,
        f"its derivative has more than {limit:,} operations",
        "nest fewer functions in the objective; softmax and quotients inside one another double the derivative each time",
    )


CODES: tuple[Code, ...] = (
    Code("NLC401", "proximal step", "An implicit step minimises the objective plus the squared distance from the retained state. nlc derives it where the objective is quadratic in a memory of one tensor: penalties, and reads at no more than two vectors, of one token."),
    Code("NLC402", "closed form", "The optimizer `closed_form` asks for the objective's own minimiser. Of levels that keep a state nlc derives it where the objective is a sum of squared distances to all of the state, with weights that are surely above 0."),
    Code("NLC403", "level on another clock", "This version compiles architectures whose levels update several times a token, at every token, every so many tokens or when a sequence ends, and optimizers whose levels update several times a step, at every step or every so many steps. Other clocks are checked and ordered, and refused here."),
    Code("NLC404", "input on another clock", "This version compiles inputs with values at tokens, several inside a token or one for a sequence (architectures) or per step (optimizers)."),
    Code("NLC405", "held read", "`hold(x, n tokens)` reads the state after the last whole period of tokens. This version compiles it for the levels of architectures. An optimizer keeps what it holds in a level of its own, which moves every so many steps."),
    Code("NLC406", "held gradient", "`gradient_at: hold(n tokens)` takes the gradient at the state that the memory had after the last whole period of tokens. This version compiles it for levels that move on the clock of tokens. It is another function than the gradient at the previous state, so nlc never replaces one by the other."),
    Code("NLC408", "window", "A level that takes a step at every token on an objective over the last tokens (`window: 8 tokens`) carries their data and writes each of them at every token, by gradient descent or an optimizer with a state. Other windows belong to levels on the clock `always`."),
    Code("NLC409", "reset", "`reset` starts a level anew on a clock. This version compiles levels that are reset with the sequence, or every so many tokens."),
    Code("NLC410", "initial value", "Architectures start a level from numbers, matrices, streams and other levels, or from the state passed to the compiled module; neither its own count of updates nor a gradient exists before its first update."),
    Code("NLC414", "not compiled yet", "The spec is well-formed, and uses a part of the language that this version checks but does not compile."),
    Code("NLC415", "derivative too large", "Derivatives are written out in full, and some objectives of moderate size have derivatives that nobody could read. nlc stops at a fixed number of operations."),
    Code("NLC416", "no stream of tokens", "A sequence is as long as its streams; a stream on the clock `sequence` has one value and no dim of time."),
    Code("NLC417", "not for a level of sequences", "A level on the clock `sequence` gathers its gradients over the tokens of a sequence and moves when that ends. Counts of its updates, gradients at a retained state and a declared knowledge transfer are compiled for levels that move at tokens."),
    Code("NLC418", "late start of what lasts", "A level that outlasts a sequence starts once. Which token that is made at would have to be carried from sequence to sequence, which nlc does not do."),
    Code("NLC419", "cut off inside a token", "`backprop: truncated(n updates)` of a level of several updates a token is compiled where n of them are whole tokens."),
    Code("NLC420", "start again of a slow level", "A slow level that is reset by steps goes back to its `init` after the step that ends a period, when all that is due has moved, and its optimizer begins anew. It starts from numbers or from levels slower than itself: what moves as often has no value that is older than its own."),
    Code("NLC421", "name of what is kept", "nlc keeps the position in a sequence, previous values and recent ones under names of its own, where a spec needs them; a level of such a name would be taken for them."),
    Code("NLC430", "no closed form", "A level on the clock `always` is the minimiser of its objective over the data of its window. nlc solves sums of weights, which do not depend on the level, times squared distances to it."),
    Code("NLC431", "always without a window", "A level on the clock `always` keeps no state: what it is solved over is the data of its window."),
    Code("NLC432", "older state of an `always` level", "A level on the clock `always` is solved anew for every query: it has no state before it, none that is held, and none to start from."),
    Code("NLC433", "no unique solution", "`solve(a, b)` and `inverse(a)` are compiled where the matrix is surely positive definite, whatever the streams are: a level that begins at zero and is written outer products x x^T, as in `-dot(gram(k), k)`, plus a positive multiple of `eye`."),
    Code("NLC434", "rate out of range", "The rate of a step is a number from 0 on. A hyperparameter h whose complement 1 - h is a rate is below 1; emitted optimizers refuse other values of both."),
)  # fmt: skip
