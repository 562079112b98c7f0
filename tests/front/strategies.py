"""Texts to fuzz the front end with: shipped specs with mutations, and random specs in the words of the language."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from hypothesis import strategies as st

from nlc.parse import parse_library
from nlc.parse.fields import TABLES
from nlc.parse.names import LANGUAGE_WORDS
from nlc.parse.shipped import LIBRARY_FOLDER, shipped_specs_folder
from nlc.resolve.functions import FUNCTIONS

Draw = Callable[..., str]

WORDS = tuple(
    sorted(
        {"beta", "k", "v", "q", "d_k", "d_v", "memory", "weights", "momentum", "gradient", "decay", "learning_rate"}
        | LANGUAGE_WORDS
        | FUNCTIONS.keys()
        | {item.name.text for item in parse_library()}
        | {field.key for fields in TABLES.values() for field in fields}
    )
)
SIGNS = ("+", "-", "*", "/", "@", "**", "==", "<", ">", "~", "(", ")", "[", "]", "{", "}", ",", ":", "=", "->", "'", '"', "#", "|", ">-", "&", "!", "%")
NUMBERS = ("0", "1", "-1", "0.5", "1e-3", "1e400", "1e-400", "1048577", "007", "99999999999999999999")
ODD = ("\x00", "\u202e", "\t", "\r", "\ufeff", "𝑀", "λ", "😀", "\\", "`", "$", "\x7f", "\u2028", "e\u0301")
PIECE = re.compile(r"[A-Za-z_]+|[0-9.]+|\S")


@cache
def shipped_texts() -> tuple[str, ...]:
    """The text of every spec that comes with nlc."""
    paths = [*shipped_specs_folder().rglob("*.yaml"), *LIBRARY_FOLDER.glob("*.yaml")]
    return tuple(path.read_text(encoding="utf-8") for path in sorted(paths))


# --- mutations ---------------------------------------------------------------------------------------------------


def _deleted(draw: Draw, lines: list[str]) -> list[str]:
    index = draw(st.integers(0, len(lines) - 1))
    return lines[:index] + lines[index + 1 :]


def _doubled(draw: Draw, lines: list[str]) -> list[str]:
    index = draw(st.integers(0, len(lines) - 1))
    return [*lines[: index + 1], *lines[index:]]


def _swapped(draw: Draw, lines: list[str]) -> list[str]:
    one, other = draw(st.integers(0, len(lines) - 1)), draw(st.integers(0, len(lines) - 1))
    swapped = list(lines)
    swapped[one], swapped[other] = swapped[other], swapped[one]
    return swapped


def _indented(draw: Draw, lines: list[str]) -> list[str]:
    index = draw(st.integers(0, len(lines) - 1))
    moved = draw(st.sampled_from([f"  {lines[index]}", lines[index].removeprefix("  "), lines[index].lstrip()]))
    return [*lines[:index], moved, *lines[index + 1 :]]


def _replaced(draw: Draw, lines: list[str]) -> list[str]:
    """Another word, sign, number or odd character in place of a piece."""
    index = draw(st.integers(0, len(lines) - 1))
    pieces = list(PIECE.finditer(lines[index]))
    if not pieces:
        return lines
    piece = draw(st.sampled_from(pieces))
    new = draw(st.sampled_from(WORDS) | st.sampled_from(SIGNS) | st.sampled_from(NUMBERS) | st.sampled_from(ODD) | st.just(""))
    changed = lines[index][: piece.start()] + new + lines[index][piece.end() :]
    return [*lines[:index], changed, *lines[index + 1 :]]


def _inserted(draw: Draw, lines: list[str]) -> list[str]:
    index = draw(st.integers(0, len(lines) - 1))
    place = draw(st.integers(0, len(lines[index])))
    new = draw(st.text(max_size=4) | st.sampled_from(ODD) | st.sampled_from(SIGNS))
    return [*lines[:index], lines[index][:place] + new + lines[index][place:], *lines[index + 1 :]]


MUTATIONS = (_deleted, _doubled, _swapped, _indented, _replaced, _replaced, _replaced, _inserted)


@st.composite
def mutated_specs(draw: Draw) -> str:
    """A shipped spec after one to four mutations, sometimes cut off."""
    lines = draw(st.sampled_from(shipped_texts())).split("\n")
    for mutate in draw(st.lists(st.sampled_from(MUTATIONS), min_size=1, max_size=4)):
        lines = mutate(draw, lines) or [""]
    text = "\n".join(lines)
    return text[: draw(st.integers(0, len(text)))] if draw(st.integers(0, 9)) == 0 else text


# --- random specs ------------------------------------------------------------------------------------------------

DIMS = ("d_k", "d_v")
STREAMS = {"scalar": ("beta", "alpha", "rate", "0.5", "2", "tick", "sqrt(d_k)"), "d_k": ("q", "k", "gate"), "d_v": ("v",)}
LEVELS = ("memory", "second", "bias")
"""`memory` and `second` are matrices (d_v, d_k), `bias` is a vector (d_v), when a spec has them as drawn below."""

MAPS = ("tanh", "sigmoid", "relu", "exp", "log", "sqrt", "abs", "silu", "gelu", "stop_gradient", "softplus", "sign")
READS = ("{0}", "prev({0})", "hold({0}, 16 tokens)")
SLIPS = ("{0} + {1}", "{0} @ {1}", "{0}({1})", "prev({0})", "{0} < {1}", "[{0}]", "outer({0}, {1})", "sum({0}, over = d_k)", "{0} ** {1}")


@st.composite
def expressions(draw: Draw, shape: str, depth: int = 3) -> str:
    """An expression that mostly has the shape: `scalar`, a dim for a vector, or `matrix` (d_v, d_k)."""

    def of(shape: str) -> str:
        return draw(expressions(shape, depth - 1))

    def reading(level: str) -> str:
        return draw(st.sampled_from(READS)).format(level)

    def any_shape() -> str:
        return draw(st.sampled_from(("scalar", *DIMS, "matrix")))

    if draw(st.integers(0, 39)) == 0 and depth:
        return draw(st.sampled_from(SLIPS)).format(of(any_shape()), of(any_shape()))
    if not depth or draw(st.integers(0, 3)) == 0:
        leaves = STREAMS.get(shape, (reading(draw(st.sampled_from(LEVELS[:2]))),))
        extra = ("bias", "prediction", "value") if shape == "d_v" else ("key",) if shape == "d_k" else ()
        return draw(st.sampled_from((*leaves, *extra)))
    forms = [
        lambda: f"({of(shape)} {draw(st.sampled_from('+-*/'))} {of(shape)})",
        lambda: f"{of('scalar')} * {of(shape)}",
        lambda: f"{draw(st.sampled_from(MAPS))}({of(shape)})",
        lambda: f"where({of('scalar')} < {of('scalar')}, {of(shape)}, {of(shape)})",
        lambda: f"maximum({of(shape)}, {of(shape)})",
        lambda: f"-{of(shape)}",
    ]
    if shape == "scalar":
        dim = draw(st.sampled_from(DIMS))
        forms += [lambda: f"dot({of(dim)}, {of(dim)})", lambda: f"norm2({of(dim)})", lambda: f"norm({of(dim)})", lambda: f"sum({of(dim)})"]
        forms += [lambda: f"{of(shape)} ** {draw(st.sampled_from(('2', '3', '0.5', '-1')))}", lambda: "l2", lambda: f"mean({of('matrix')})"]
    elif shape in DIMS:
        forms += [lambda: f"softmax({of(shape)})", lambda: f"l2_normalise({of(shape)})"]
    if shape == "d_v":
        forms += [lambda: f"{reading(draw(st.sampled_from(LEVELS)))}({of('d_k')})", lambda: f"{of('matrix')} @ {of('d_k')}"] * 2
    if shape == "matrix":
        forms += [lambda: f"outer({of('d_v')}, {of('d_k')})", lambda: f"{of('matrix')} @ (eye - outer({of('d_k')}, {of('d_k')}))"]
    return str(draw(st.sampled_from(forms))())


CLOCKS = ("token",) * 6 + ("16 tokens", "token / 2", "4 tokens", "6 tokens", "sequence", "step", "4 steps", "never", "always", "period tokens")
OPTIMIZERS = ("gradient_descent({0})",) * 5 + ("proximal({0})", "closed_form", "momentum({0}, decay = {1})", "heavy_ball", "momentum({0}, {1}, {1})")
OPTIONS = (
    ("retention: {0}",) * 4
    + ("gradient_at: retained",) * 3
    + ("gradient_at: hold(16 tokens)", "init: {0}", "init: learned", "reset: 16 tokens", "reduce: mean", "window: 8 tokens", "backprop: none")
)


@st.composite
def levels(draw: Draw, name: str) -> str:
    """One level with its fields, in block style."""

    def scalar() -> str:
        return draw(expressions("scalar", 2))

    memory = "vector(d_v)" if name == "bias" else draw(st.sampled_from(("matrix(d_v, d_k)",) * 8 + ("matrix(d_k, d_k)", "like(weights)")))
    lines = [f"  {name}:", f"    memory: {memory}"]
    if name != "bias" and draw(st.booleans()):
        lines.append(f"    keys: {draw(expressions('d_k', 2))}")
    if draw(st.booleans()):
        lines.append(f"    values: {draw(expressions('d_v', 2))}")
    own = name if name == "bias" else f"{name}({draw(expressions('d_k', 1))})"
    objective = st.sampled_from(("l2", "dot", "huber(0.5)", f"0.5 * norm2({own} - v)", f"dot({own}, v)", f"norm2({own})"))
    lines.append(f"    objective: {draw(objective)}" + (f" + {draw(expressions('scalar', 3))}" if draw(st.booleans()) else ""))
    for option in draw(st.lists(st.sampled_from(OPTIONS), max_size=2, unique_by=lambda text: text.partition(":")[0])):
        lines.append(f"    {option.format(draw(expressions(draw(st.sampled_from(('scalar', 'd_k', 'd_v'))), 2)))}")
    lines.append(f"    optimizer: {draw(st.sampled_from(OPTIMIZERS)).format(scalar(), scalar())}")
    lines.append(f"    every: {draw(st.sampled_from(CLOCKS))}")
    return "\n".join(lines)


@st.composite
def claims(draw: Draw) -> str:
    """A claim, in block style."""
    shape = draw(st.sampled_from(("scalar", *DIMS, "matrix")))
    equation = f"{draw(expressions(shape, 2))} == {draw(expressions(shape, 2))}"
    kind = draw(
        st.sampled_from(
            (f"prove: {equation}", "order: memory > second ~ bias", "order: memory.momentum > memory", "same_as: architectures/delta_rule")
        )
    )
    lines = ["  - says: it is so", f"    {kind}"]
    if kind.startswith("same_as") and draw(st.booleans()):
        lines.append(f"    where: {{beta: {draw(st.sampled_from(('alpha', 'q', '0.5')))}}}")
    if draw(st.integers(0, 3)) == 0:
        lines.append(f"    given: {draw(st.sampled_from(('beta == 0', 'prev(memory) == 0', 'memory == 0', equation)))}")
    return "\n".join(lines)


@st.composite
def random_specs(draw: Draw) -> str:
    """A spec in the words of the language; some compile, and most of the others are wrong in one place."""
    names = LEVELS if draw(st.booleans()) else LEVELS[: draw(st.integers(1, 2))]
    lines = ["nlc: 1", "name: Fuzz", f"kind: {draw(st.sampled_from(('architecture',) * 9 + ('optimizer',)))}"]
    lines += ["dims: {d_k: 4, d_v: 3}", "axes: [heads]"]
    lines += ["inputs: {q: [d_k], k: [d_k], v: [d_v], gate: [d_k], beta: [], alpha: [], gradient: like(weights)}"]
    if lines[2] == "kind: architecture":
        lines[-1] = lines[-1].replace(", gradient: like(weights)", "")
    lines.append("hyperparameters: {rate: 0.1, period: 8}")
    if draw(st.integers(0, 3)) == 0:
        lines += ["let:", f"  abbreviation: {draw(expressions('d_k', 2))}", "  other: abbreviation + abbreviation"]
    lines += ["levels:", *(draw(levels(name)) for name in names)]
    lines += ["outputs:", f"  y: {draw(expressions('d_v', 3))}"]
    if draw(st.booleans()):
        lines += ["claims:", *draw(st.lists(claims(), min_size=1, max_size=2))]
    return "\n".join(lines) + "\n"
