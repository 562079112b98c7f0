"""Texts to fuzz the front end with: shipped specs with mutations, and random specs in the words of the language."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from nlc.parse import parse_library
from nlc.parse.fields import TABLES
from nlc.parse.names import LANGUAGE_WORDS
from nlc.parse.shipped import shipped_specs_folder
from nlc.resolve.functions import FUNCTIONS

Draw = Callable[..., Any]

WORDS = tuple(
    sorted(
        {"beta", "k", "v", "q", "d_k", "d_v", "memory", "weights", "momentum", "gradient", "decay", "learning_rate"}
        | LANGUAGE_WORDS
        | FUNCTIONS.keys()
        | {item.name.text for item in parse_library()}
        | {field.key for fields in TABLES.values() for field in fields}
    )
)
SIGNS = tuple("+ - * / @ ** == < > ~ ( ) [ ] { } , : = -> ' \" # | >- & ! %".split())
NUMBERS = ("0", "1", "-1", "0.5", "1e-3", "1e400", "1e-400", "1048577", "007", "99999999999999999999")
ODD = ("\x00", "\u202e", "\t", "\r", "\ufeff", "\U0001d440", "λ", "😀", "\\", "`", "$", "\x7f", "\u2028", "e\u0301")
LONGEST_SEED = 4000
PIECE = re.compile(r"[A-Za-z_]+|[0-9.]+|\S")


@cache
def seeds() -> tuple[str, ...]:
    """The text of every spec that comes with nlc, and of every spec with one mistake."""
    paths = [*shipped_specs_folder().rglob("*.yaml"), *(Path(__file__).parents[1] / "bad").glob("*.yaml")]
    return tuple(path.read_text(encoding="utf-8", errors="replace")[:LONGEST_SEED] for path in sorted(paths))


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
    piece = draw(st.sampled_from(pieces[2:] or pieces))  # after the key and its colon, if there is more
    others = [found.group() for found in PIECE.finditer("\n".join(lines))]
    new = draw(st.sampled_from(draw(st.sampled_from((WORDS, WORDS, others, others, others, SIGNS, NUMBERS, ODD, ("",))))))
    changed = lines[index][: piece.start()] + new + lines[index][piece.end() :]
    return [*lines[:index], changed, *lines[index + 1 :]]


def _inserted(draw: Draw, lines: list[str]) -> list[str]:
    index = draw(st.integers(0, len(lines) - 1))
    place = draw(st.integers(0, len(lines[index])))
    new = draw(st.text(max_size=4) | st.sampled_from(ODD) | st.sampled_from(SIGNS))
    return [*lines[:index], lines[index][:place] + new + lines[index][place:], *lines[index + 1 :]]


MUTATIONS = (_replaced,) * 12 + (_deleted, _doubled, _swapped, _indented, _inserted)


@st.composite
def mutated_specs(draw: Draw) -> str:
    """A shipped spec after one to four mutations, sometimes cut off."""
    lines = draw(st.sampled_from(seeds())).split("\n")
    for mutate in draw(st.lists(st.sampled_from(MUTATIONS), min_size=1, max_size=4)):
        lines = mutate(draw, lines) or [""]
    text = "\n".join(lines)
    return text[: draw(st.integers(0, len(text)))] if draw(st.integers(0, 9)) == 0 else text


# --- random specs ------------------------------------------------------------------------------------------------

MAPS = ("tanh", "sigmoid", "relu", "exp", "log", "sqrt", "abs", "silu", "gelu", "stop_gradient", "softplus", "sign")
SLIPS = ("{0} + {1}", "{0} @ {1}", "{0}({1})", "prev({0})", "{0} < {1}", "[{0}]", "outer({0}, {1})", "sum({0}, over = d_k)", "{0} ** {1}")
STREAMS = {"scalar": ("beta", "alpha", "rate", "0.5", "2"), "d_k": ("q", "k", "gate"), "d_v": ("v",), "like": ("gradient",)}
OBJECTIVE_WORDS = {"d_k": ("key",), "d_v": ("prediction", "value")}


@dataclass(frozen=True)
class Names:
    """What an expression may name: levels by shape (`matrix`, `d_v` or `like`), and how each is read; and words of objectives."""

    levels: Mapping[str, str]
    own: str = ""
    in_objective: bool = False
    has_parts: bool = False

    def reads(self, shape: str) -> tuple[str, ...]:
        return tuple(read for name, of in self.levels.items() if of == shape for read in self.ways(name))

    def ways(self, name: str) -> tuple[str, ...]:
        return (name, name, f"prev({name})") if name != self.own or self.in_objective else (f"prev({name})",)

    def leaves(self, shape: str) -> tuple[str, ...]:
        words = OBJECTIVE_WORDS.get(shape, ()) if self.in_objective and self.has_parts else ()
        return (*STREAMS.get(shape, ()), *self.reads(shape), *words) or ("outer(v, k)",)


@st.composite
def expressions(draw: Draw, names: Names, shape: str, depth: int = 3) -> str:
    """An expression that mostly has the shape: `scalar`, `like`, a dim for a vector, or `matrix` (d_v, d_k)."""

    def of(shape: str) -> str:
        return str(draw(expressions(names, shape, depth - 1)))

    def one(choices: Sequence[str]) -> str:
        return str(draw(st.sampled_from(choices)))

    vectors = ("like",) if "like" in names.levels.values() else ("d_k", "d_v")
    if draw(st.integers(0, 99)) == 0 and depth:
        shapes = ("scalar", "matrix", *vectors)
        return one((*SLIPS, *READS_BY_WORDS)).format(of(one(shapes)), of(one(shapes)))
    if not depth or draw(st.integers(0, 3)) == 0:
        return one(names.leaves(shape))
    forms = [
        lambda: f"({of(shape)} {one('+-*/')} {of(shape)})",
        lambda: f"{of('scalar')} * {of(shape)}",
        lambda: f"{one(MAPS)}({of(shape)})",
        lambda: f"where({of('scalar')} < {of('scalar')}, {of(shape)}, {of(shape)})",
        lambda: f"maximum({of(shape)}, {of(shape)})",
        lambda: f"-{of(shape)}",
    ]
    if shape == "scalar":
        inner = one(vectors)
        forms += [lambda: f"dot({of(inner)}, {of(inner)})", lambda: f"{one(('norm2', 'norm', 'sum', 'mean'))}({of(inner)})"] * 2
        forms += [lambda: f"{of(shape)} ** {one(('2', '3', '0.5', '-1'))}"]
    if shape in ("d_k", "d_v"):
        forms += [lambda: f"softmax({of(shape)})", lambda: f"l2_normalise({of(shape)})"]
    if shape == "d_v" and "matrix" in names.levels.values():
        forms += [lambda: f"{one(names.reads('matrix'))}({of('d_k')})", lambda: f"{of('matrix')} @ {of('d_k')}"] * 2
    if shape == "matrix":
        forms += [lambda: f"outer({of('d_v')}, {of('d_k')})", lambda: f"({of('matrix')}) @ (eye - outer({of('d_k')}, {of('d_k')}))"] * 2
    return str(draw(st.sampled_from(forms))())


READS_BY_WORDS = ("hold(memory, 16 tokens)", "tick", "l2", "dot", "huber({0})", "memory.momentum", "eye", "gradient", "value", "missing")
OTHER_CLOCKS = ("16 tokens", "token / 2", "4 tokens", "6 tokens", "sequence", "4 steps", "step / 5", "period tokens", "never", "always")
CLOCKS = ("token",) * 16 + ("step", *OTHER_CLOCKS)
STEP_CLOCKS = ("step",) * 16 + ("token", *OTHER_CLOCKS)
OPTIMIZERS = ("gradient_descent({0})",) * 8 + ("proximal({0})", "closed_form", "momentum({0}, decay = {1})", "heavy_ball")
PEERS = ("architectures/delta_rule", "optimizers/momentum")
OPTIONS = ("gradient_at: retained",) * 3 + (
    "gradient_at: hold(16 tokens)", "init: 0.5", "init: learned", "reset: 16 tokens", "reduce: mean", "window: 8 tokens", "backprop: none"
)  # fmt: skip


@st.composite
def levels(draw: Draw, names: Names, clocks: Sequence[str]) -> str:
    """One level with its fields, in block style."""
    shape, outside = names.levels[names.own], replace(names, in_objective=False)
    memory = {"matrix": "matrix(d_v, d_k)", "d_v": "vector(d_v)", "like": "like(weights)"}[shape]
    lines = [f"  {names.own}:", f"    memory: {memory}"]
    own, value = (f"{names.own}({draw(expressions(outside, 'd_k', 1))})", "d_v") if shape == "matrix" else (names.own, shape)
    names = replace(names, has_parts=shape == "matrix" and draw(st.booleans()))
    if names.has_parts:
        lines += [f"    keys: {draw(expressions(outside, 'd_k', 2))}", f"    values: {draw(expressions(outside, value, 2))}"]
    target = draw(expressions(names, value, 2))
    own_objectives = (f"0.5 * norm2({own} - {target})", f"dot({own}, {target})", f"norm2(tanh({own})) + dot({own}, {target})")
    objective = draw(st.sampled_from(("l2", "dot", "huber(0.5)") if names.has_parts else own_objectives))
    extra = f" + {draw(expressions(names, 'scalar', 3))}" if draw(st.booleans()) else ""
    lines.append(f"    objective: {objective}{extra}")
    if draw(st.booleans()):
        lines.append(f"    retention: {draw(expressions(outside, draw(st.sampled_from(('scalar', 'scalar', value))), 2))}")
    if draw(st.integers(0, 3)) == 0:
        lines.append(f"    {draw(st.sampled_from(OPTIONS))}")
    rates = [draw(expressions(outside, "scalar", 2)) for _ in range(2)]
    lines.append(f"    optimizer: {draw(st.sampled_from(OPTIMIZERS)).format(*rates)}")
    lines.append(f"    every: {draw(st.sampled_from(clocks))}")
    return "\n".join(lines)


@st.composite
def claims(draw: Draw, names: Names) -> str:
    """A claim, in block style."""
    shape = draw(st.sampled_from(("scalar", *set(names.levels.values()))))
    equation = f"{draw(expressions(names, shape, 2))} == {draw(expressions(names, shape, 2))}"
    others = (f"order: {' > '.join(names.levels)}", "order: memory.momentum > memory", *(f"same_as: {peer}" for peer in PEERS))
    kind = draw(st.sampled_from((f"prove: {equation}",) * 4 + others))
    lines = ["  - says: it is so", f"    {kind}"]
    if kind.startswith("same_as") and draw(st.booleans()):
        lines.append(f"    where: {{beta: {draw(st.sampled_from(('alpha', 'q', '0.5')))}}}")
    if draw(st.integers(0, 3)) == 0:
        first = next(iter(names.levels))
        lines.append(f"    given: {draw(st.sampled_from(('rate == 0', f'prev({first}) == 0', f'{first} == 0', equation)))}")
    return "\n".join(lines)


ARCHITECTURE = """\
nlc: 1
name: Fuzz
dims: {d_k: 4, d_v: 3}
axes: [heads]
inputs: {q: [d_k], k: [d_k], v: [d_v], gate: [d_k], beta: [], alpha: []}
hyperparameters: {rate: 0.1, period: 8}"""

OPTIMIZER = """\
nlc: 1
name: Fuzz
kind: optimizer
inputs: {gradient: like(weights)}
hyperparameters: {rate: 0.1, beta: 0.9, alpha: 0.99}"""


@st.composite
def random_specs(draw: Draw) -> str:
    """A spec in the words of the language; some compile, and most of the others are wrong in one place."""
    is_optimizer = draw(st.integers(0, 3)) == 0
    shapes = {"momentum": "like", "weights": "like"} if is_optimizer else {"memory": "matrix", "second": "matrix", "bias": "d_v"}
    chosen = dict(list(shapes.items())[: draw(st.integers(1, len(shapes)))]) if not is_optimizer else shapes
    names = Names(chosen)
    lines = [OPTIMIZER if is_optimizer else ARCHITECTURE]
    if draw(st.integers(0, 3)) == 0:
        lines += ["let:", f"  abbreviation: {draw(expressions(names, 'scalar', 2))}", "  other: abbreviation + abbreviation"]
    lines.append("levels:")
    clocks = STEP_CLOCKS if is_optimizer else CLOCKS
    lines += [draw(levels(replace(names, own=name, in_objective=True), clocks)) for name in chosen]
    if not is_optimizer:
        lines += ["outputs:", f"  y: {draw(expressions(names, 'd_v', 3))}"]
    if draw(st.booleans()):
        lines += ["claims:", *draw(st.lists(claims(names), min_size=1, max_size=2))]
    return "\n".join(lines) + "\n"
