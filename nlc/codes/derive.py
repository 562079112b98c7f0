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


def closed_form(span: Span, level: str) -> Diagnostic:
    return _refused(
        "NLC402",
        f"`{level}` is solved in closed form, which nlc does not derive yet",
        span,
        "this level's optimizer is `closed_form`",
        "use `gradient_descent(...)`, one step per update",
    )


def level_clock(span: Span, level: str, clock: str, wanted: str) -> Diagnostic:
    return _refused(
        "NLC403",
        f"`{level}` updates every {clock}, which nlc does not compile yet",
        span,
        f"every {clock}",
        f"write `every: {wanted}`"
        + (", a whole number of them, as in `16 tokens`, or `token / n` with one n for all" if wanted == "token" else ""),
    )


def input_clock(span: Span, stream: str, clock: str, wanted: str) -> Diagnostic:
    return _refused(
        "NLC404",
        f"`{stream}` has a value every {clock}, which nlc does not compile yet",
        span,
        f"every {clock}",
        f"in this kind of spec every input has one value every {wanted}",
    )


def held_read(span: Span, level: str) -> Diagnostic:
    return _refused(
        "NLC405",
        f"a held read of `{level}` is not compiled yet",
        span,
        "this reads an older, held state",
        f"only levels on the clocks of tokens are held yet: read the state before this update, `prev({level})`",
    )


def held_gradient(span: Span, level: str) -> Diagnostic:
    return _refused(
        "NLC406",
        f"`{level}` takes its gradient at a held state, which is not compiled yet",
        span,
        "`gradient_at: hold(...)` is set here",
        "drop `gradient_at`: the gradient is then taken at the state before this update, which is another function",
    )


def delayed_input(span: Span, stream: str) -> Diagnostic:
    return _refused(
        "NLC407",
        f"the previous value of the stream `{stream}` of an optimizer is not compiled yet",
        span,
        "`prev` of an input",
        f"keep it in a level of its own, whose objective is 0.5 * norm2(previous - {stream}), at the rate 1, and read `prev` of that level",
    )


def window(span: Span, level: str) -> Diagnostic:
    return _refused(
        "NLC408",
        f"`{level}` has a window, which is not compiled yet",
        span,
        "this level's objective ranges over several tokens",
        "drop `window`: the objective is then about this tick's data alone",
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
        f"`{level}` has an initial value that is no number known beforehand, which is not compiled yet",
        span,
        "this level starts from a stream, a state or a matrix",
        "write a number or hyperparameters, as in `init: 0.5`, or pass the initial state to the compiled module: `module(..., state=...)`",
    )


def mean_reduction(span: Span, level: str) -> Diagnostic:
    return _refused(
        "NLC412",
        f"`{level}` averages over the data of an update, which is not compiled yet",
        span,
        "`reduce: mean` is set here",
        "drop `reduce`: with one datum per update the mean and the sum are the same",
    )


def tick_count(span: Span, level: str) -> Diagnostic:
    return _refused(
        "NLC413",
        f"the count of updates of `{level}`, in an optimizer, is not compiled yet",
        span,
        "this reads `tick`",
        "pass the number as an input or a hyperparameter",
    )


def not_compiled(span: Span, level: str, what: str) -> Diagnostic:
    return _refused(
        "NLC414",
        f"`{level}` uses {what}, which is valid but not compiled by this version of nlc",
        span,
        "this is not compiled",
        "take it out; `nlc explain` shows the levels of this spec as it is",
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
    Code("NLC402", "closed form", "The optimizer `closed_form` asks for the objective's own minimiser. This version derives explicit gradient steps only."),
    Code("NLC403", "level on another clock", "This version compiles architectures whose levels update at every token or every so many tokens, and optimizers whose levels update at every step. Other clocks are checked and ordered, and refused here."),
    Code("NLC404", "input on another clock", "This version compiles inputs with one value per token (architectures) or per step (optimizers)."),
    Code("NLC405", "held read", "`hold(x, n tokens)` reads the state after the last whole period of tokens. This version compiles it for levels that move on the clocks of tokens, not for those of optimizers."),
    Code("NLC406", "held gradient", "`gradient_at: hold(...)` takes the gradient at the state of the chunk's start. This is another function than the gradient at the previous state, so nlc never replaces one by the other."),
    Code("NLC407", "delayed input", "`prev(x)` of an input is its value at the tick before, which is state. Compiled architectures carry it; compiled optimizers do not yet."),
    Code("NLC408", "window", "A window makes the objective range over several tokens, whose data would be state. This version compiles objectives of one tick."),
    Code("NLC409", "reset", "`reset` starts a level anew on a clock. This version compiles levels that are reset with the sequence, or every so many tokens."),
    Code("NLC410", "initial value", "This version starts every state from zeros, in architectures also from any number that is known beforehand, or from the state passed to the compiled module."),
    Code("NLC412", "mean over data", "`reduce: mean` divides the gradient by the number of data of an update. Architectures compile it; an optimizer of this version has one datum per update, and no mean to take."),
    Code("NLC413", "tick", "`tick` counts the updates of a level since its last reset. Compiled architectures count them; compiled optimizers of this version carry no counts."),
    Code("NLC414", "not compiled yet", "The spec is well-formed, and uses a part of the language that this version checks but does not compile."),
    Code("NLC415", "derivative too large", "Derivatives are written out in full, and some objectives of moderate size have derivatives that nobody could read. nlc stops at a fixed number of operations."),
)  # fmt: skip
